//! The coordinator by hand-fed requests and a clock that only these tests move.

mod commit;
mod describe;
mod fail_over;
mod fixture;
mod heartbeat;
mod join;
mod leave;
mod properties;
mod static_member;
mod sync;
