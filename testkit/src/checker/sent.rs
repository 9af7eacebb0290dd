//! What those who wrote the inputs were told, against what the inputs hold (V13, V21).

use std::collections::HashMap;

use bytes::Bytes;

use super::Findings;
use super::finding::Kind;
use super::history::{History, Outcome, Sent};

/// Where a value lies: partition, offset, key.
type StoredAt<'a> = (i32, i64, Option<&'a Bytes>);

pub(super) fn check(history: &History, findings: &mut Findings<'_>) {
    if history.sent.is_empty() {
        return;
    }
    let mut stored: HashMap<(&str, &Bytes), Vec<StoredAt<'_>>> = HashMap::new();
    for (number, partition) in &history.partitions {
        for (topic, input) in &partition.inputs {
            for record in &input.log.records {
                let Some(value) = &record.value else { continue };
                let places = stored.entry((topic.as_str(), value)).or_default();
                places.push((*number, record.offset, record.key.as_ref()));
            }
        }
    }
    for sent in &history.sent {
        let places = stored.get(&(sent.topic.as_str(), &sent.value));
        check_one(sent, places.map_or(&[][..], Vec::as_slice), findings);
    }
}

fn check_one(sent: &Sent, places: &[StoredAt<'_>], findings: &mut Findings<'_>) {
    let key = Some(&sent.key);
    let mut tell = |kind, offset, what: String| {
        let sentence = format!("\"{}\" sent to {} {what}", sent.value.escape_ascii(), sent.topic);
        findings.add(kind, key, offset, sentence);
    };
    if places.len() > 1 {
        tell(
            Kind::StoredTwice,
            places[1].1,
            format!("is stored {} times", places.len()),
        );
    }
    match (sent.outcome, places.first()) {
        (Outcome::Acked { partition, offset }, found) => {
            let is_there =
                |place: &&StoredAt<'_>| place.0 == partition && offset.is_none_or(|offset| place.1 == offset);
            if places.iter().find(is_there).is_none() {
                let found = found.map(|(partition, offset, _)| (partition, offset));
                let said = offset.unwrap_or(-1);
                tell(
                    Kind::NotStored,
                    said,
                    format!("was acknowledged at {partition}/{said}, it is at {found:?}"),
                );
            }
        }
        (Outcome::Failed, Some((partition, offset, _))) => {
            tell(
                Kind::FailedButStored,
                *offset,
                format!("failed, it is at {partition}/{offset}"),
            );
        }
        (Outcome::Failed, None) | (Outcome::Possible, _) => {}
    }
    if let Some((_, offset, stored)) = places.iter().find(|(_, _, stored)| *stored != key) {
        tell(
            Kind::WrongPayload,
            *offset,
            format!("is stored under the key {stored:?}"),
        );
    }
}
