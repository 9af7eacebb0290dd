//! Between bytes and messages: request headers, the check that makes a body safe to decode, answer frames.
//!
//! `kafka-protocol` decodes the messages, but it reserves memory for as many array elements as the peer claims to send. The guard
//! of `kafka-wire` therefore walks every body first, along the [`Shape`] of its request: a claim larger than what the frame holds
//! never reaches the decoder.

mod frame;

pub(crate) use frame::{Header, Malformed, decode_body, encode_answer, encode_body};
pub(crate) use kafka_wire::rpc::guard::{Shape, blob, fixed, ints, structs, structure, text, texts};
