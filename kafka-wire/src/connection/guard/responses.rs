//! The shapes of the responses that are read, over all versions that `kafka-protocol` knows.
//!
//! `tests/hostile_responses.rs` checks each against the decoder it guards.

use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, NodeEndpoint as FetchEndpoint, PartitionData,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};

use super::shape::{Field, Shape, blob, fixed, ints, structs, structure, text};

/// The shape of an API's response; `None` for those nobody reads.
pub fn response_shape(api_key: i16) -> Option<&'static Shape> {
    Some(match ApiKey::try_from(api_key).ok()? {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::OffsetCommit => &OFFSET_COMMIT,
        ApiKey::OffsetFetch => &OFFSET_FETCH,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::JoinGroup => &JOIN_GROUP,
        ApiKey::Heartbeat => &HEARTBEAT,
        ApiKey::LeaveGroup => &LEAVE_GROUP,
        ApiKey::SyncGroup => &SYNC_GROUP,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteTopics => &DELETE_TOPICS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::DescribeGroups => &DESCRIBE_GROUPS,
        ApiKey::ListGroups => &LIST_GROUPS,
        ApiKey::DeleteGroups => &DELETE_GROUPS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        _ => return None,
    })
}

const ERROR: Field = fixed(2);
const THROTTLE: Field = fixed(4);
const BOOL: Field = fixed(1);
const NODE: Field = fixed(4);
const EPOCH: Field = fixed(4);
const PARTITION: Field = fixed(4);
const OFFSET: Field = fixed(8);
const TOPIC_ID: Field = fixed(16);

const PRODUCE: Shape = Shape {
    flexible_since: 9,
    fields: &[
        structs::<TopicProduceResponse>(&[
            text().until(12),
            TOPIC_ID.since(13),
            structs::<PartitionProduceResponse>(&[
                PARTITION,
                ERROR,
                OFFSET,
                fixed(8), // log append time
                OFFSET.since(5),
                structs::<BatchIndexAndErrorMessage>(&[fixed(4), text()]).since(8),
                text().since(8),
                structure(&[NODE, EPOCH]).tagged(0).since(10),
            ]),
        ]),
        THROTTLE,
        structs::<NodeEndpoint>(ENDPOINT).tagged(0).since(10),
    ],
};

/// Where a leader lives (KIP-951).
const ENDPOINT: &[Field] = &[NODE, text(), fixed(4), text()];

