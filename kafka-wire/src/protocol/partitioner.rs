//! Which partition a key belongs to.

/// How keys are spread over a topic's partitions. Writers and readers of a table must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partitioner {
    /// goka's and sarama's: FNV-1a 32 as a signed number, its absolute value modulo the partition count. librdkafka's `fnv1a`.
    #[default]
    Fnv1a,
    /// The Java client's: murmur2 without its sign bit, modulo the partition count.
    Murmur2,
}

impl Partitioner {
    /// The partition of `key` among `partitions`; 0 if there are none.
    pub fn partition(self, key: &[u8], partitions: i32) -> i32 {
        if partitions <= 0 {
            return 0;
        }
        let count = partitions as u32;
        let number = match self {
            // Modulo on the absolute value as an unsigned number: right for 0x80000000 too, whose absolute value is no i32.
            Partitioner::Fnv1a => (fnv1a_32(key) as i32).unsigned_abs() % count,
            Partitioner::Murmur2 => (murmur2(key) & 0x7fff_ffff) % count,
        };
        number as i32
    }
}

/// FNV-1a, 32 bits.
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// murmur2 with the seed of the Java client (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        let bits = tail.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        hash = (hash ^ bits).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_the_partitions_that_goka_gives() {
        let golden: [(&str, u32, [i32; 5]); 12] = [
            ("", 0x811c9dc5, [1, 0, 3, 5, 35]),
            ("a", 0xe40c292c, [0, 0, 4, 6, 26]),
            ("key1", 0x374a6a67, [1, 2, 7, 3, 33]),
            ("key2", 0x384a6bfa, [0, 1, 2, 2, 2]),
            ("some-key", 0x51936373, [1, 1, 3, 7, 47]),
            ("user-0", 0xf6537b07, [1, 1, 1, 7, 27]),
            ("user-1", 0xf5537974, [0, 0, 4, 6, 46]),
            ("bob", 0x86c6a0d4, [0, 2, 4, 2, 2]),
            ("0", 0x350ca8af, [1, 0, 7, 3, 13]),
            ("02", 0x1fed6f27, [1, 1, 7, 3, 33]),
            ("日本", 0x9f26ee51, [1, 1, 7, 5, 25]),
            ("user-123909209n", 0x80000000, [0, 2, 0, 8, 48]),
        ];
        for (key, hash, partitions) in golden {
            assert_eq!(fnv1a_32(key.as_bytes()), hash, "{key}");
            let found = [2, 3, 8, 10, 50].map(|count| Partitioner::Fnv1a.partition(key.as_bytes(), count));
            assert_eq!(found, partitions, "{key}");
        }
        assert_eq!(fnv1a_32(b"qqk42v"), 0x80000000);
        assert_eq!(Partitioner::Fnv1a.partition(b"qqk42v", 10), 8);
    }

    #[test]
    fn murmur2_gives_the_partitions_that_the_java_client_gives() {
        let golden = [
            ("foobar", -790332482, 6),
            ("21", -973932308, 0),
            ("abc", 479470107, 7),
            ("user-1", 1404122828, 8),
            ("", 275646681, 1),
            ("a-little-bit-longer-string", -1486304829, 9),
        ];
        for (key, hash, partition) in golden {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            assert_eq!(Partitioner::Murmur2.partition(key.as_bytes(), 10), partition, "{key}");
        }
    }

    #[test]
    fn no_partitions_is_not_a_division_by_zero() {
        assert_eq!(Partitioner::Fnv1a.partition(b"a", 0), 0);
    }
}
