//! Logs that change under the reader: compacted, truncated, deleted and created again.

use std::sync::Arc;

use kafka_wire::admin::NewTopic;
use kafka_wire::{FetchErrorKind, PartitionFetch, StartOffset};
use testkit::broker::{LostTail, Tombstones};

use crate::cluster::{Cluster, Found, records_of, within};
use crate::fetch_faults::{append, read, read_numbers, small_fetcher};

/// Reads everything there is.
async fn read_to_end(fetch: &mut PartitionFetch) -> Vec<Found> {
    let mut found = Vec::new();
    loop {
        let batch = within("the end of the log", fetch.next()).await.unwrap().unwrap();
        let at_end = batch.at_end;
        found.extend(records_of(batch));
        if at_end {
            return found;
        }
    }
}

pub(crate) async fn records_lost_after_they_were_read_are_reported(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    append(cluster.broker(), &topic, 0, 0, 100);
    let fetcher = small_fetcher(&cluster);
    let mut quick = read(&fetcher, &topic, 0, StartOffset::Earliest);
    assert_eq!(read_to_end(&mut quick).await.len(), 100);
    let leader = cluster.broker().leader(&topic, 0).unwrap().node;
    cluster
        .broker()
        .faults()
        .crash_and_restart(leader, LostTail::Batches(3));
    // Another 30 records take the offsets of those that were lost.
    let broker = cluster.broker();
    assert_eq!(broker.offsets(&topic, 0).unwrap().log_end, 70);
    append(broker, &topic, 0, 70, 60);
    let error = within("the news", async {
        loop {
            match quick.next().await.unwrap() {
                Ok(batch) => assert!(batch.records.is_empty(), "records after the lost ones"),
                Err(error) => return error,
            }
        }
    });
    let error = error.await;
    let FetchErrorKind::Truncated { end_offset, .. } = error.kind else {
        panic!("{error}");
    };
    assert_eq!((end_offset, error.offset), (70, 100));
    assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
    // Whoever had not read that far has nothing to be told.
    read_numbers(
        read(&fetcher, &topic, 0, StartOffset::Earliest),
        Arc::new(130.into()),
        "a truncation".into(),
    )
    .await;
}

pub(crate) async fn a_topic_of_the_same_name_is_not_taken_for_the_one_that_was_deleted(cluster: Cluster) {
    let topic = cluster.topic(1, &[]).await;
    append(cluster.broker(), &topic, 0, 0, 20);
    let old = cluster.broker().topic_id(&topic).unwrap();
    let fetcher = small_fetcher(&cluster);
    let mut fetch = read(&fetcher, &topic, 0, StartOffset::Earliest);
    assert_eq!(read_to_end(&mut fetch).await.len(), 20);
    assert_eq!(fetch.topic_id(), old);
    assert!(cluster.broker().delete_topic(&topic));
    let admin = cluster.client().admin();
    let created = within("an answer", admin.create_topics(&[NewTopic::new(&topic, 1)])).await;
    assert!(created.unwrap()[0].1.is_ok());
    append(cluster.broker(), &topic, 0, 0, 50);
    let error = within("the news", fetch.next()).await.unwrap().unwrap_err();
    let FetchErrorKind::TopicRecreated { expected, found } = error.kind else {
        panic!("{error}");
    };
    assert_eq!((expected, Some(found)), (old, cluster.broker().topic_id(&topic)));
}

pub(crate) async fn a_compacted_log_is_read_over_its_gaps(cluster: Cluster) {
    let topic = cluster.topic(1, &[("cleanup.policy", "compact")]).await;
    let broker = cluster.broker();
    // Of 300 records with 10 keys, the last one of each key stays; one key ends with a tombstone.
    for n in 0..300 {
        let (key, value) = ((n % 10).to_string(), n.to_string());
        let value = (n != 293).then_some(value.as_bytes());
        broker.append(&topic, 0, &[(Some(key.as_bytes()), value)]).unwrap();
    }
    let gone = broker.compact(&topic, 0, Tombstones::Drop).unwrap();
    assert!(gone >= 290 - 10, "{gone} records went");
    let stored: Vec<i64> = broker
        .records(&topic, 0)
        .unwrap()
        .iter()
        .map(|record| record.offset)
        .collect();
    assert!(!stored.contains(&293) && stored.len() < 20);
    let fetcher = small_fetcher(&cluster);
    // From before, in and after the gaps.
    for start in [0, 1, 150, 289, 292, 293, 294, 299] {
        let mut fetch = read(&fetcher, &topic, 0, StartOffset::Offset(start));
        let found = read_to_end(&mut fetch).await;
        let offsets: Vec<i64> = found.iter().map(|found| found.offset).collect();
        let expected: Vec<i64> = stored.iter().copied().filter(|offset| *offset >= start).collect();
        assert_eq!(offsets, expected, "from {start}");
        assert!(found.iter().all(|found| found.text() == found.offset.to_string()));
        // And on, past the last gap.
        let end = broker.append(&topic, 0, &[(Some(b"new"), Some(b"new"))]).unwrap();
        let next = within("a record", fetch.next()).await.unwrap().unwrap();
        assert_eq!(records_of(next).last().map(|found| found.offset), Some(end));
        // Which leaves a gap at the end, too.
        broker.append(&topic, 0, &[(Some(b"new"), None)]).unwrap();
        broker.compact(&topic, 0, Tombstones::Drop).unwrap();
    }
}
