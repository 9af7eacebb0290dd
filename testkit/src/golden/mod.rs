//! Golden frames: what a real broker and our client said to each other, kept as text.
//!
//! A codec that is wrong the same way on both sides of a test passes the test. Frames captured from Apache Kafka do not
//! share our mistakes. One file holds the exchanges of one API in one version (`testkit/golden/join_group-v9.txt`):
//!
//! ```text
//! # Apache Kafka 4.1.2
//! JoinGroup v9
//!
//! = two members join       what the client was doing
//! > 000b0009...          request frame, without its length, in lines of 32 bytes
//! < 00000003...          response frame, without its length
//!                        an empty line ends an exchange
//! ```
//!
//! [`Recorder`] sits between a client and the network and pairs requests with responses. The program `capture-frames`
//! drives it; `testkit/golden/README.md` says how.

mod file;
mod recorder;

pub use file::{GoldenError, GoldenFile};
pub use recorder::{Exchange, Recorder};
