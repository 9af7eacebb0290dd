//! File names that cannot leave their directory and never meet.

use goka_core::storage::StoreName;

/// Longest name given to a file or directory before what is appended to it.
const LONGEST: usize = 180;

/// The directory and the file, without extension, of a store.
pub(crate) fn of(name: StoreName<'_>) -> (String, String) {
    (encode(name.owner), format!("{}-{}", encode(name.topic), name.partition))
}

/// `name` with everything but letters, digits, `-`, `_` and inner dots percent-encoded; a long one is cut and ends in its hash.
/// Names that differ stay different.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && at > 0);
        match plain {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    if encoded.is_empty() {
        // No encoded name has two in a row.
        return "%%empty".to_owned();
    }
    if encoded.len() > LONGEST {
        let hash = format!("%%{:016x}{:016x}", fnv1a_64(name, 0), fnv1a_64(name, 1));
        encoded.truncate(LONGEST - hash.len());
        encoded.push_str(&hash);
    }
    encoded
}

fn fnv1a_64(text: &str, seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    text.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_stay_readable() {
        let name = StoreName {
            owner: "click-counter",
            topic: "click-counter.v1_table",
            partition: 3,
        };
        assert_eq!(
            of(name),
            ("click-counter".to_owned(), "click-counter.v1_table-3".to_owned())
        );
    }

    #[test]
    fn hostile_names_stay_in_their_directory() {
        for name in [
            "..",
            ".",
            "/",
            "../../etc",
            "a/b",
            "a\\b",
            "\0",
            "",
            "%2E",
            "%%empty",
            ".lock",
        ] {
            let encoded = encode(name);
            let components: Vec<_> = Path::new(&encoded).components().collect();
            assert!(
                matches!(components[..], [Component::Normal(_)]),
                "{name:?} became {encoded:?}"
            );
            assert!(!encoded.starts_with('.'));
        }
    }

    #[test]
    fn long_names_that_differ_at_the_end_differ() {
        let names = ["a", "b", "c"].map(|end| encode(&("x".repeat(5000) + end)));
        assert!(names.iter().all(|name| name.len() <= LONGEST));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
    }

    proptest! {
        #[test]
        fn different_names_never_meet(a in ".{0,12}", b in ".{0,12}") {
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }
    }
}
