use super::*;
use proptest::prelude::*;

/// As sarama writes it for a goka group with inputs `one` and `two`.
const SUBSCRIPTION: &[u8] = b"\x00\x00\x00\x00\x00\x02\x00\x03one\x00\x03two\xff\xff\xff\xff";
/// Partitions 0, 2, 4 of `one`.
const ASSIGNMENT: &[u8] =
    b"\x00\x00\x00\x00\x00\x01\x00\x03one\x00\x00\x00\x03\0\0\0\0\0\0\0\x02\0\0\0\x04\xff\xff\xff\xff";

fn topics() -> Vec<String> {
    vec!["one".into(), "two".into()]
}

#[test]
fn a_subscription_has_gokas_bytes() {
    assert_eq!(encode_subscription(&topics(), None), SUBSCRIPTION);
    assert_eq!(
        decode_subscription(SUBSCRIPTION),
        Ok(Subscription {
            topics: topics(),
            user_data: None
        })
    );
}

#[test]
fn topics_keep_the_order_of_their_definition() {
    let encoded = encode_subscription(&["two".into(), "one".into()], None);
    assert_eq!(decode_subscription(&encoded).unwrap().topics, ["two", "one"]);
}

#[test]
fn an_assignment_has_gokas_bytes() {
    let partitions = BTreeMap::from([("one".to_owned(), vec![0, 2, 4])]);
    assert_eq!(encode_assignment(&partitions), ASSIGNMENT);
    assert_eq!(decode_assignment(ASSIGNMENT), Ok(partitions.into_iter().collect()));
}

#[test]
fn user_data_of_saramas_own_golden_bytes_is_read() {
    let bytes = b"\x00\x00\x00\x00\x00\x02\x00\x03one\x00\x03two\x00\x00\x00\x03\x01\x02\x03";
    let user_data = Some(Bytes::from_static(b"\x01\x02\x03"));
    assert_eq!(
        decode_subscription(bytes),
        Ok(Subscription {
            topics: topics(),
            user_data
        })
    );
    assert_eq!(encode_subscription(&topics(), Some(b"\x01\x02\x03")), &bytes[..]);
}

#[test]
fn later_versions_are_read_and_what_they_append_is_ignored() {
    let owned = b"\x00\x00\x00\x01\x00\x03one\x00\x00\x00\x01\x00\x00\x00\x05";
    let generation = b"\x00\x00\x00\x07";
    let rack = b"\x00\x01r";
    for (version, appended) in [
        (1, vec![]), // claimed, not sent: old sarama-cluster
        (1, owned.to_vec()),
        (2, [&owned[..], generation].concat()),
        (3, [&owned[..], generation, rack].concat()),
        (9, vec![1, 2, 3]),
    ] {
        let mut bytes = [SUBSCRIPTION, &appended].concat();
        bytes[1] = version;
        assert_eq!(
            decode_subscription(&bytes).map(|read| read.topics),
            Ok(topics()),
            "version {version}"
        );
    }
}

#[test]
fn no_bytes_are_an_empty_assignment() {
    assert_eq!(decode_assignment(b""), Ok(Share::new()));
}

#[test]
fn a_partition_named_twice_is_assigned_once() {
    let mut bytes = ASSIGNMENT.to_vec();
    bytes[22] = 4; // 0, 2, 4 becomes 0, 4, 4
    assert_eq!(decode_assignment(&bytes), Ok(vec![("one".to_owned(), vec![0, 4])]));
}

#[test]
fn a_topic_named_twice_has_the_partitions_of_both() {
    let one = &ASSIGNMENT[6..27]; // its first topic
    let other = b"\x00\x02aa\x00\x00\x00\x01\0\0\0\x07";
    let again = b"\x00\x03one\x00\x00\x00\x02\0\0\0\x01\0\0\0\x04";
    let bytes = [&b"\0\0\0\0\0\x03"[..], one, other, again, &[0xff; 4]].concat();
    let expected = vec![("aa".to_owned(), vec![7]), ("one".to_owned(), vec![0, 1, 2, 4])];
    assert_eq!(decode_assignment(&bytes), Ok(expected));
}

#[test]
fn hostile_bytes_are_refused_without_allocating_by_their_word() {
    let cases: [&[u8]; 8] = [
        b"\x00",
        b"\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff",  // version -1
        b"\x00\x00\x7f\xff\xff\xff\x00\x01a",         // 2^31 - 1 topics
        b"\x00\x00\xff\xff\xff\xff",                  // -1 topics
        b"\x00\x00\x00\x00\x00\x01\xff\xffx\0\0\0\0", // topic of length -1
        b"\x00\x00\x00\x00\x00\x01\x00\x00\0\0\0\0\xff\xff\xff\xff", // topic without a name
        b"\x00\x00\x00\x00\x00\x01\x00\x01\xff\0\0\0\0", // not UTF-8
        b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xfe",  // user data of length -2
    ];
    for bytes in cases {
        assert!(decode_subscription(bytes).is_err(), "{bytes:?}");
        assert!(decode_assignment(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_negative_partition_is_refused() {
    let partitions = BTreeMap::from([("one".to_owned(), vec![-1])]);
    assert!(decode_assignment(&encode_assignment(&partitions)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_subscription(&bytes);
        let _ = decode_assignment(&bytes);
    }

    #[test]
    fn what_is_encoded_is_decoded(
        partitions in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::btree_set(0_i32..1000, 0..9), 0..5),
        user_data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
    ) {
        let partitions: BTreeMap<String, Vec<i32>> =
            partitions.into_iter().map(|(topic, numbers)| (topic, numbers.into_iter().collect())).collect();
        prop_assert_eq!(decode_assignment(&encode_assignment(&partitions)), Ok(partitions.clone().into_iter().collect()));
        let topics: Vec<String> = partitions.into_keys().collect();
        let read = decode_subscription(&encode_subscription(&topics, user_data.as_deref())).unwrap();
        prop_assert_eq!(read, Subscription { topics, user_data: user_data.map(Bytes::from) });
    }
}
