//! Being in the group: what the application hears ([`MembershipEvent`], [`Lease`]) and the machine that keeps it true.
//!
//! Only the classic protocol is spoken today. The consumer protocol (KIP-848) gives the application the same three events and
//! the same answer, so it will be a second machine beside `classic` and nothing outside this folder will change.

pub(crate) mod classic;
mod event;
mod lease;
pub(crate) mod state;
pub(crate) mod verdict;

pub use event::MembershipEvent;
pub use lease::Lease;
pub(crate) use lease::LeaseCell;
