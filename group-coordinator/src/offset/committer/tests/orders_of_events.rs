//! Commits, answers and new terms in any order.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Commit(i32, i64),
    /// The broker stores what is in flight, and the answer says so, or gets lost.
    Answer(bool),
    Refuse(u8),
    NewTerm,
    Pass,
}

/// Ticket, offsets by partition, generation.
type Sent = (Ticket, Vec<(i32, i64)>, i32);

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_i32, 0..30_i64).prop_map(|(partition, offset)| Step::Commit(partition, offset)),
        4 => any::<bool>().prop_map(Step::Answer),
        1 => any::<u8>().prop_map(Step::Refuse),
        1 => Just(Step::NewTerm),
        2 => Just(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn within_a_term_the_brokers_offsets_never_go_back_and_every_ok_is_true(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut rig = Rig::new();
        let mut broker = HashMap::<i32, i64>::new();
        let mut asked = HashMap::new();
        let mut in_flight: Option<Sent> = None;
        let mut generation = GENERATION;
        let mut settled = 0;
        for step in steps {
            match step {
                Step::Commit(partition, offset) => {
                    let id = rig.commit(&[(partition, offset)]);
                    asked.insert(id, (partition, offset, generation));
                }
                Step::Answer(arrives) => if let Some((ticket, offsets, sent_in)) = in_flight.take() {
                    for (partition, offset) in &offsets {
                        if sent_in == generation {
                            let stored = broker.entry(*partition).or_insert(*offset);
                            prop_assert!(*stored <= *offset, "{stored} undone by {offset}");
                            *stored = *offset;
                        }
                    }
                    match arrives {
                        true => {
                            let codes: Vec<_> = offsets.iter().map(|(p, _)| (*p, ErrorCode::NONE)).collect();
                            rig.answer(ticket, &codes);
                        }
                        false => rig.fail(ticket, Failure::Transport("lost".into())),
                    }
                }
                Step::Refuse(pick) => if let Some((ticket, offsets, _)) = in_flight.take() {
                    let codes = [
                        ErrorCode::NOT_COORDINATOR,
                        ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                        ErrorCode::UNKNOWN_TOPIC_ID,
                    ];
                    let code = codes[usize::from(pick) % 3];
                    let codes: Vec<_> = offsets.iter().map(|(p, _)| (*p, code)).collect();
                    rig.answer(ticket, &codes);
                }
                Step::NewTerm => {
                    generation += 1;
                    broker.clear();
                    rig.term(None);
                    rig.term(Some(generation));
                }
                Step::Pass => rig.pass(2 * SECOND),
            }
            while let Some(request) = rig.request() {
                if let CommitterRequest::Commit { ticket, request } = request {
                    prop_assert!(in_flight.is_none(), "two in flight");
                    prop_assert_eq!(request.generation_id_or_member_epoch, generation);
                    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                    let offsets = partitions.map(|p| (p.partition_index, p.committed_offset)).collect();
                    in_flight = Some((ticket, offsets, generation));
                }
            }
            while let Some((id, result)) = rig.settled() {
                settled += 1;
                let (partition, offset, asked_in) = asked.remove(&id).expect("settled twice");
                if result.is_ok() && asked_in == generation {
                    prop_assert!(broker.get(&partition).is_some_and(|stored| *stored >= offset), "{id:?}");
                }
            }
        }
        prop_assert_eq!(settled + asked.len() as u64, rig.last_id);
    }
}
