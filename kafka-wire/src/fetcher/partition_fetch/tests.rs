use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::fetcher::FetchErrorKind;
use crate::protocol::ErrorCode;

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reader, and the driver's side of it.
struct Fixture {
    fetch: PartitionFetch,
    shelf: Arc<Shelf>,
    commands: UnboundedReceiver<Command>,
    bell: Arc<Bell>,
}

fn clicks() -> TopicPartition {
    TopicPartition::new("clicks", 0)
}

fn fixture() -> Fixture {
    let (sender, commands) = mpsc::unbounded_channel();
    let shelf = Arc::new(Shelf::default());
    Fixture {
        fetch: PartitionFetch::new(3, clicks(), Arc::clone(&shelf), sender),
        shelf,
        commands,
        bell: Arc::default(),
    }
}

impl Fixture {
    /// A batch of `length` bytes at `offset` came.
    fn push(&self, offset: i64, length: usize) {
        let batch = FetchedBatch {
            records: Bytes::from(vec![0; length]),
            ..FetchedBatch::empty(clicks(), offset)
        };
        self.shelf.push(Watermarks::default(), Some(batch));
    }

    fn fail(&self, code: ErrorCode) {
        let error = FetchError::new(FetchErrorKind::Refused(code), clicks(), 0);
        self.shelf.end(Some(error));
    }

    /// Polls as a task would that is woken by the bell.
    fn poll(&mut self) -> Poll<Option<Result<i64, ErrorCode>>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let polled = self.fetch.poll_next(&mut Context::from_waker(&waker));
        polled.map(|next| next.map(told))
    }

    fn try_next(&mut self) -> Option<Result<i64, ErrorCode>> {
        self.fetch.try_next().map(told)
    }

    /// What the driver was told.
    fn told(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }
}

/// The offset of a batch, or the broker's refusal.
fn told(next: Result<FetchedBatch, FetchError>) -> Result<i64, ErrorCode> {
    next.map(|batch| batch.fetch_offset).map_err(|error| match error.kind {
        FetchErrorKind::Refused(code) => code,
        other => panic!("{other}"),
    })
}

#[test]
fn batches_come_in_order_then_the_failure_once_then_nothing() {
    let mut f = fixture();
    f.push(0, 10);
    f.push(5, 10);
    f.fail(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    f.fail(ErrorCode::INVALID_REQUEST);
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(0))));
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(5))));
    let failure = Some(Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    assert_eq!(f.poll(), Poll::Ready(failure), "the first one");
    assert_eq!(f.poll(), Poll::Ready(None));
    assert_eq!(f.poll(), Poll::Ready(None), "for ever");
    assert_eq!(f.try_next(), None);
}

#[test]
fn a_fetcher_that_is_gone_ends_its_readers_without_a_failure() {
    let mut f = fixture();
    f.push(0, 10);
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(0))));
    assert_eq!(f.poll(), Poll::Pending);
    f.shelf.end(None);
    assert_eq!(f.bell.rings(), 1);
    assert_eq!(f.poll(), Poll::Ready(None));
}

#[test]
fn a_reader_that_waits_is_woken_by_a_batch_and_by_the_end_and_by_nothing_else() {
    let mut f = fixture();
    f.push(0, 10);
    assert_eq!(f.bell.rings(), 0, "nobody waits");
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(0))));
    assert_eq!(f.poll(), Poll::Pending);
    f.shelf.push(Watermarks::default(), None);
    f.shelf.set_topic_id(TopicId([7; 16]));
    assert_eq!(f.shelf.tell_at(100), None);
    assert_eq!(f.bell.rings(), 0);
    f.push(5, 10);
    f.push(9, 10);
    assert_eq!(f.bell.rings(), 1, "once is enough");
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(5))));
    assert_eq!(f.poll(), Poll::Ready(Some(Ok(9))));
    assert_eq!(f.poll(), Poll::Pending);
    f.fail(ErrorCode::INVALID_REQUEST);
    assert_eq!(f.bell.rings(), 2);
}

