//! testkit

pub mod store_contract;
