//! Between bytes and messages: request headers, the check that makes a body safe to decode, answer frames.
//!
//! `kafka-protocol` decodes the messages, but it reserves memory for as many array elements as the peer claims to send.
//! [`shape`] therefore walks every body first: a claim larger than what the frame holds never reaches the decoder.

mod frame;
mod shape;

pub(crate) use frame::{Header, Malformed, decode_body, encode_answer, encode_body};
pub(crate) use shape::{Shape, blob, fixed, ints, structs, text, texts};
