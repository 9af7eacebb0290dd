//! Answers in order, deadlines, and what a connection that ends tells its waiters.

#![allow(clippy::disallowed_methods, reason = "the tests need some instant")]

use super::*;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(240);

fn unsent() -> Unsent {
    Unsent {
        head: BytesMut::zeroed(14),
        body: Vec::new(),
        permits: Vec::new(),
    }
}

fn ask(machine: &mut InFlight<u32>, now: Instant, timeout: Duration, waiter: u32) {
    let expected = Expected {
        api_key: 3,
        response_header: 0,
        timeout,
    };
    machine.handle_request(now, expected, unsent(), waiter);
}

fn answer(correlation: i32, body: &[u8]) -> Bytes {
    [&correlation.to_be_bytes(), body].concat().into()
}

fn started() -> (InFlight<u32>, Instant) {
    let now = Instant::now();
    (InFlight::new(now, 1, IDLE), now)
}

#[test]
fn answers_reach_their_waiters_in_order() {
    let (mut machine, now) = started();
    for waiter in 0..50 {
        ask(&mut machine, now, TIMEOUT, waiter);
    }
    for correlation in 1..=50i32 {
        let frame = machine.poll_request(now).unwrap();
        assert_eq!(
            frame.head[CORRELATION_AT..CORRELATION_AT + 4],
            correlation.to_be_bytes()
        );
    }
    for waiter in 0..50u32 {
        let placed = machine.handle_frame(now, answer(waiter as i32 + 1, &[7])).unwrap();
        assert_eq!((placed.waiter, &placed.body[..]), (Some(waiter), &[7u8][..]));
    }
    assert!(machine.is_empty());
}

#[test]
fn a_foreign_correlation_id_is_refused() {
    let (mut machine, now) = started();
    assert_eq!(
        machine.handle_frame(now, answer(9, &[])).unwrap_err(),
        Misplaced::Unasked(9)
    );
    ask(&mut machine, now, TIMEOUT, 0);
    assert_eq!(
        machine.handle_frame(now, answer(1, &[])).unwrap_err(),
        Misplaced::Unasked(1),
        "not written yet"
    );
    machine.poll_request(now).unwrap();
    let refused = machine.handle_frame(now, answer(2, &[])).unwrap_err();
    assert_eq!(refused, Misplaced::Correlation { expected: 1, got: 2 });
    assert_eq!(
        machine.handle_frame(now, Bytes::from_static(&[0, 0])).unwrap_err(),
        Misplaced::Short(2)
    );
}

#[test]
fn tagged_fields_of_the_response_header_are_stepped_over() {
    let (mut machine, now) = started();
    for waiter in 0..2 {
        let expected = Expected {
            api_key: 3,
            response_header: 1,
            timeout: TIMEOUT,
        };
        machine.handle_request(now, expected, unsent(), waiter);
        machine.poll_request(now).unwrap();
    }
    let placed = machine
        .handle_frame(now, answer(1, &[2, 0, 1, 0xaa, 5, 0, 42]))
        .unwrap();
    assert_eq!(&placed.body[..], &[42]);
    assert_eq!(
        machine.handle_frame(now, answer(2, &[1, 0, 9, 0])).unwrap_err(),
        Misplaced::Short(8)
    );
}

#[test]
fn an_unsent_request_that_expires_is_never_sent() {
    let (mut machine, now) = started();
    ask(&mut machine, now, Duration::from_secs(1), 0);
    ask(&mut machine, now, TIMEOUT, 1);
    assert_eq!(machine.next_timeout(), now + Duration::from_secs(1));
    machine.handle_timeout(now + Duration::from_secs(1));
    let Some(Event::Expired(expired)) = machine.poll_event() else {
        panic!("nothing expired")
    };
    assert_eq!((expired.waiter, expired.written), (0, false));
    assert!(machine.poll_event().is_none());
    machine.poll_request(now).unwrap();
    assert!(machine.poll_request(now).is_none());
    assert_eq!(machine.handle_frame(now, answer(2, &[])).unwrap().waiter, Some(1));
}

