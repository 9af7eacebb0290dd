//! Moves batches and time around the [`Accumulator`]: one task per producer.
//!
//! It takes sealed batches from the front doors, writes Produce requests, reads answers, asks for producer id and metadata
//! when the machine wants them, and wakes lingering batches. What an error code means is the machine's business.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

mod lane;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::protocol::Request as _;
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::cluster::ClusterImage;
use crate::connection::{CallError, CallErrorKind};
use crate::producer::accumulator::{Accumulator, Event, Limits, Request};
use crate::producer::delivery::{Delivery, Next};
use crate::producer::door::{Command, Commons};
use crate::producer::error::{ProduceError, ProduceErrorKind};
use crate::producer::leader_search::Leadership;
use crate::producer::sequence::ProducerIdentity;
use crate::producer::shared_partition::Lingering;
use crate::protocol::ErrorCode;

use lane::Lane;

/// Commands taken before answers are looked at again.
const COMMANDS_AT_ONCE: usize = 256;

type Called<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Starts the task of a producer. It ends when the producer is closed, or when its last front door is gone and everything
/// submitted has its outcome.
pub(super) fn start(client: Client, commons: Arc<Commons>, commands: mpsc::UnboundedReceiver<Command>) {
    tokio::spawn(client.task(Driver::new(client.clone(), commons, commands).run()));
}

/// The machines' clock.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

struct Driver {
    client: Client,
    commons: Arc<Commons>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// No command will come any more.
    deserted: bool,
    machine: Accumulator<Delivery>,
    lanes: BTreeMap<i32, Lane>,
    init: Option<Called<Result<ProducerIdentity, CallError>>>,
    refresh: Option<Called<Result<Arc<ClusterImage>, CallError>>>,
    lingering: VecDeque<Lingering>,
    flushes: HashMap<u64, oneshot::Sender<Result<(), ProduceError>>>,
}

impl Driver {
    fn new(client: Client, commons: Arc<Commons>, commands: mpsc::UnboundedReceiver<Command>) -> Driver {
        let config = &commons.config;
        let limits = Limits {
            max_in_flight: config.max_in_flight,
            max_request_bytes: config.max_request_bytes,
            delivery_timeout: config.delivery_timeout,
        };
        Driver {
            client,
            commons,
            commands,
            deserted: false,
            machine: Accumulator::new(limits),
            lanes: BTreeMap::new(),
            init: None,
            refresh: None,
            lingering: VecDeque::new(),
            flushes: HashMap::new(),
        }
    }

