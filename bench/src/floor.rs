//! What the broker needs at least: the reads and writes of `count`, and the round trips of `emit-sync`, from bare sockets.
//!
//! Nothing is decoded but the frame of each record batch, nothing is counted or kept, and what is written was prepared before the
//! clock starts. For one broker only. Requests are of versions that every broker from 2.3 to 4.x speaks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Buf;
use kafka_wire::protocol::batch::Batches;

use crate::load::PARTITIONS;
use crate::report::Outcome;
use crate::{Args, Failure};

const PRODUCE: (i16, i16) = (0, 8);
const FETCH: (i16, i16) = (1, 11);
/// Produce requests on their way, as our producer allows.
const IN_FLIGHT: usize = 5;
/// Bytes per partition of a Fetch response.
const PARTITION_BYTES: i32 = 1 << 20;

/// Batches of one partition, ready to be written.
type Prepared = Vec<Vec<u8>>;

/// Reads the input of `count` with two connections, and meanwhile writes the changelog of an earlier `count` of the same group
/// again, batch by batch.
pub(crate) fn count(args: &Args, out: &str) -> Result<Outcome, Failure> {
    let input = args.topic_or("bench-in");
    let changelog = format!("{}-table", args.group);
    let mut written = Vec::new();
    let mut session = Session::open(args)?;
    for partition in 0..PARTITIONS {
        written.push(session.batches(&changelog, partition)?);
    }
    if written.iter().all(Vec::is_empty) {
        return Err(format!("{changelog} is empty: run count with --group {} first", args.group).into());
    }
    let started = Instant::now();
    let half = PARTITIONS / 2;
    let (records, reads, writes) = std::thread::scope(|scope| {
        let readers = [0..half, half..PARTITIONS].map(|share| scope.spawn(|| read(args, &input, share, started)));
        let writer = scope.spawn(|| write(args, out, &written, started));
        let (mut records, mut reads) = (0, Duration::ZERO);
        for reader in readers {
            let (count, took) = reader.join().map_err(|_| "a reader panicked")??;
            (records, reads) = (records + count, reads.max(took));
        }
        let writes = writer.join().map_err(|_| "the writer panicked")??;
        Ok::<_, Failure>((records, reads, writes))
    })?;
    Ok(Outcome {
        records,
        first: None,
        wall: Some(started.elapsed()),
        note: format!("bare sockets: reads {reads:.3?}, writes {writes:.3?}"),
    })
}

/// Writes the first batch of `topic`, one record made by `emit-sync`, again and again, each time awaiting the answer.
pub(crate) fn emit_sync(args: &Args, out: &str) -> Result<Outcome, Failure> {
    let mut session = Session::open(args)?;
    let made = session.first_batch(&args.topic_or("bench-emit"))?;
    let body = produce_request(out, &[(0, &made)]);
    let records = args.records.unwrap_or(2_000);
    let mut micros = Vec::new();
    for _ in 0..records {
        let sent = Instant::now();
        session.send(PRODUCE, &body)?;
        accepted(&session.answer()?)?;
        micros.push(sent.elapsed().as_micros());
    }
    Ok(Outcome {
        records,
        first: None,
        wall: None,
        note: format!("bare socket: {}", crate::report::percentiles(micros)),
    })
}

/// Reads partitions to their ends; how many records, and when it was done.
fn read(args: &Args, topic: &str, share: Range<i32>, started: Instant) -> Result<(u64, Duration), Failure> {
    let mut session = Session::open(args)?;
    let (mut records, mut open) = (0, share.map(|partition| (partition, 0)).collect::<Vec<(i32, i64)>>());
    while !open.is_empty() {
        session.send(FETCH, &fetch_request(topic, &open))?;
        let answer = session.answer()?;
        let mut answer = Answer(&answer);
        for _ in 0..answer.partitions_of_fetch()? {
            let (partition, end, batches) = answer.fetched()?;
            for (next, _) in batches {
                if let Some(at) = open.iter_mut().find(|(number, _)| *number == partition) {
                    records += (next - at.1) as u64;
                    at.1 = next;
                }
            }
            open.retain(|(number, at)| *number != partition || *at < end);
        }
    }
    Ok((records, started.elapsed()))
}

/// Writes one batch per partition with each request.
fn write(args: &Args, topic: &str, written: &[Prepared], started: Instant) -> Result<Duration, Failure> {
    let mut session = Session::open(args)?;
    let rounds = written.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let batches: Vec<(i32, &Vec<u8>)> = (0..)
            .zip(written)
            .filter_map(|(partition, batches)| Some((partition, batches.get(round)?)))
            .collect();
        if round >= IN_FLIGHT {
            accepted(&session.answer()?)?;
        }
        session.send(PRODUCE, &produce_request(topic, &batches))?;
    }
    for _ in 0..rounds.min(IN_FLIGHT) {
        accepted(&session.answer()?)?;
    }
    Ok(started.elapsed())
}

/// A whole batch, and the offset behind it.
type Placed<'a> = (i64, &'a [u8]);

/// One connection.
struct Session {
    stream: TcpStream,
}

impl Session {
    fn open(args: &Args) -> Result<Session, Failure> {
        let broker = args.brokers.split(',').next().unwrap_or_default();
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        Ok(Session { stream })
    }

