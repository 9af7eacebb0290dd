//! Whatever another member says of itself or of our partitions: no panic, and memory bounded by what really came.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Holds both readers to the bound; whether either read the bytes.
fn read_in_bounds(bytes: &[u8]) -> bool {
    let mut read = false;
    let subscription = peak(|| read |= decode_subscription(bytes).is_ok());
    let assignment = peak(|| read |= decode_assignment(bytes).is_ok());
    let (used, allowed) = (subscription.max(assignment), (64 << 10) + 8 * bytes.len() as u64);
    assert!(used <= allowed, "{used} bytes for {}", bytes.len());
    read
}

/// The most bytes that `read` held at once.
fn peak(read: impl FnOnce()) -> u64 {
    allocation_counter::measure(read).bytes_max
}

/// Of `count` topics, with names of `letters` letters: as many as there are, then from the first again.
fn names(count: usize, letters: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| {
        let letter = |place: u32| char::from(b'a' + (number / 26_usize.pow(place) % 26) as u8);
        (0..letters as u32).map(|place| letter(place.min(12))).collect()
    })
}

fn subscription(count: usize, letters: usize, user_data: usize) -> Vec<u8> {
    let topics: Vec<String> = names(count, letters).collect();
    encode_subscription(&topics, Some(&vec![7; user_data])).to_vec()
}

/// Unlike [`encode_assignment`] it says topics twice, and in any order.
fn assignment(count: usize, letters: usize, partitions: i32) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    put_count(&mut out, count);
    for name in names(count, letters) {
        put_string(&mut out, &name);
        put_count(&mut out, partitions as usize);
        (0..partitions).for_each(|number| out.put_i32(number));
    }
    put_nullable_bytes(&mut out, None);
    out.to_vec()
}

/// Either message, of few large things or many small ones.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let count = prop_oneof![0..20_usize, 2_000..8_000_usize];
    let letters = prop_oneof![1..4_usize, 1..4_usize, 4..40_usize];
    prop_oneof![
        (count.clone(), letters.clone(), 0..2_000_usize)
            .prop_map(|(count, letters, data)| subscription(count, letters, data)),
        (count, letters, 0..4_i32).prop_map(|(count, letters, partitions)| assignment(count, letters, partitions)),
        (1..20_usize, 1..40_usize, 0..2_000_i32)
            .prop_map(|(count, letters, partitions)| assignment(count, letters, partitions)),
    ]
}

/// Pieces of the bytes replaced: often the first count, on which most depends.
fn harms() -> impl Strategy<Value = Vec<(Option<Index>, Vec<u8>)>> {
    let lies = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<i16>().prop_map(|length| length.to_be_bytes().to_vec()),
        (0..100_000_i32).prop_map(|count| count.to_be_bytes().to_vec()),
        Just(i32::MAX.to_be_bytes().to_vec()),
    ];
    proptest::collection::vec((proptest::option::of(any::<Index>()), lies), 1..5)
}

fn harmed(mut bytes: Vec<u8>, harms: &[(Option<Index>, Vec<u8>)]) -> Vec<u8> {
    for (place, lie) in harms {
        let at = place.map_or(2, |place| place.index(bytes.len()));
        let end = bytes.len().min(at + lie.len());
        bytes.splice(at..end, lie.iter().copied());
    }
    bytes
}

#[test]
fn a_million_names_of_one_letter_are_refused() {
    let bytes = subscription(1_000_000, 1, 0);
    assert!(!read_in_bounds(&bytes));
}

#[test]
fn a_million_names_of_two_letters_are_read_in_bounded_memory() {
    assert!(read_in_bounds(&subscription(1_000_000, 2, 0)));
    assert!(read_in_bounds(&assignment(1_000_000, 2, 0)));
}

#[test]
fn a_count_as_large_as_the_bytes_can_back_is_refused_in_bounded_memory() {
    // The count is believed for the smallest topics, then names follow that take everything that is left.
    let mut bytes = subscription(60, 30_000, 0);
    let count = (bytes.len() as i32 - 6) / 7;
    bytes[2..6].copy_from_slice(&count.to_be_bytes());
    assert!(!read_in_bounds(&bytes));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused_in_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_in_bounds(&bytes);
    }

    #[test]
    fn bytes_of_a_good_beginning_are_read_or_refused_in_bounded_memory(
        count in 0..60_i32,
        bytes in proptest::collection::vec(0..4_u8, 0..400),
    ) {
        read_in_bounds(&[&[0, 0], &count.to_be_bytes()[..], &bytes].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn mutated_messages_are_read_or_refused_in_bounded_memory(message in message(), harms in harms()) {
        prop_assert!(read_in_bounds(&message));
        read_in_bounds(&harmed(message, &harms));
    }
}
