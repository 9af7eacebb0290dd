//! DeleteTopics, v1-6 (KIP-516: by topic id from v6).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_wire::{ErrorCode, TopicId};
use uuid::Uuid;

use crate::broker::core::{Call, Served, State};
use crate::broker::faults::Faults;
use crate::broker::wire::{Shape, fixed, structs, text, texts};

pub(super) const VERSIONS: RangeInclusive<i16> = 1..=6;
pub(super) const SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        structs::<DeleteTopicState>(&[text(), fixed(16)]).since(6),
        texts().until(5),
        fixed(4),
    ],
};

/// A topic as the request names it.
type Named = (Option<TopicName>, Uuid);
type Refusal = (ErrorCode, Option<&'static str>);

const UNKNOWN_ID: &str = "This server does not host this topic ID.";
const UNKNOWN_NAME: &str = "This server does not host this topic-partition.";

pub(super) fn serve(
    state: &mut State,
    _faults: &mut Faults,
    call: &Call,
    request: DeleteTopicsRequest,
) -> Served<DeleteTopicsResponse> {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let asked: Vec<Named> = by_name
        .chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)))
        .collect();
    let mut times: BTreeMap<&Named, usize> = BTreeMap::new();
    for named in &asked {
        *times.entry(named).or_default() += 1;
    }
    let mut responses = Vec::with_capacity(times.len());
    for named in &asked {
        // A topic that is given twice is refused once.
        let Some(times) = times.remove(named) else { continue };
        let (name, id) = named.clone();
        let result = match call.injected {
            Some(code) => Err((code, None)),
            None if times > 1 => Err((ErrorCode::INVALID_REQUEST, Some("Duplicate topic name or id."))),
            None => delete(state, name.as_ref(), id),
        };
        let answer = DeletableTopicResult::default().with_name(name).with_topic_id(id);
        responses.push(match result {
            Ok((name, id)) => answer.with_name(Some(name)).with_topic_id(id),
            Err((code, why)) => answer.with_error_code(code.0).with_error_message(why.map(super::text)),
        });
    }
    Served::Answer(DeleteTopicsResponse::default().with_responses(responses))
}

fn delete(state: &mut State, name: Option<&TopicName>, id: Uuid) -> Result<(TopicName, Uuid), Refusal> {
    let name = match (name, id.is_nil()) {
        (None, true) => {
            return Err((
                ErrorCode::INVALID_REQUEST,
                Some("Neither topic name nor id were specified."),
            ));
        }
        (Some(_), false) => {
            return Err((
                ErrorCode::INVALID_REQUEST,
                Some("You may not specify both topic name and topic id."),
            ));
        }
        (Some(name), true) => name.to_string(),
        (None, false) => {
            let known = state.cluster.topic_name(TopicId(*id.as_bytes()));
            known
                .ok_or((ErrorCode::UNKNOWN_TOPIC_ID, Some(UNKNOWN_ID)))?
                .to_string()
        }
    };
    let topic = state
        .cluster
        .topic(&name)
        .ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Some(UNKNOWN_NAME)))?;
    let id = Uuid::from_bytes(topic.id.0);
    state.cluster.delete_topic(&name);
    state.parked.note_everything();
    Ok((super::topic_name(&name), id))
}
