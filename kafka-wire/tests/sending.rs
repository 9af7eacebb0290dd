//! Who writes a request, and that the peer sees the same whoever it was.

mod peer;

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_wire::rpc::Connection;
use kafka_wire::{CallError, CallErrorKind, Permit};
use peer::{Answer, Peer, answer_one, run, sound};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const TIMEOUT: Duration = Duration::from_secs(5);
const PRODUCE: i16 = ApiKey::Produce as i16;

/// A connection after its handshake, and the far side of it; `buffer` bytes fit between them.
async fn connected(buffer: usize) -> (Connection, DuplexStream) {
    let (given, gives) = tokio::sync::oneshot::channel();
    let given = Mutex::new(Some(given));
    let peer = Peer::new(move |mut stream| {
        let given = given.lock().expect("nobody panics").take();
        async move {
            answer_one(&mut stream, &sound(|_, _| Answer::Raw(Vec::new()))).await?;
            let _ = given.expect("one connection").send(stream);
            Ok(())
        }
    });
    let peer = peer.with_buffer(buffer);
    let connection = peer.client().any_broker().await.expect("the handshake is sound");
    (connection, gives.await.expect("it was shaken"))
}

fn send(
    connection: &Connection,
    body: Vec<u8>,
    permits: Vec<Permit>,
) -> impl Future<Output = Result<Bytes, CallError>> {
    connection.send(PRODUCE, 9, vec![Bytes::from(body)], TIMEOUT, permits)
}

/// What is there to be read before any other task runs.
fn there(far: &mut DuplexStream) -> usize {
    let mut bytes = [0; 1 << 10];
    let read = pin!(far.read(&mut bytes)).poll(&mut Context::from_waker(Waker::noop()));
    match read {
        Poll::Ready(read) => read.expect("a pipe does not fail"),
        Poll::Pending => 0,
    }
}

#[test]
fn a_small_request_is_written_by_its_sender_and_a_large_one_is_not() {
    run(async {
        let (connection, mut far) = connected(1 << 16).await;
        drop(send(&connection, vec![1; 100], Vec::new()));
        assert!(there(&mut far) > 100);
        drop(send(&connection, vec![1; 20_000], Vec::new()));
        assert_eq!(there(&mut far), 0);
        let length = far.read_u32().await.expect("the task writes it");
        assert!(length > 20_000);
    });
}

#[test]
fn what_the_socket_does_not_take_of_a_small_request_follows() {
    run(async {
        let (connection, mut far) = connected(7).await;
        drop(send(&connection, vec![1; 100], Vec::new()));
        let length = far.read_u32().await.expect("it has begun");
        let mut frame = vec![0; length as usize];
        far.read_exact(&mut frame).await.expect("the rest");
        assert!(frame.ends_with(&[1; 100]));
    });
}

#[test]
fn requests_arrive_whole_and_in_order_whoever_writes_them() {
    for buffer in [7, 200, 1 << 16] {
        run(async {
            let (connection, mut far) = connected(buffer).await;
            let lengths = [30, 500, 40_000, 3, 17_000, 100, 100];
            for (number, length) in lengths.into_iter().enumerate() {
                drop(send(&connection, vec![number as u8; length], Vec::new()));
            }
            for (number, length) in lengths.into_iter().enumerate() {
                let mut frame = vec![0; far.read_u32().await.expect("a frame") as usize];
                far.read_exact(&mut frame).await.expect("all of it");
                let body = &frame[frame.len() - length..];
                assert!(
                    body.iter().all(|byte| usize::from(*byte) == number),
                    "{buffer}: {number}"
                );
                assert!(frame.len() < length + 100, "{buffer}: {number}");
            }
        });
    }
}

#[test]
fn a_request_without_its_permit_ends_the_connection_unwritten() {
    run(async {
        let (connection, mut far) = connected(1 << 16).await;
        let never = Permit::new(|_| false);
        let error = send(&connection, vec![1; 100], vec![never])
            .await
            .expect_err("it may not be sent");
        assert_eq!(error.kind(), CallErrorKind::Disconnected { written: false });
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.expect("the end");
        assert_eq!(heard, b"");
    });
}

#[test]
fn the_socket_goes_with_the_connection_though_handles_are_left() {
    run(async {
        let (connection, mut far) = connected(1 << 16).await;
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 99]).await.expect("it is open");
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.expect("the end");
        assert!(connection.is_closed());
    });
}
