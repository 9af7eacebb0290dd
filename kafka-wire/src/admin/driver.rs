//! The two administrative conversations that take several rounds.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{AdminError, IsolationLevel, ListedOffset, NewTopic, OffsetSpec, TopicResults, epochs, offsets, topics};
use crate::client::{Client, ConnectionClass};
use crate::connection::{CallError, CallErrorKind};
use crate::protocol::{ErrorCode, TopicPartition};

/// How long leaders of a new topic may take to become known (librdkafka's `topic.metadata.propagation.max.ms`).
const LEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Creates, then looks until every partition of every created topic has a leader.
pub(super) async fn create_topics(client: &Client, wanted: &[NewTopic]) -> Result<TopicResults, AdminError> {
    let response = client.call_any(topics::create_request(wanted), None).await?;
    let mut results = topics::created(wanted, &response);
    let created: Vec<&str> = results
        .iter()
        .filter(|(_, r)| r.is_ok())
        .map(|(name, _)| name.as_str())
        .collect();
    let missing = wait_for_leaders(client, &created).await?;
    for (name, result) in &mut results {
        if missing.contains(name) {
            let text = format!("created, but not every partition has a leader after {LEADERS_WITHIN:?}");
            *result = Err(AdminError::new(
                format_args!("topic {name}"),
                CallError::new(CallErrorKind::Timeout, text),
            ));
        }
    }
    Ok(results)
}

/// The topics that still lack a leader when time is up.
async fn wait_for_leaders(client: &Client, names: &[&str]) -> Result<Vec<String>, AdminError> {
    let deadline = Instant::now() + LEADERS_WITHIN;
    let mut missing: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    while !missing.is_empty() {
        let asked: Vec<&str> = missing.iter().map(String::as_str).collect();
        let response = client
            .call_any_with(|version| topics::describe_request(version, &asked), None)
            .await?;
        missing.retain(|name| {
            let led = |topic: super::TopicDescription| {
                !topic.partitions.is_empty() && topic.partitions.iter().all(|partition| partition.leader.is_some())
            };
            !topics::described(&[name], &response).is_ok_and(|mut topics| topics.pop().is_some_and(led))
        });
        if missing.is_empty() || Instant::now() + PAUSE >= deadline {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(missing)
}

/// Asks each leader, and after a leader change the next one, until every partition has its offset.
pub(super) async fn list_offsets(
    client: &Client,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: IsolationLevel,
) -> Result<HashMap<TopicPartition, ListedOffset>, AdminError> {
    let deadline = Instant::now() + client.config().connection.request_timeout;
    let mut found = HashMap::new();
    let mut open = wanted.to_vec();
    let mut image = client.cluster();
    while !open.is_empty() {
        let (leaders, leaderless) = offsets::by_leader(&image, &open);
        let mut trouble: Vec<_> = leaderless
            .into_iter()
            .map(|partition| (partition, no_leader()))
            .collect();
        for (node, questions) in leaders {
            let build = |version| offsets::request(version, &questions, isolation);
            match client
                .call_with(node, ConnectionClass::General, build, None, Duration::ZERO)
                .await
            {
                Ok(response) => trouble.extend(offsets::answered(&questions, &response, &mut found)?),
                Err(error) if error.is_transport() => {
                    trouble.extend(
                        questions
                            .iter()
                            .map(|(partition, ..)| (partition.clone(), error.clone())),
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        open.retain(|(partition, _)| !found.contains_key(partition));
        let Some((partition, last)) = trouble.into_iter().next() else {
            break;
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(AdminError::new(partition, last));
        }
        image = look_again(client, &open).await?;
    }
    Ok(found)
}

/// Asks the leader, and after a leader change the next one.
pub(super) async fn epoch_end_offset(
    client: &Client,
    partition: &TopicPartition,
    epoch: i32,
) -> Result<Option<i64>, AdminError> {
    let deadline = Instant::now() + client.config().connection.request_timeout;
    let mut image = client.cluster();
    loop {
        let trouble = match image.leader(partition) {
            None => no_leader(),
            Some((node, current)) => {
                let request = epochs::request(partition, epoch, current);
                let class = ConnectionClass::General;
                match client.call(node, class, request, None, Duration::ZERO).await {
                    Ok(response) => match epochs::answered(partition, &response) {
                        Ok(epochs::Answer::End(end)) => return Ok(end),
                        Ok(epochs::Answer::Again(trouble)) => trouble,
                        Err(refused) => return Err(AdminError::new(partition, refused)),
                    },
                    Err(error) if error.is_transport() => error,
                    Err(error) => return Err(AdminError::new(partition, error)),
                }
            }
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(AdminError::new(partition, trouble));
        }
        image = look_again(client, &[(partition.clone(), OffsetSpec::Latest)]).await?;
    }
}

/// A newer picture that has the topics in question. A topic that does not exist ends the conversation.
async fn look_again(
    client: &Client,
    open: &[(TopicPartition, OffsetSpec)],
) -> Result<Arc<crate::cluster::ClusterImage>, AdminError> {
    let mut topics: Vec<Arc<str>> = open.iter().map(|(partition, _)| Arc::clone(&partition.topic)).collect();
    topics.sort_unstable();
    topics.dedup();
    let image = client.refresh(&topics).await?;
    for (partition, _) in open {
        let Some(topic) = image.topic(&partition.topic) else {
            continue;
        };
        let beyond = topic.error.is_ok() && partition.partition as usize >= topic.partitions.len();
        let code = if beyond {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        } else {
            topic.error
        };
        if code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION || code == ErrorCode::TOPIC_AUTHORIZATION_FAILED {
            return Err(AdminError::new(partition, CallError::refused(3, code, None)));
        }
    }
    Ok(image)
}

fn no_leader() -> CallError {
    CallError::new(
        CallErrorKind::Refused(ErrorCode::LEADER_NOT_AVAILABLE),
        "the partition has no leader",
    )
}