#[test]
fn whoever_polled_last_is_woken() {
    let mut f = fixture();
    let former = Arc::clone(&f.bell);
    assert_eq!(f.poll(), Poll::Pending);
    f.bell = Arc::default();
    assert_eq!(f.poll(), Poll::Pending);
    f.push(0, 10);
    assert_eq!((former.rings(), f.bell.rings()), (0, 1));
}

#[test]
fn to_drop_a_next_that_waits_loses_nothing() {
    let mut f = fixture();
    let waker = Waker::from(Arc::clone(&f.bell));
    let mut cx = Context::from_waker(&waker);
    assert!(pin!(f.fetch.next()).poll(&mut cx).is_pending());
    f.push(4, 10);
    assert_eq!(f.bell.rings(), 1);
    let Poll::Ready(next) = pin!(f.fetch.next()).poll(&mut cx) else {
        panic!("it was woken for this");
    };
    assert_eq!(next.map(told), Some(Ok(4)));
}

#[test]
fn try_next_takes_what_is_there_and_does_not_wait() {
    let mut f = fixture();
    assert_eq!(f.try_next(), None);
    f.push(0, 10);
    f.fail(ErrorCode::INVALID_REQUEST);
    assert_eq!(f.try_next(), Some(Ok(0)));
    assert_eq!(f.try_next(), Some(Err(ErrorCode::INVALID_REQUEST)));
    assert_eq!(f.try_next(), None);
}

#[test]
fn the_driver_hears_of_what_was_taken_only_if_the_partition_was_full() {
    let mut f = fixture();
    (0..3).for_each(|offset| f.push(offset, 100));
    f.push(3, 400);
    f.try_next();
    assert!(f.told().is_empty(), "there is room");
    assert_eq!(f.shelf.tell_at(250), None, "100 of 250");
    f.try_next();
    assert!(f.told().is_empty(), "200 of 250");
    f.try_next();
    assert!(
        matches!(f.told()[..], [Command::Taken { id: 3, bytes: 300 }]),
        "all of it, once"
    );
    f.try_next();
    assert!(f.told().is_empty(), "it is full no more");
}

#[test]
fn what_was_taken_before_the_driver_asked_is_told_at_once() {
    let mut f = fixture();
    (0..3).for_each(|offset| f.push(offset, 100));
    f.try_next();
    f.try_next();
    assert_eq!(f.shelf.tell_at(150), Some(200));
    assert_eq!(f.shelf.tell_at(100), None, "counted anew");
    f.try_next();
    assert!(matches!(f.told()[..], [Command::Taken { id: 3, bytes: 100 }]));
}

#[test]
fn watermarks_and_topic_id_are_those_of_the_last_answer() {
    let f = fixture();
    assert_eq!(f.fetch.watermarks(), Watermarks::default());
    assert!(f.fetch.topic_id().is_zero());
    let watermarks = Watermarks {
        log_start: 3,
        high: 40,
        last_stable: 35,
    };
    f.shelf.push(watermarks, None);
    f.shelf.set_topic_id(TopicId([7; 16]));
    assert_eq!(f.fetch.watermarks(), watermarks);
    assert_eq!(f.fetch.topic_id(), TopicId([7; 16]));
    assert_eq!(f.fetch.topic_partition(), &clicks());
}

#[test]
fn the_driver_is_told_of_pauses_and_of_the_readers_end() {
    let f = fixture();
    f.fetch.pause();
    f.fetch.resume();
    let Fixture {
        fetch, mut commands, ..
    } = f;
    drop(fetch);
    let told: Vec<_> = std::iter::from_fn(|| commands.try_recv().ok()).collect();
    assert!(
        matches!(
            told[..],
            [
                Command::Paused { id: 3, paused: true },
                Command::Paused { id: 3, paused: false },
                Command::Removed { id: 3 }
            ]
        ),
        "{told:?}"
    );
}
