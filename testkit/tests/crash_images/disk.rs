//! A disk in memory: it remembers in which order it was written to and synced, and it can be made to fail.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storage_redb::StorageBackend;

const CHUNK: usize = 4096;
type Chunk = [u8; CHUNK];

/// The bytes of a file; copies share what they have in common.
#[derive(Clone, Default)]
pub(crate) struct Content {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        if len < self.len && !len.is_multiple_of(CHUNK) {
            // What lies beyond the end must be zero when the file grows again.
            Arc::make_mut(&mut self.chunks[len / CHUNK])[len % CHUNK..].fill(0);
        }
        self.chunks.resize_with(len.div_ceil(CHUNK), || Arc::new([0; CHUNK]));
        self.len = len;
    }

    /// Bytes beyond the end are dropped.
    pub(crate) fn write(&mut self, mut offset: usize, mut bytes: &[u8]) {
        bytes = &bytes[..bytes.len().min(self.len.saturating_sub(offset))];
        while !bytes.is_empty() {
            let inside = offset % CHUNK;
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - inside));
            Arc::make_mut(&mut self.chunks[offset / CHUNK])[inside..][..now.len()].copy_from_slice(now);
            (offset, bytes) = (offset + now.len(), later);
        }
    }

    /// `false` if the end comes first.
    pub(crate) fn read(&self, mut offset: usize, mut into: &mut [u8]) -> bool {
        if offset + into.len() > self.len {
            return false;
        }
        while !into.is_empty() {
            let inside = offset % CHUNK;
            let now;
            (now, into) = {
                let len = into.len().min(CHUNK - inside);
                into.split_at_mut(len)
            };
            now.copy_from_slice(&self.chunks[offset / CHUNK][inside..][..now.len()]);
            offset += now.len();
        }
        true
    }
}

/// What was done to a disk.
#[derive(Clone)]
pub(crate) enum Event {
    Write(usize, Arc<[u8]>),
    SetLen(usize),
    Sync,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// The operations before this many succeed, that one and all after it fail.
    From(u64),
    /// That operation fails, all others succeed.
    Once(u64),
    /// It has room for this many bytes.
    Full(usize),
}

#[derive(Default)]
struct State {
    content: Content,
    log: Option<Vec<Event>>,
    operations: u64,
    trouble: Option<Trouble>,
}

impl State {
    /// Counts an operation; `room` is the length of the file it asks for.
    fn begin(&mut self, room: usize) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.trouble {
            Some(Trouble::From(first)) if number >= first => Err(io::Error::other("the disk is gone")),
            Some(Trouble::Once(only)) if number == only => Err(io::Error::other("the disk hiccuped")),
            Some(Trouble::Full(size)) if room > size => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn log(&mut self, event: impl FnOnce() -> Event) {
        if let Some(log) = &mut self.log {
            log.push(event());
        }
    }
}

/// A disk; clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// A disk that holds `content`.
    pub(crate) fn holding(content: Content) -> Disk {
        let disk = Disk::default();
        disk.state().content = content;
        disk
    }

    /// From now on it remembers what is done to it.
    pub(crate) fn logged(self) -> Disk {
        self.state().log = Some(Vec::new());
        self
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut state = self.state();
        state.trouble = trouble;
        state.operations = 0;
    }

    /// Operations since the trouble was set.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(crate) fn content(&self) -> Content {
        self.state().content.clone()
    }

    pub(crate) fn events(&self) -> usize {
        self.state().log.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn take_log(&self) -> Vec<Event> {
        self.state().log.take().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.begin(0)?;
        Ok(state.content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.begin(0)?;
        match state.content.read(offset as usize, out) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let len = len as usize;
        state.begin(len)?;
        state.content.set_len(len);
        state.log(|| Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin(0)?;
        state.log(|| Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let (offset, end) = (offset as usize, offset as usize + data.len());
        state.begin(end)?;
        if end > state.content.len() {
            state.content.set_len(end);
            state.log(|| Event::SetLen(end));
        }
        state.content.write(offset, data);
        state.log(|| Event::Write(offset, data.into()));
        Ok(())
    }
}
