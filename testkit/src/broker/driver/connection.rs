//! One connection: splits the byte stream into frames and writes answers.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kafka_wire::transport::BoxedStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::debug;

use super::Hub;
use crate::broker::core::{ConnectionId, Output};

const LENGTH: usize = 4;
/// Read ahead while a request is under way: enough to notice that the client is gone.
const READ_AHEAD: usize = 64 * 1024;

/// Serves a connection until either side ends it.
pub(super) async fn run(
    hub: Arc<Hub>,
    mut stream: BoxedStream,
    connection: ConnectionId,
    mut outputs: UnboundedReceiver<Output>,
) {
    if let Err(error) = serve(&hub, &mut stream, connection, &mut outputs).await {
        debug!(?connection, %error, "a client connection broke");
    }
    hub.close(connection);
}

async fn serve(
    hub: &Hub,
    stream: &mut BoxedStream,
    connection: ConnectionId,
    outputs: &mut UnboundedReceiver<Output>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    let mut busy = false;
    loop {
        if !busy && let Some(frame) = next_frame(&mut buffer, hub.request_max_bytes)? {
            busy = true;
            hub.with(|core, now| core.handle_request(now, connection, frame));
        }
        make_room(&mut buffer);
        tokio::select! {
            biased;
            output = outputs.recv() => {
                let Some(output) = output else { return Ok(()) };
                if write(stream, output, outputs).await?.is_break() {
                    return Ok(());
                }
                busy = false;
            }
            read = stream.read_buf(&mut buffer), if !busy || buffer.len() < READ_AHEAD => {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Cuts the first frame off, without its length.
fn next_frame(buffer: &mut BytesMut, most: u32) -> io::Result<Option<Bytes>> {
    let Some(length) = buffer.first_chunk::<LENGTH>().map(|length| u32::from_be_bytes(*length)) else {
        return Ok(None);
    };
    if length > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a request of {length} bytes"),
        ));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if buffer.len() - LENGTH < length {
        return Ok(None);
    }
    buffer.advance(LENGTH);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Doubles the buffer when it is full: memory follows what has arrived, not what a length announces.
fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() - buffer.len() < READ_AHEAD / 8 {
        buffer.reserve(buffer.len().max(READ_AHEAD));
    }
}

/// Writes an answer. A client that does not read is cut off when the core says so, not when it reads again.
async fn write(
    stream: &mut BoxedStream,
    output: Output,
    outputs: &mut UnboundedReceiver<Output>,
) -> io::Result<std::ops::ControlFlow<()>> {
    let write = async {
        for bytes in &output.bytes {
            stream.write_all(bytes).await?;
        }
        stream.flush().await
    };
    tokio::select! {
        biased;
        result = write => result?,
        // While an answer is being written no other one is due: this can only be the end.
        _ = outputs.recv() => return Ok(std::ops::ControlFlow::Break(())),
    }
    if output.close {
        stream.shutdown().await?;
        return Ok(std::ops::ControlFlow::Break(()));
    }
    Ok(std::ops::ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_their_length_says() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 1][..]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), [7, 8].as_slice());
        assert_eq!(next_frame(&mut buffer, 100).unwrap(), None);
        buffer.extend_from_slice(&[9]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), [9].as_slice());
        assert_eq!(next_frame(&mut buffer, 100).unwrap(), None);
    }

    #[test]
    fn a_frame_longer_than_allowed_ends_the_connection_before_it_arrives() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 101][..]);
        assert_eq!(
            next_frame(&mut buffer, 100).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let mut negative = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(
            next_frame(&mut negative, u32::MAX - 1).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