const FETCH: Shape = Shape {
    flexible_since: 12,
    fields: &[
        THROTTLE,
        ERROR.since(7),
        fixed(4).since(7), // session
        structs::<FetchableTopicResponse>(&[
            text().until(12),
            TOPIC_ID.since(13),
            structs::<PartitionData>(&[
                PARTITION,
                ERROR,
                OFFSET, // high watermark
                OFFSET, // last stable
                OFFSET.since(5),
                structs::<AbortedTransaction>(&[fixed(8), OFFSET]),
                NODE.since(11),
                blob(),
                structure(&[EPOCH, OFFSET]).tagged(0),
                structure(&[NODE, EPOCH]).tagged(1),
                structure(&[OFFSET, EPOCH]).tagged(2),
            ]),
        ]),
        structs::<FetchEndpoint>(ENDPOINT).tagged(0).since(16),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    flexible_since: 6,
    fields: &[
        THROTTLE.since(2),
        structs::<ListOffsetsTopicResponse>(&[
            text(),
            structs::<ListOffsetsPartitionResponse>(&[
                PARTITION,
                ERROR,
                fixed(8), // timestamp
                OFFSET,
                EPOCH.since(4),
            ]),
        ]),
    ],
};

const METADATA: Shape = Shape {
    flexible_since: 9,
    fields: &[
        THROTTLE.since(3),
        structs::<MetadataResponseBroker>(&[NODE, text(), fixed(4), text().since(1)]),
        text().since(2), // cluster id
        NODE.since(1),
        structs::<MetadataResponseTopic>(&[
            ERROR,
            text(),
            TOPIC_ID.since(10),
            BOOL.since(1),
            structs::<MetadataResponsePartition>(&[
                ERROR,
                PARTITION,
                NODE,
                EPOCH.since(7),
                ints(), // replicas
                ints(), // in sync
                ints().since(5),
            ]),
            fixed(4).since(8), // authorized operations
        ]),
        fixed(4).since(8).until(10),
        ERROR.since(13),
    ],
};

const OFFSET_COMMIT: Shape = Shape {
    flexible_since: 8,
    fields: &[
        THROTTLE.since(3),
        structs::<OffsetCommitResponseTopic>(&[
            text().until(9),
            TOPIC_ID.since(10),
            structs::<OffsetCommitResponsePartition>(&[PARTITION, ERROR]),
        ]),
    ],
};

const OFFSET_FETCH: Shape = Shape {
    flexible_since: 6,
    fields: &[
        THROTTLE.since(3),
        structs::<OffsetFetchResponseTopic>(&[text(), structs::<OffsetFetchResponsePartition>(COMMITTED)]).until(7),
        ERROR.since(2).until(7),
        structs::<OffsetFetchResponseGroup>(&[
            text(),
            structs::<OffsetFetchResponseTopics>(&[
                text().until(9),
                TOPIC_ID.since(10),
                structs::<OffsetFetchResponsePartitions>(COMMITTED),
            ]),
            ERROR,
        ])
        .since(8),
    ],
};

/// What is committed for a partition: offset, leader epoch, metadata.
const COMMITTED: &[Field] = &[PARTITION, OFFSET, EPOCH.since(5), text(), ERROR];

const FIND_COORDINATOR: Shape = Shape {
    flexible_since: 3,
    fields: &[
        THROTTLE.since(1),
        ERROR.until(3),
        text().since(1).until(3),
        NODE.until(3),
        text().until(3),
        fixed(4).until(3),
        structs::<Coordinator>(&[text(), NODE, text(), fixed(4), ERROR, text()]).since(4),
    ],
};

const JOIN_GROUP: Shape = Shape {
    flexible_since: 6,
    fields: &[
        THROTTLE.since(2),
        ERROR,
        fixed(4),        // generation
        text().since(7), // protocol type
        text(),          // protocol
        text(),          // leader
        BOOL.since(9),
        text(), // member
        structs::<JoinGroupResponseMember>(&[text(), text().since(5), blob()]),
    ],
};

const HEARTBEAT: Shape = Shape {
    flexible_since: 4,
    fields: &[THROTTLE.since(1), ERROR],
};

const LEAVE_GROUP: Shape = Shape {
    flexible_since: 4,
    fields: &[
        THROTTLE.since(1),
        ERROR,
        structs::<MemberResponse>(&[text(), text(), ERROR]).since(3),
    ],
};

const SYNC_GROUP: Shape = Shape {
    flexible_since: 4,
    fields: &[THROTTLE.since(1), ERROR, text().since(5), text().since(5), blob()],
};

const API_VERSIONS: Shape = Shape {
    flexible_since: 3,
    fields: &[
        ERROR,
        structs::<ApiVersion>(&[fixed(2), fixed(2), fixed(2)]),
        THROTTLE.since(1),
        structs::<SupportedFeatureKey>(FEATURE).tagged(0),
        fixed(8).tagged(1),
        structs::<FinalizedFeatureKey>(FEATURE).tagged(2),
        BOOL.tagged(3),
    ],
};

/// A feature's name and two of its levels.
const FEATURE: &[Field] = &[text(), fixed(2), fixed(2)];

const CREATE_TOPICS: Shape = Shape {
    flexible_since: 5,
    fields: &[
        THROTTLE,
        structs::<CreatableTopicResult>(&[
            text(),
            TOPIC_ID.since(7),
            ERROR,
            text(),
            fixed(4).since(5), // partitions
            fixed(2).since(5), // replicas
            structs::<CreatableTopicConfigs>(&[text(), text(), BOOL, fixed(1), BOOL]).since(5),
            ERROR.tagged(0),
        ]),
    ],
};

const DELETE_TOPICS: Shape = Shape {
    flexible_since: 4,
    fields: &[
        THROTTLE,
        structs::<DeletableTopicResult>(&[text(), TOPIC_ID.since(6), ERROR, text().since(5)]),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    flexible_since: 2,
    fields: &[
        THROTTLE,
        ERROR,
        fixed(8), // producer id
        fixed(2), // producer epoch
        fixed(8).since(6),
        fixed(2).since(6),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    flexible_since: 4,
    fields: &[
        THROTTLE,
        structs::<OffsetForLeaderTopicResult>(&[text(), structs::<EpochEndOffset>(&[ERROR, PARTITION, EPOCH, OFFSET])]),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    flexible_since: 4,
    fields: &[
        THROTTLE,
        structs::<DescribeConfigsResult>(&[
            ERROR,
            text(),
            fixed(1), // resource type
            text(),
            structs::<DescribeConfigsResourceResult>(&[
                text(),
                text(),
                BOOL,
                fixed(1), // source
                BOOL,
                structs::<DescribeConfigsSynonym>(&[text(), text(), fixed(1)]),
                fixed(1).since(3),
                text().since(3),
            ]),
        ]),
    ],
};

const DESCRIBE_GROUPS: Shape = Shape {
    flexible_since: 5,
    fields: &[
        THROTTLE.since(1),
        structs::<DescribedGroup>(&[
            ERROR,
            text().since(6),
            text(), // group
            text(), // state
            text(), // protocol type
            text(), // protocol
            structs::<DescribedGroupMember>(&[text(), text().since(4), text(), text(), blob(), blob()]),
            fixed(4).since(3),
        ]),
    ],
};

const LIST_GROUPS: Shape = Shape {
    flexible_since: 3,
    fields: &[
        THROTTLE.since(1),
        ERROR,
        structs::<ListedGroup>(&[text(), text(), text().since(4), text().since(5)]),
    ],
};

const DELETE_GROUPS: Shape = Shape {
    flexible_since: 2,
    fields: &[THROTTLE, structs::<DeletableGroupResult>(&[text(), ERROR])],
};

const DELETE_RECORDS: Shape = Shape {
    flexible_since: 2,
    fields: &[
        THROTTLE,
        structs::<DeleteRecordsTopicResult>(&[
            text(),
            structs::<DeleteRecordsPartitionResult>(&[PARTITION, OFFSET, ERROR]),
        ]),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    flexible_since: 0,
    fields: &[
        THROTTLE,
        ERROR,
        text(),
        fixed(1).since(1),
        text(), // cluster id
        NODE,
        structs::<DescribeClusterBroker>(&[NODE, text(), fixed(4), text(), BOOL.since(2)]),
        fixed(4),
    ],
};