#[test]
fn a_short_request_behind_a_long_one_expires_without_closing_the_connection() {
    let (mut machine, now) = started();
    ask(&mut machine, now, Duration::from_secs(300), 0);
    ask(&mut machine, now, TIMEOUT, 1);
    machine.poll_request(now).unwrap();
    machine.poll_request(now).unwrap();
    machine.handle_timeout(now + TIMEOUT);
    let Some(Event::Expired(expired)) = machine.poll_event() else {
        panic!("nothing expired")
    };
    assert_eq!((expired.waiter, expired.written), (1, true));
    assert!(machine.poll_event().is_none(), "the long request is not overdue");
    let later = now + Duration::from_secs(200);
    assert_eq!(machine.handle_frame(later, answer(1, &[])).unwrap().waiter, Some(0));
    assert_eq!(
        machine.next_timeout(),
        later + TIMEOUT,
        "the second one's time starts with its turn"
    );
    assert_eq!(
        machine.handle_frame(later, answer(2, &[])).unwrap().waiter,
        None,
        "read and thrown away"
    );
}

#[test]
fn an_overdue_head_stalls_the_connection() {
    let (mut machine, now) = started();
    ask(&mut machine, now, TIMEOUT, 0);
    machine.poll_request(now).unwrap();
    machine.handle_timeout(now + TIMEOUT);
    assert!(matches!(machine.poll_event(), Some(Event::Expired(_))));
    assert!(matches!(machine.poll_event(), Some(Event::Stalled { api_key: 3 })));
}

#[test]
fn an_idle_connection_is_reaped_but_never_with_pending_answers() {
    let (mut machine, now) = started();
    ask(&mut machine, now, IDLE * 3, 0);
    machine.poll_request(now).unwrap();
    machine.handle_timeout(now + IDLE * 2);
    assert!(machine.poll_event().is_none());
    let answered = now + IDLE * 2;
    machine.handle_frame(answered, answer(1, &[])).unwrap();
    machine.handle_timeout(answered + IDLE - Duration::from_millis(1));
    assert!(machine.poll_event().is_none());
    assert_eq!(machine.next_timeout(), answered + IDLE);
    machine.handle_timeout(answered + IDLE);
    assert!(matches!(machine.poll_event(), Some(Event::Idle)));
}

#[test]
fn a_disconnect_tells_who_may_have_been_heard() {
    let (mut machine, now) = started();
    for waiter in 0..4 {
        ask(&mut machine, now, TIMEOUT, waiter);
    }
    for _ in 0..3 {
        machine.poll_request(now).unwrap();
    }
    machine.handle_write_failure(1);
    let told: Vec<_> = machine
        .handle_disconnect()
        .into_iter()
        .map(|u| (u.waiter, u.written))
        .collect();
    assert_eq!(told, [(0, true), (1, true), (2, false), (3, false)]);
    assert!(machine.is_empty());
}

#[test]
fn correlation_ids_wrap_to_zero() {
    let now = Instant::now();
    let mut machine = InFlight::new(now, i32::MAX, IDLE);
    ask(&mut machine, now, TIMEOUT, 0);
    ask(&mut machine, now, TIMEOUT, 1);
    machine.poll_request(now).unwrap();
    machine.poll_request(now).unwrap();
    machine.handle_frame(now, answer(i32::MAX, &[])).unwrap();
    assert_eq!(machine.handle_frame(now, answer(0, &[])).unwrap().waiter, Some(1));
}

proptest! {
    #[test]
    fn any_bytes_are_placed_or_refused(frame in proptest::collection::vec(any::<u8>(), 0..40), header in 0i16..2) {
        let (mut machine, now) = started();
        let expected = Expected { api_key: 3, response_header: header, timeout: TIMEOUT };
        machine.handle_request(now, expected, unsent(), 0u32);
        machine.poll_request(now).unwrap();
        let mut framed = 1i32.to_be_bytes().to_vec();
        framed.extend(&frame);
        if let Ok(placed) = machine.handle_frame(now, framed.into()) {
            prop_assert!(frame.ends_with(&placed.body));
        }
        let _ = machine.handle_frame(now, frame.into());
    }
}
