//! Leaders that move, and topics that come and go.

use super::*;
use crate::fetcher::position::Leader;

#[test]
fn a_new_leader_is_asked_and_the_former_one_has_no_say() {
    let mut f = fixture();
    (0..2).for_each(|id| f.add(id));
    let former = f.request();
    f.events();
    f.image(clicks_on([2, 1, 1, 1], 6));
    f.answer(&former, vec![(0, records(0)), (1, nothing(0))]);
    assert!(f.events().is_empty(), "both have another leader or another epoch of it");
    let asked: Vec<_> = f.requests().iter().map(|request| fetch(request)).collect();
    assert_eq!(asked, [(1, Lane::Long, vec![1]), (2, Lane::Long, vec![0])]);
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
    f.answer(&request, vec![(0, records(0))]);
    assert!(matches!(f.events()[..], [Event::Answered { .. }]));
}
