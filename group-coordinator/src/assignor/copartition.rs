//! goka's assignor: partition number `p` of *every* topic goes to the same member.
//!
//! Members sorted by id share the partition numbers like the range assignor does: with `P` partitions and `M` members, member
//! `i` gets `[floor(i * P/M + 0.5), floor((i + 1) * P/M + 0.5))` of each topic it subscribes. The plan, its rounding and the
//! protocol name `copartition` are goka's, so Go and Rust members can share a group and either may lead it.

use std::collections::{BTreeMap, BTreeSet};

use super::{AssignError, Assignor, GroupAssignment, MemberSubscription};

/// Equal partition numbers to equal members. Not sticky: a member that comes or goes moves about half of all partitions.
#[derive(Debug, Clone)]
pub struct Copartition {
    strict: bool,
}

impl Copartition {
    /// Members may subscribe to different topics, as they do while a new version of a processor is rolled out. The price: a
    /// partition of a topic that its owner does not subscribe is read by nobody until the roll-out is over. goka's default.
    pub fn tolerant() -> Self {
        Self { strict: false }
    }

    /// All members must subscribe to the same topics and all of these must exist, or there is no plan.
    pub fn strict() -> Self {
        Self { strict: true }
    }
}

impl Assignor for Copartition {
    fn name(&self) -> &str {
        "copartition"
    }

    fn assign(
        &self,
        members: &[MemberSubscription],
        partitions: &BTreeMap<String, Vec<i32>>,
    ) -> Result<GroupAssignment, AssignError> {
        let numbers = common_partitions(partitions)?;
        if self.strict {
            check_same_topics(members, partitions)?;
        }
        let mut members: Vec<&MemberSubscription> = members.iter().collect();
        members.sort_by(|a, b| a.member_id.cmp(&b.member_id));

        let step = numbers.len() as f64 / members.len() as f64;
        let boundary = |member: usize| ((member as f64 * step + 0.5).floor() as usize).min(numbers.len());
        let plan = members.iter().enumerate().map(|(index, member)| {
            let share = &numbers[boundary(index)..boundary(index + 1)];
            (member.member_id.clone(), share_of(member, share, partitions))
        });
        Ok(plan.collect())
    }
}

