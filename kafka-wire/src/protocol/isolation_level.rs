//! Which records of transactions count.

/// Which records count: all, or those of committed transactions only (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IsolationLevel {
    /// All records, up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Records of committed transactions and records without one, up to the last stable offset.
    ReadCommitted,
}

impl IsolationLevel {
    /// Its number on the wire.
    pub(crate) fn code(self) -> i8 {
        match self {
            IsolationLevel::ReadUncommitted => 0,
            IsolationLevel::ReadCommitted => 1,
        }
    }
}
