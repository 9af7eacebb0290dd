//! The way to the group's coordinator: find it, ask it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, OffsetFetchRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_wire::rpc::ConnectionClass;
use kafka_wire::{CallError, CallErrorKind, Client, ErrorCode, TopicPartition};

use crate::config::GroupConfig;
use crate::error::Failure;
use crate::requests::{self, Answer, FetchedOffsets};

/// Whoever coordinates the group at the moment. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Coordinator {
    client: Client,
    config: Arc<GroupConfig>,
}

impl Coordinator {
    pub(super) fn new(client: Client, config: Arc<GroupConfig>) -> Self {
        Self { client, config }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn forget(&self, node: i32) {
        self.client.forget_coordinator(&self.config.group_id, node);
    }

    /// One request. `wait` is how long the broker may think about it.
    pub(super) async fn ask<R>(
        self,
        class: ConnectionClass,
        request: R,
        max_version: Option<i16>,
        wait: Duration,
    ) -> Answer<R::Response>
    where
        R: Request + Clone + Send + Sync,
    {
        self.ask_with(class, |_| request.clone(), max_version, wait).await
    }

    pub(super) async fn heartbeat(self, request: HeartbeatRequest) -> Answer<ErrorCode> {
        let answer = self.ask(ConnectionClass::General, request, None, Duration::ZERO).await;
        answer.map(|response| Ok(ErrorCode(response.error_code)))
    }

    pub(super) async fn leave(self, member_id: StrBytes) -> Answer<ErrorCode> {
        let build = |version| -> LeaveGroupRequest {
            requests::leave_group(&self.config, member_id.clone(), "the member stops", version)
        };
        let answer = self
            .ask_with(ConnectionClass::General, build, None, Duration::ZERO)
            .await;
        answer.map(|response| Ok(requests::leave_group_code(&response)))
    }

    pub(super) async fn fetch_offsets(self, asked: Vec<TopicPartition>) -> Answer<FetchedOffsets> {
        let build = |version| -> OffsetFetchRequest { requests::offset_fetch(&self.config, &asked, version) };
        let cap = Some(requests::OFFSET_FETCH_MAX_VERSION);
        let answer = self
            .ask_with(ConnectionClass::General, build, cap, Duration::ZERO)
            .await;
        let other = || {
            Failure::Transport(format!(
                "OffsetFetch was answered without group {}",
                self.config.group_id
            ))
        };
        answer.map(|response| requests::fetched_offsets(&self.config, &response).ok_or_else(other))
    }

    /// The partitions of those topics that exist, from a picture of the cluster that is asked for now.
    pub(super) async fn partitions(self, topics: Vec<String>) -> Result<BTreeMap<String, Vec<i32>>, Failure> {
        let names: Vec<Arc<str>> = topics.iter().map(|topic| topic.as_str().into()).collect();
        let image = self.client.refresh(&names).await?;
        let existing = topics.into_iter().filter_map(|topic| {
            let count = image.partition_count(&topic).filter(|count| *count > 0)?;
            Some((topic, (0..count).collect()))
        });
        Ok(existing.collect())
    }

    async fn ask_with<R: Request>(
        &self,
        class: ConnectionClass,
        build: impl Fn(i16) -> R,
        max_version: Option<i16>,
        wait: Duration,
    ) -> Answer<R::Response> {
        match self.client.coordinator(&self.config.group_id).await {
            Err(error) => Answer {
                node: None,
                result: Err(error.into()),
            },
            Ok(node) => {
                let result = self.client.call_with(node, class, build, max_version, wait).await;
                Answer {
                    node: Some(node),
                    result: result.map_err(Failure::from),
                }
            }
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error.kind {
            CallErrorKind::Refused(code) => Self::Refused(code, error.to_string()),
            CallErrorKind::Unsupported => Self::Unsupported(error.to_string()),
            CallErrorKind::Closed => Self::Closed,
            _ => Self::Transport(error.to_string()),
        }
    }
}
