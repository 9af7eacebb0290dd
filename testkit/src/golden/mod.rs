//! Golden frames: what a real broker and our client said to each other, kept as text.
//!
//! A codec that is wrong the same way on both sides of a test passes the test. Frames captured from Apache Kafka do not
//! share our mistakes. One file holds the exchanges of one API in one version (`testkit/golden/join_group-v9.txt`):
//!
//! ```text
//! # JoinGroup v9, Apache Kafka 4.1.2
//!
//! = two members join                             what the client was doing
//! > 0000  000b0009...    ....golden...           request frame, without its length: offset, 32 bytes, the same as text
//! < 0000  00000003...    ....range...            response frame, without its length
//!                                                an empty line ends an exchange
//! ```
//!
//! [`Session`] is what the client does. The program `capture-frames` runs it against a real broker through a
//! [`Recorder`], which pairs requests with responses; tests run it against a [`Replay`] of the recording, and against
//! the embedded broker. `testkit/golden/README.md` says how to record anew.

mod file;
mod recorder;
mod replay;
mod session;

pub use file::{GoldenError, GoldenFile};
pub use recorder::{Exchange, Recorder};
pub use replay::Replay;
pub use session::{GROUPS, Session, SessionError};
