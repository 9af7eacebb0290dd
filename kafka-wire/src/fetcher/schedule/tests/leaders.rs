//! Leaders that move, and topics that come and go.

use super::*;
use crate::fetcher::position::Leader;

#[test]
fn a_new_leader_is_asked_at_once_and_the_former_one_has_no_say() {
    let mut f = fixture();
    (0..3).for_each(|id| f.add(id));
    let former = f.request();
    f.events();
    f.image(image(&[("clicks", 7, &[2, 1, 1])], 6));
    let asked = f.requests();
    assert_eq!(fetch(&asked[0]), (1, Lane::Short, vec![1, 2]), "in another epoch of it");
    assert_eq!(
        fetch(&asked[1]),
        (2, Lane::Long, vec![0]),
        "even if the other never answers"
    );
    f.answer(
        &former,
        vec![(0, records(0)), (1, refusal(ErrorCode::TOPIC_AUTHORIZATION_FAILED))],
    );
    assert!(f.events().is_empty());
    assert!(f.requests().is_empty(), "all are under way");
    f.answer(&asked[1], vec![(0, records(0))]);
    assert_eq!(f.events().len(), 1);
    assert_eq!(f.request().partitions[0].want, Want::Records(10));
}

#[test]
fn a_bound_told_by_a_former_leader_is_not_taken_for_the_new_ones() {
    let mut f = fixture();
    f.add_at(0, StartOffset::Earliest, OffsetReset::Error);
    let former = f.request();
    f.image(clicks_on([2; 4], 6));
    let asked = f.request();
    assert_eq!((asked.node, asked.partitions[0].want), (2, former.partitions[0].want));
    f.answer(&former, vec![(0, Told::Offset(5))]);
    assert!(f.requests().is_empty());
    f.answer(&asked, vec![(0, Told::Offset(7))]);
    assert_eq!(f.request().partitions[0].want, Want::Records(7));
}

#[test]
fn a_former_leader_that_is_too_old_for_epochs_confirms_nothing() {
    let mut f = fixture();
    let resume = StartOffset::Resume {
        offset: 70,
        leader_epoch: 4,
    };
    f.add_at(0, resume, OffsetReset::Error);
    let former = f.request();
    assert_eq!(former.kind, Kind::EpochEnds);
    f.image(clicks_on([2; 4], 6));
    f.fail(&former, CallErrorKind::Unsupported);
    let asked = f.request();
    assert_eq!((asked.node, asked.kind), (2, Kind::EpochEnds));
    f.fail(&asked, CallErrorKind::Unsupported);
    assert_eq!(
        f.request().partitions[0].want,
        Want::Records(70),
        "of its own leader it does"
    );
}

#[test]
fn a_pause_because_of_the_former_leader_ends_with_it() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    f.answer(&request, vec![(0, refusal(ErrorCode::NOT_LEADER_OR_FOLLOWER))]);
    assert_eq!(look_ups(&f.events()), ["clicks"]);
    assert!(f.requests().is_empty());
    f.image(clicks_on([2; 4], 6));
    let request = f.request();
    assert_eq!(fetch(&request), (2, Lane::Long, vec![0]));
    assert_eq!(request.partitions[0].leader, Leader { node: 2, epoch: 6 });
}

#[test]
fn who_leads_now_is_passed_on_with_its_address() {
    let mut f = fixture();
    f.add(3);
    let request = f.request();
    f.events();
    let moved = Told::Error {
        code: ErrorCode::NOT_LEADER_OR_FOLLOWER,
        leader: Some((9, 6)),
    };
    let told = Answer {
        endpoints: vec![(8, "kafka-8".into(), 9092), (9, "kafka-9".into(), 9093)],
        ..answer(vec![(0, moved)])
    };
    f.answer_with(&request, told);
    let hint = f.events().into_iter().find_map(|event| match event {
        Event::LeaderHint {
            topic_partition,
            leader,
            epoch,
            endpoint,
        } => Some((topic_partition, leader, epoch, endpoint)),
        _ => None,
    });
    let address = Some((9, "kafka-9".to_owned(), 9093));
    assert_eq!(hint, Some((TopicPartition::new("clicks", 3), 9, 6, address)));
}

#[test]
fn without_a_leader_nothing_is_asked_until_one_is_known() {
    let mut f = fixture();
    f.image(clicks_on([-1; 4], 5));
    f.add(0);
    assert!(f.requests().is_empty());
    assert_eq!(look_ups(&f.events()), ["clicks"]);
    f.wait(LONG_ENOUGH);
    assert_eq!(look_ups(&f.events()), ["clicks"], "and again");
    f.image(clicks_on([2; 4], 6));
    assert_eq!(fetch(&f.request()), (2, Lane::Long, vec![0]));
}

#[test]
fn a_recreated_topic_is_not_read_on() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let request = f.request();
    let known = f.events();
    assert!(matches!(
        known[..],
        [
            Event::TopicKnown {
                id: 0,
                topic_id: TopicId([7, ..])
            },
            _
        ]
    ));
    f.image(image(&[("clicks", 9, &[1, 1])], 0));
    let failures = failures(f.events());
    assert_eq!(failures.len(), 2);
    for (_, error) in failures {
        let FetchErrorKind::TopicRecreated { expected, found } = error.kind else {
            panic!("{error}");
        };
        assert_eq!((expected, found), (TopicId([7; 16]), TopicId([9; 16])));
    }
    f.answer(&request, vec![(0, records(0))]);
    assert!(f.requests().is_empty() && f.events().is_empty(), "forgotten");
}

#[test]
fn a_topic_that_the_image_lost_is_the_same_one_when_it_comes_back() {
    let mut f = fixture();
    f.add(0);
    let request = f.request();
    f.events();
    f.image(image(&[("views", 8, &[1])], 5));
    assert_eq!(look_ups(&f.events()), ["clicks"]);
    f.image(clicks_on([1; 4], 5));
    let again = f.request();
    assert_eq!(fetch(&again), (1, Lane::Short, vec![0]));
    f.answer(&request, vec![(0, records(0))]);
    assert!(f.events().is_empty(), "of before that");
    f.answer(&again, vec![(0, records(0))]);
    assert!(matches!(f.events()[..], [Event::Answered { .. }]));
}