fn share_of(
    member: &MemberSubscription,
    share: &[i32],
    partitions: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, Vec<i32>> {
    if share.is_empty() {
        return BTreeMap::new();
    }
    let known = member.topics.iter().filter(|topic| partitions.contains_key(*topic));
    known.map(|topic| (topic.clone(), share.to_vec())).collect()
}

/// The partition numbers that all topics have in common, ascending.
fn common_partitions(partitions: &BTreeMap<String, Vec<i32>>) -> Result<Vec<i32>, AssignError> {
    let sorted = |numbers: &[i32]| numbers.iter().copied().collect::<BTreeSet<i32>>();
    let Some((topic, numbers)) = partitions.first_key_value() else {
        return Ok(Vec::new());
    };
    let expected = sorted(numbers);
    for (other, other_numbers) in partitions {
        if sorted(other_numbers) != expected {
            return Err(AssignError::NotCopartitioned {
                topic: topic.clone(),
                partitions: numbers.len(),
                other: other.clone(),
                other_partitions: other_numbers.len(),
            });
        }
    }
    Ok(expected.into_iter().collect())
}

fn check_same_topics(
    members: &[MemberSubscription],
    partitions: &BTreeMap<String, Vec<i32>>,
) -> Result<(), AssignError> {
    let all: BTreeSet<&String> = partitions.keys().collect();
    match members
        .iter()
        .find(|member| member.topics.iter().collect::<BTreeSet<_>>() != all)
    {
        Some(member) => Err(AssignError::DifferentTopics {
            member_id: member.member_id.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Share<'a> = (&'a str, &'a [i32]);

    fn member(id: &str, topics: &[&str]) -> MemberSubscription {
        MemberSubscription {
            member_id: id.into(),
            instance_id: None,
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
            user_data: None,
        }
    }

    fn topics(counts: &[(&str, i32)]) -> BTreeMap<String, Vec<i32>> {
        counts
            .iter()
            .map(|(topic, count)| ((*topic).into(), (0..*count).collect()))
            .collect()
    }

    fn plan(expected: &[(&str, &[Share<'_>])]) -> GroupAssignment {
        let of_topics = |topics: &[Share<'_>]| topics.iter().map(|(t, p)| ((*t).into(), p.to_vec())).collect();
        expected
            .iter()
            .map(|(member, topics)| ((*member).into(), of_topics(topics)))
            .collect()
    }

    #[test]
    fn a_single_member_gets_everything() {
        let assigned = Copartition::tolerant().assign(&[member("M1", &["T1"])], &topics(&[("T1", 3)]));
        assert_eq!(assigned, Ok(plan(&[("M1", &[("T1", &[0, 1, 2])])])));
    }

    #[test]
    fn two_members_share_three_partitions_as_two_and_one() {
        let members = [member("M2", &["T1"]), member("M1", &["T1"])];
        let assigned = Copartition::tolerant().assign(&members, &topics(&[("T1", 3)]));
        assert_eq!(
            assigned,
            Ok(plan(&[("M1", &[("T1", &[0, 1])]), ("M2", &[("T1", &[2])])]))
        );
    }

    #[test]
    fn three_members_get_the_same_pair_of_each_of_three_topics() {
        let members = [
            member("M1", &["T1", "T2", "T3"]),
            member("M2", &["T2", "T3", "T1"]),
            member("M3", &["T2", "T3", "T1"]),
        ];
        let partitions = topics(&[("T1", 6), ("T2", 6), ("T3", 6)]);
        let pair = |a, b| BTreeMap::from(["T1", "T2", "T3"].map(|topic| (topic.to_owned(), vec![a, b])));
        let expected = [("M1", pair(0, 1)), ("M2", pair(2, 3)), ("M3", pair(4, 5))];
        for assignor in [Copartition::tolerant(), Copartition::strict()] {
            let expected = expected
                .iter()
                .map(|(id, share)| ((*id).to_owned(), share.clone()))
                .collect();
            assert_eq!(assignor.assign(&members, &partitions), Ok(expected));
        }
    }

    #[test]
    fn topics_with_different_partitions_have_no_plan() {
        let partitions = topics(&[("T1", 3), ("T2", 2)]);
        let refused = Copartition::tolerant().assign(&[member("M1", &["T1", "T2"])], &partitions);
        assert!(
            matches!(
                refused,
                Err(AssignError::NotCopartitioned {
                    other_partitions: 2,
                    ..
                })
            ),
            "{refused:?}"
        );
    }

    #[test]
    fn members_with_different_topics_are_tolerated_or_refused() {
        let members = [member("M1", &["T1", "T2"]), member("M2", &["T2"])];
        let partitions = topics(&[("T1", 3), ("T2", 3)]);
        let tolerated = plan(&[("M1", &[("T1", &[0, 1]), ("T2", &[0, 1])]), ("M2", &[("T2", &[2])])]);
        assert_eq!(Copartition::tolerant().assign(&members, &partitions), Ok(tolerated));
        let refused = AssignError::DifferentTopics { member_id: "M2".into() };
        assert_eq!(Copartition::strict().assign(&members, &partitions), Err(refused));
    }

    #[test]
    fn a_topic_nobody_subscribes_has_no_strict_plan() {
        let refused = Copartition::strict().assign(&[member("M1", &["T1"])], &topics(&[("T2", 3)]));
        assert_eq!(refused, Err(AssignError::DifferentTopics { member_id: "M1".into() }));
    }

    #[test]
    fn more_members_than_partitions_leave_some_with_nothing() {
        let members = [member("a", &["T"]), member("b", &["T"]), member("c", &["T"])];
        let assigned = Copartition::tolerant().assign(&members, &topics(&[("T", 1)])).unwrap();
        assert_eq!(assigned.values().filter(|share| share.is_empty()).count(), 2);
    }

    proptest! {
        #[test]
        fn each_partition_has_one_owner_the_same_for_all_topics_and_shares_differ_by_one_at_most(
            member_count in 1_usize..40, partition_count in 0_i32..300, topic_count in 1_usize..4, seed in any::<u64>(),
        ) {
            let names: Vec<String> = (0..topic_count).map(|t| format!("topic-{t}")).collect();
            let subscribed: Vec<&str> = names.iter().map(String::as_str).collect();
            let ids: BTreeSet<u64> = (0..member_count as u64).map(|m| (m ^ seed).wrapping_mul(0x9e37_79b9)).collect();
            let members: Vec<_> = ids.iter().map(|id| member(&format!("m-{id}"), &subscribed)).collect();
            let partitions = names.iter().map(|name| (name.clone(), (0..partition_count).collect())).collect();

            let assigned = Copartition::strict().assign(&members, &partitions).unwrap();
            for name in &names {
                let shares: Vec<&[i32]> =
                    assigned.values().map(|share| share.get(name).map_or(&[][..], Vec::as_slice)).collect();
                let mut owned: Vec<i32> = shares.concat();
                owned.sort_unstable();
                prop_assert_eq!(owned, (0..partition_count).collect::<Vec<_>>());
                let sizes = shares.iter().map(|share| share.len());
                prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
            for share in assigned.values() {
                let mut copartitions = share.values();
                let first = copartitions.next();
                prop_assert!(copartitions.all(|numbers| Some(numbers) == first));
            }
        }
    }
}
