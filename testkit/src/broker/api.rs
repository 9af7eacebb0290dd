//! The APIs the embedded broker serves, by the numbers the protocol gives them.

/// A request type of the Kafka protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum Api {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    DescribeConfigs = 32,
    DeleteGroups = 42,
    DescribeCluster = 60,
}

impl Api {
    /// Every API, by ascending key.
    pub const ALL: [Self; 22] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::FindCoordinator,
        Self::JoinGroup,
        Self::Heartbeat,
        Self::LeaveGroup,
        Self::SyncGroup,
        Self::DescribeGroups,
        Self::ListGroups,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::DeleteTopics,
        Self::DeleteRecords,
        Self::InitProducerId,
        Self::OffsetForLeaderEpoch,
        Self::DescribeConfigs,
        Self::DeleteGroups,
        Self::DescribeCluster,
    ];

    /// The number on the wire.
    pub fn key(self) -> i16 {
        self as i16
    }

    /// The API with this number, if it is one of ours.
    pub fn from_key(key: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_finds_its_api_and_no_other_number_does() {
        for api in Api::ALL {
            assert_eq!(Api::from_key(api.key()), Some(api));
        }
        let served = (i16::MIN..=i16::MAX)
            .filter(|key| Api::from_key(*key).is_some())
            .count();
        assert_eq!(served, Api::ALL.len());
    }
}
