//! The group's committed offsets: what may be committed ([`ledger`]), committing it, reading it back.

pub(crate) mod committer;
pub(crate) mod fetch;
pub mod ledger;