    async fn run(mut self) {
        let mut images = self.client.subscribe();
        let mut followed = true;
        let mut timer = pin!(tokio::time::sleep_until(now().into()));
        loop {
            self.act();
            if self.deserted && self.machine.is_idle() && self.lingering.is_empty() {
                return;
            }
            let due = self.next_timeout();
            if let Some(due) = due.filter(|due| timer.deadline().into_std() != *due) {
                timer.as_mut().reset(due.into());
            }
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll_inputs(cx)) => {}
                changed = images.changed(), if followed => match changed {
                    Ok(()) => {
                        let image = Arc::clone(&images.borrow_and_update());
                        self.follow(&image);
                    }
                    Err(_) => followed = false,
                },
                () = timer.as_mut(), if due.is_some() => {}
            }
            self.end_lingering();
            self.machine.handle_timeout(now());
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let linger = self
            .lingering
            .front()
            .and_then(|first| first.since)
            .map(|since| since + self.commons.config.linger);
        [linger, self.machine.next_timeout()].into_iter().flatten().min()
    }

    /// Does what the machine wants, and passes on what it says.
    fn act(&mut self) {
        while let Some(request) = self.machine.poll_request(now()) {
            match request {
                Request::InitProducerId => self.init = Some(Box::pin(init_producer_id(self.client.clone()))),
                Request::RefreshMetadata(topics) => {
                    let client = self.client.clone();
                    self.refresh = Some(Box::pin(async move { client.refresh(&topics).await }));
                }
                Request::Produce(request) => {
                    let node = request.node;
                    self.lanes.entry(node).or_default().waiting.push_back(request);
                    self.send(node);
                }
            }
        }
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Finished { tag, outcome, buffer } => {
                    self.commons.buffers.give(buffer);
                    seal(tag.settle(outcome));
                }
                Event::Flushed { flush, result } => {
                    if let Some(done) = self.flushes.remove(&flush) {
                        // Whoever waited may have lost interest.
                        drop(done.send(result));
                    }
                }
                Event::LeaderMoved(hint) => {
                    let endpoint = hint
                        .endpoint
                        .map(|endpoint| (endpoint.node, endpoint.host, endpoint.port));
                    let leader = hint.leader;
                    self.client
                        .apply_leader_hint(&hint.topic_partition, leader.node, leader.epoch, endpoint);
                }
            }
        }
    }

    /// Takes whatever has arrived; pending when nothing has.
    fn poll_inputs(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = self.poll_answers(cx);
        progress |= self.poll_commands(cx);
        if let Some(Poll::Ready(answer)) = self.init.as_mut().map(|init| init.as_mut().poll(cx)) {
            self.init = None;
            self.machine.handle_producer_id(now(), answer);
            progress = true;
        }
        if let Some(Poll::Ready(answer)) = self.refresh.as_mut().map(|refresh| refresh.as_mut().poll(cx)) {
            self.refresh = None;
            match &answer {
                Ok(image) => self.follow(image),
                Err(error) => self.tell_if_closed(error),
            }
            self.machine.handle_refreshed(now(), answer.as_ref().err());
            progress = true;
        }
        if progress { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_commands(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        for _ in 0..COMMANDS_AT_ONCE {
            if self.deserted {
                break;
            }
            match self.commands.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.deserted = true,
                Poll::Ready(Some(command)) => self.handle_command(command),
            }
            progress = true;
        }
        progress
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Submit(mut submission) => {
                submission.tag.accept();
                let image = self.client.cluster();
                self.machine
                    .handle_submission(now(), submission, |of| Leadership::of(&image, of));
            }
            Command::Linger(mut lingering) => {
                lingering.since = Some(now());
                self.lingering.push_back(lingering);
            }
            Command::Abandon(of, chain) => self.machine.handle_abandoned(now(), &of, chain),
            Command::ChainClosed(chain) => self.machine.handle_chain_closed(chain),
            Command::Flush(done) => {
                let flush = self.machine.handle_flush();
                self.flushes.insert(flush, done);
            }
            Command::Close => self.commands.close(),
        }
    }

    fn follow(&mut self, image: &ClusterImage) {
        self.commons.follow(image);
        self.machine.handle_metadata(now(), |of| Leadership::of(image, of));
        self.leave_unopened(image);
    }

    /// A client that was closed stays closed.
    fn tell_if_closed(&mut self, error: &CallError) {
        if error.kind == CallErrorKind::Closed {
            let error = ProduceError::new(ProduceErrorKind::Closed, "the client was closed before the producer");
            self.machine.handle_client_closed(now(), &error);
        }
    }

    fn end_lingering(&mut self) {
        let (now, linger) = (now(), self.commons.config.linger);
        while let Some(over) = self
            .lingering
            .pop_front_if(|first| first.since.is_none_or(|since| since + linger <= now))
        {
            seal(over.end());
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nothing begun after this would ever be sent.
        self.commons.close();
    }
}

/// Seals a shared batch whose time has come; beside the driver's task when that takes long.
fn seal(next: Next) {
    let Some((partition, batch)) = next else { return };
    if batch.is_costly(partition.compression()) {
        tokio::spawn(async move { partition.seal(batch) });
    } else {
        partition.seal(batch);
    }
}

async fn init_producer_id(client: Client) -> Result<ProducerIdentity, CallError> {
    // No transactions, so no transaction can time out.
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX);
    let (broker, response) = client.call_any_named(request).await?;
    match ErrorCode(response.error_code) {
        ErrorCode::NONE => Ok(ProducerIdentity {
            id: response.producer_id.0,
            epoch: response.producer_epoch,
        }),
        code => Err(CallError::refused(InitProducerIdRequest::KEY, code, None).with_broker(&broker)),
    }
}
