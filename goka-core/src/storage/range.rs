//! Ranges of keys.

/// Keys from `start` (included) to `end` (excluded), by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// First key; `None` begins with the smallest.
    pub start: Option<Vec<u8>>,
    /// First key beyond; `None` ends with the greatest.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// Keys from `start` to before `end`.
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange {
            start: Some(start.into()),
            end: Some(end.into()),
        }
    }

    /// Keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> KeyRange {
        let start = prefix.into();
        // The first key beyond: the prefix with its last byte that can be raised raised, and nothing after it.
        let mut end = start.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return KeyRange {
                    start: Some(start),
                    end: Some(end),
                };
            }
        }
        KeyRange {
            start: Some(start),
            end: None,
        }
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_deref().is_none_or(|start| start <= key) && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether no key can lie in it.
    pub fn is_empty(&self) -> bool {
        matches!((&self.start, &self.end), (Some(start), Some(end)) if start >= end)
            || self.end.as_ref().is_some_and(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_its_keys_and_no_other() {
        let range = KeyRange::prefix(*b"ab");
        assert!(
            range.contains(b"ab") && range.contains(b"ab\xff\xff") && !range.contains(b"ac") && !range.contains(b"aa")
        );
        let range = KeyRange::prefix(*b"a\xff");
        assert!(range.contains(b"a\xff\xff") && !range.contains(b"b") && !range.contains(b"a"));
        assert_eq!(KeyRange::prefix(*b"\xff").end, None);
        assert_eq!(
            KeyRange::prefix(*b""),
            KeyRange {
                start: Some(Vec::new()),
                end: None
            }
        );
    }

    #[test]
    fn a_range_is_half_open() {
        let range = KeyRange::new(*b"a", *b"c");
        assert!(range.contains(b"a") && range.contains(b"b") && !range.contains(b"c"));
        assert!(KeyRange::new(*b"b", *b"b").is_empty() && KeyRange::new(*b"b", *b"a").is_empty() && !range.is_empty());
    }
}