    fn send(&mut self, (api, version): (i16, i16), body: &[u8]) -> Result<(), Failure> {
        let mut frame = Vec::with_capacity(body.len() + 14);
        frame.extend((body.len() as i32 + 10).to_be_bytes());
        frame.extend(api.to_be_bytes());
        frame.extend(version.to_be_bytes());
        // Correlation id, and a client id that is null.
        frame.extend([0, 0, 0, 0, 0xff, 0xff]);
        frame.extend(body);
        Ok(self.stream.write_all(&frame)?)
    }

    /// The next answer, behind its correlation id.
    fn answer(&mut self) -> Result<Vec<u8>, Failure> {
        let mut head = [0; 8];
        self.stream.read_exact(&mut head)?;
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut body = vec![0; usize::try_from(length - 4)?];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// Everything in a partition, as from a producer without idempotence.
    fn batches(&mut self, topic: &str, partition: i32) -> Result<Prepared, Failure> {
        let (mut found, mut at) = (Vec::new(), 0);
        loop {
            self.send(FETCH, &fetch_request(topic, &[(partition, at)]))?;
            let answer = self.answer()?;
            let mut answer = Answer(&answer);
            for _ in 0..answer.partitions_of_fetch()? {
                let (_, end, batches) = answer.fetched()?;
                for (next, batch) in batches {
                    at = next;
                    found.push(unstamped(batch));
                }
                if at >= end {
                    return Ok(found);
                }
            }
        }
    }

    fn first_batch(&mut self, topic: &str) -> Result<Vec<u8>, Failure> {
        for partition in 0..PARTITIONS {
            self.send(FETCH, &fetch_request(topic, &[(partition, 0)]))?;
            let answer = self.answer()?;
            let mut answer = Answer(&answer);
            answer.partitions_of_fetch()?;
            if let (_, _, batches) = answer.fetched()?
                && let Some((_, first)) = batches.first()
            {
                return Ok(unstamped(first));
            }
        }
        Err(format!("{topic} is empty: run emit-sync first").into())
    }
}

fn fetch_request(topic: &str, partitions: &[(i32, i64)]) -> Vec<u8> {
    let mut body = Vec::new();
    // Replica, wait, least and most bytes, isolation, no session.
    for number in [-1, 500, 1, 50 << 20] {
        body.extend(i32::to_be_bytes(number));
    }
    body.push(0);
    body.extend(0_i32.to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    put_topic(&mut body, topic, partitions.len());
    for (partition, at) in partitions {
        body.extend(partition.to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend(at.to_be_bytes());
        body.extend((-1_i64).to_be_bytes());
        body.extend(PARTITION_BYTES.to_be_bytes());
    }
    // Nothing forgotten, no rack.
    body.extend([0; 6]);
    body
}

fn produce_request(topic: &str, batches: &[(i32, &Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    // No transaction, acknowledged by all.
    body.extend((-1_i16).to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    put_topic(&mut body, topic, batches.len());
    for (partition, batch) in batches {
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(*batch);
    }
    body
}

/// An array of one topic, and the length of that of its partitions.
fn put_topic(body: &mut Vec<u8>, topic: &str, partitions: usize) {
    body.extend(1_i32.to_be_bytes());
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend((partitions as i32).to_be_bytes());
}

/// The bytes of an answer, taken from the front.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("an answer is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Of one topic: how many partitions follow.
    fn partitions_of_topic(&mut self) -> Result<i32, Failure> {
        if self.0.try_get_i32()? == 0 {
            return Ok(0);
        }
        let name = self.0.try_get_i16()?;
        self.take(usize::try_from(name)?)?;
        Ok(self.0.try_get_i32()?)
    }

    fn partitions_of_fetch(&mut self) -> Result<i32, Failure> {
        // Throttle time, error, session.
        self.take(4 + 2 + 4)?;
        self.partitions_of_topic()
    }

    /// A partition of a Fetch answer: its number, its end, and its whole batches with the offsets behind them.
    fn fetched(&mut self) -> Result<(i32, i64, Vec<Placed<'a>>), Failure> {
        let partition = self.0.try_get_i32()?;
        refused("Fetch", self.0.try_get_i16()?)?;
        let end = self.0.try_get_i64()?;
        // The last stable offset and the log's start.
        self.take(16)?;
        let aborted = self.0.try_get_i32()?.max(0);
        self.take(aborted as usize * 16 + 4)?;
        let length = self.0.try_get_i32()?.max(0);
        let records = self.take(length as usize)?;
        let (mut batches, mut found, mut at) = (Batches::new(records), Vec::new(), 0);
        while let Some(batch) = batches.next() {
            found.push((batch?.header().next_offset(), &records[at..batches.position()]));
            at = batches.position();
        }
        Ok((partition, end, found))
    }
}

fn accepted(answer: &[u8]) -> Result<(), Failure> {
    let mut answer = Answer(answer);
    for _ in 0..answer.partitions_of_topic()? {
        answer.0.try_get_i32()?;
        refused("Produce", answer.0.try_get_i16()?)?;
        // Three offsets and times, no errors of single records, no text.
        answer.take(24 + 4 + 2)?;
    }
    Ok(())
}

fn refused(api: &str, code: i16) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(format!("{api} was answered with error code {code}").into()),
    }
}

/// A batch as a producer without idempotence sends it.
fn unstamped(batch: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    // Base offset and leader epoch; producer id, its epoch, sequence.
    batch[..8].fill(0);
    batch[12..16].fill(0xff);
    batch[43..57].fill(0xff);
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch
}
