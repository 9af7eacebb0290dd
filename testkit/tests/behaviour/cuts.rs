//! Streams that can be cut: a [`Cuts`] connects over TCP, and every stream it made breaks off at a word.
//!
//! What a cut finds under way is lost, in either direction and anywhere within a frame, as it is when a firewall forgets a
//! connection. Works on any cluster, because it stands on the client's side.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use kafka_wire::transport::{BoxedStream, Connector};
use tokio::io::{copy_bidirectional, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What may lie between client and socket; small, so that a cut tears large requests.
const PIPE_BYTES: usize = 8 << 10;

/// Connects over TCP and can cut what it connected. Clones share their streams.
#[derive(Debug, Clone)]
pub(crate) struct Cuts {
    /// Counts cuts; a stream ends with the first one after its start.
    cut: Arc<watch::Sender<u64>>,
    open: Arc<AtomicUsize>,
    refusing: Arc<AtomicBool>,
}

impl Cuts {
    pub(crate) fn new() -> Cuts {
        Cuts {
            cut: Arc::new(watch::Sender::new(0)),
            open: Arc::default(),
            refusing: Arc::default(),
        }
    }

    /// Cuts every open stream; how many there were.
    pub(crate) fn cut(&self) -> usize {
        let open = self.open.load(Ordering::SeqCst);
        self.cut.send_modify(|cuts| *cuts += 1);
        open
    }

    /// Cuts every open stream and refuses new ones, until it is told otherwise.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
        if refuse {
            self.cut();
        }
    }
}

#[async_trait]
impl Connector for Cuts {
    async fn connect(&self, host: &str, port: u16) -> io::Result<BoxedStream> {
        // Before the check: a cut between the two ends this stream, too.
        let mut cut = self.cut.subscribe();
        if self.refusing.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let mut socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        let (near, mut far) = duplex(PIPE_BYTES);
        let open = Arc::clone(&self.open);
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            tokio::select! {
                _ = cut.changed() => {}
                _ = copy_bidirectional(&mut far, &mut socket) => {}
            }
            open.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(Box::new(near))
    }
}
