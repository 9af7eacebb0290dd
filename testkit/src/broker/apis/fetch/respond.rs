//! The answer to a fetch, from what was read.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchResponse};
use kafka_wire::ErrorCode;
use uuid::Uuid;

use super::read::{Partition, Read};
use super::session::Context;
use super::{Fetch, LEADER_HINTS_SINCE, Target, TopicRef};
use crate::broker::apis::topic_name;
use crate::broker::core::State;

impl Fetch {
    /// Answers with what was read, or with the news of it if there is a session.
    pub(super) fn respond(self, state: &mut State, read: Read) -> FetchResponse {
        let (session, told) = match self.context {
            Context::Sessionless => (0, read.partitions),
            Context::Full => {
                let id = state
                    .sessions
                    .begin(self.node, self.version, &read.partitions, &self.wanted);
                (id, read.partitions)
            }
            Context::Incremental { session } => (session, state.sessions.only_news(session, read.partitions)),
        };
        let mut leaders = BTreeSet::new();
        let mut topics: Vec<FetchableTopicResponse> = Vec::new();
        let mut last: Option<TopicRef> = None;
        for (target, partition) in told {
            let answer = self.report(state, &target, partition, &mut leaders);
            match topics.last_mut().filter(|_| last.as_ref() == Some(&target.topic)) {
                Some(topic) => topic.partitions.push(answer),
                None => topics.push(named(&target.topic).with_partitions(vec![answer])),
            }
            last = Some(target.topic);
        }
        let endpoint = |leader: &i32| {
            let address = state.address(*leader)?;
            let node = NodeEndpoint::default().with_node_id(BrokerId(*leader));
            Some(node.with_host(address.host).with_port(address.port))
        };
        FetchResponse::default()
            .with_session_id(session)
            .with_responses(topics)
            .with_node_endpoints(leaders.iter().filter_map(endpoint).collect())
    }

    fn report(
        &self,
        state: &State,
        target: &Target,
        partition: Partition,
        leaders: &mut BTreeSet<i32>,
    ) -> PartitionData {
        let mut answer = PartitionData::default()
            .with_partition_index(target.partition)
            .with_error_code(partition.error.0)
            .with_high_watermark(partition.high_watermark)
            .with_last_stable_offset(partition.last_stable_offset)
            .with_log_start_offset(partition.log_start_offset)
            .with_aborted_transactions((self.read_committed && partition.error.is_ok()).then(Vec::new))
            .with_records(Some(joined(partition.records)));
        if let Some((epoch, end)) = partition.diverging {
            answer = answer.with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end));
        }
        let stale = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH].contains(&partition.error);
        let known = target
            .name(state)
            .and_then(|name| state.cluster.partition(&name, target.partition));
        if let Some(known) = known.filter(|_| stale && self.version >= LEADER_HINTS_SINCE) {
            leaders.insert(known.leader);
            let hint = LeaderIdAndEpoch::default().with_leader_id(BrokerId(known.leader));
            answer = answer.with_current_leader(hint.with_leader_epoch(known.leader_epoch));
        }
        answer
    }
}

fn named(topic: &TopicRef) -> FetchableTopicResponse {
    match topic {
        TopicRef::Name(name) => FetchableTopicResponse::default().with_topic(topic_name(name)),
        TopicRef::Id(id) => FetchableTopicResponse::default().with_topic_id(Uuid::from_bytes(id.0)),
    }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        all.extend_from_slice(&piece);
    }
    all.freeze()
}
