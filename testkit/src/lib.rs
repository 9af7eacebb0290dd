//! What tests of the workspace and of its users run against: an embedded Kafka cluster on the real protocol, and suites
//! that hold every implementation of a contract to it.

pub mod broker;
pub mod checker;
pub mod crash;
pub mod golden;
pub mod hooked;
pub mod proxy;
#[cfg(feature = "simulation")]
pub mod sim;
#[doc(hidden)]
pub mod split_mix;
pub mod store_contract;
