//! Kafka's own programs on the other side: they read what we write, write what we read, and see the offsets we commit.
//!
//! Our client and the embedded cluster share one codec, so neither can tell a mistake that both make; these can.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use group_coordinator::GroupConfig;
use kafka_wire::protocol::batch::Header;
use kafka_wire::{
    Compression, Fetcher, FetcherConfig, IsolationLevel, OffsetReset, ProducerRecord, RecordCursor, StartOffset,
    TopicPartition,
};

use crate::cluster::{Cluster, Found, compressed, sender, unique, unix_ms, within};
use crate::driven::Driven;

/// Runs one of Kafka's programs to its end; what it printed.
async fn tool(class: &str, arguments: Vec<String>, input: String) -> String {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/kafka"));
    command
        .arg("tool")
        .arg(format!("org.apache.kafka.tools.{class}"))
        .args(arguments);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        running.wait_with_output().unwrap()
    });
    let output = within("the end of a program", ended).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{class} failed: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// `--name value` pairs; a value may be empty.
fn options<const N: usize>(pairs: [(&str, &str); N]) -> Vec<String> {
    let words = pairs
        .iter()
        .flat_map(|(name, value)| [format!("--{name}"), value.to_string()]);
    words.filter(|word| !word.is_empty()).collect()
}

/// Every record of a topic as Java's consumer prints it: by partition and offset, headers, key and value.
async fn read_by_java(cluster: &Cluster, topic: &str, records: usize) -> BTreeMap<(i32, i64), [String; 4]> {
    let mut arguments = options([
        ("bootstrap-server", &cluster.bootstrap().join(",")),
        ("topic", topic),
        ("from-beginning", ""),
        ("max-messages", &records.to_string()),
        ("timeout-ms", "30000"),
        ("property", "null.literal=NULL"),
    ]);
    for shown in ["timestamp", "partition", "offset", "headers", "key"] {
        arguments.extend(["--property".to_owned(), format!("print.{shown}=true")]);
    }
    let printed = tool("consumer.ConsoleConsumer", arguments, String::new()).await;
    let parsed = printed.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [timestamp, partition, offset, headers, key, value] = fields[..] else {
            panic!("six fields are expected in {line:?}");
        };
        let number = |field: &str, name: &str| field.strip_prefix(name).unwrap().parse::<i64>().unwrap();
        let at = (number(partition, "Partition:") as i32, number(offset, "Offset:"));
        let timestamp = number(timestamp, "CreateTime:").to_string();
        (at, [timestamp, headers.to_owned(), key.to_owned(), value.to_owned()])
    });
    parsed.collect()
}

async fn java_reads(cluster: Cluster, compression: Compression) {
    const RECORDS: usize = 1000;
    let topic = cluster.topic(2, &[]).await;
    let producer = cluster.producer(compressed(compression));
    let sender = sender(&producer, &topic).await;
    let start = unix_ms() - RECORDS as i64;
    for n in 0..RECORDS {
        let (key, value) = (format!("key {n}"), format!("value {n} {}", "x".repeat(n % 300)));
        let header = |value| Header { key: b"trace", value };
        let record = ProducerRecord {
            key: (n % 5 != 0).then_some(key.as_bytes()),
            value: (n % 7 != 0).then_some(value.as_bytes()),
            headers: &[header(Some(key.as_bytes())), header(None)][..n % 3],
            timestamp: Some(start + n as i64),
            partition: Some(n as i32 % 2),
        };
        drop(sender.send(record).unwrap());
    }
    within("every acknowledgement", producer.close()).await.unwrap();
    let found = read_by_java(&cluster, &topic, RECORDS).await;
    assert_eq!(found.len(), RECORDS);
    for n in 0..RECORDS {
        let (key, value) = (format!("key {n}"), format!("value {n} {}", "x".repeat(n % 300)));
        let or_null = |there: bool, text: &str| (if there { text } else { "NULL" }).to_owned();
        let headers = match n % 3 {
            0 => "NO_HEADERS".to_owned(),
            1 => format!("trace:{key}"),
            _ => format!("trace:{key},trace:NULL"),
        };
        let expected = [
            (start + n as i64).to_string(),
            headers,
            or_null(n % 5 != 0, &key),
            or_null(n % 7 != 0, &value),
        ];
        assert_eq!(found[&(n as i32 % 2, n as i64 / 2)], expected);
    }
}

pub(crate) async fn java_reads_what_we_wrote(cluster: Cluster) {
    java_reads(cluster, Compression::None).await;
}

pub(crate) async fn java_reads_what_we_wrote_in_lz4(cluster: Cluster) {
    java_reads(cluster, Compression::Lz4).await;
}

pub(crate) async fn java_reads_what_we_wrote_in_snappy(cluster: Cluster) {
    java_reads(cluster, Compression::Snappy).await;
}

/// Java writes a thousand records to a new topic of one partition.
async fn written_by_java(cluster: &Cluster, codec: &str) -> String {
    let topic = cluster.topic(1, &[]).await;
    let lines = (0..1000).map(|n| match n % 3 {
        0 => format!("NULL\tkey {n}\tvalue {n} {}\n", "x".repeat(n)),
        1 => format!("trace:{n},trace:NULL\tNULL\tvalue {n}\n"),
        _ => format!("trace:{n}\tkey {n}\tNULL\n"),
    });
    let mut arguments = options([
        ("bootstrap-server", &cluster.bootstrap().join(",")),
        ("topic", &topic),
        ("compression-codec", codec),
    ]);
    for property in ["parse.key=true", "parse.headers=true", "null.marker=NULL"] {
        arguments.extend(["--property".to_owned(), property.to_owned()]);
    }
    tool("ConsoleProducer", arguments, lines.collect()).await;
    topic
}

async fn we_read(cluster: Cluster, codec: &str) {
    let begun = unix_ms();
    let topic = written_by_java(&cluster, codec).await;
    let found = cluster.records(&topic, 0).await;
    assert_eq!(found.len(), 1000);
    let some = |text: String| Some(text.into_bytes());
    for (n, found) in found.into_iter().enumerate() {
        let header = |value| (b"trace".to_vec(), value);
        let (headers, key, value) = match n % 3 {
            0 => (
                vec![],
                some(format!("key {n}")),
                some(format!("value {n} {}", "x".repeat(n))),
            ),
            1 => (
                vec![header(some(n.to_string())), header(None)],
                None,
                some(format!("value {n}")),
            ),
            _ => (vec![header(some(n.to_string()))], some(format!("key {n}")), None),
        };
        assert!((begun - 1000..=unix_ms() + 1000).contains(&found.timestamp));
        let expected = Found {
            offset: n as i64,
            timestamp: found.timestamp,
            key,
            value,
            headers,
        };
        assert_eq!(found, expected);
    }
}

pub(crate) async fn we_read_what_java_wrote(cluster: Cluster) {
    we_read(cluster, "none").await;
}

pub(crate) async fn we_read_what_java_wrote_in_lz4(cluster: Cluster) {
    we_read(cluster, "lz4").await;
}

pub(crate) async fn we_read_what_java_wrote_in_snappy(cluster: Cluster) {
    we_read(cluster, "snappy").await;
}

pub(crate) async fn what_java_wrote_in_a_codec_we_lack_is_an_error_that_names_it(cluster: Cluster) {
    for codec in ["gzip", "zstd"] {
        let topic = written_by_java(&cluster, codec).await;
        let fetched = cluster.batches(&topic, 0).await.remove(0);
        let error = RecordCursor::new(fetched, IsolationLevel::ReadUncommitted)
            .next_record()
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(codec) && text.contains(&format!("{topic}-0")), "{text}");
    }
}

pub(crate) async fn readers_of_committed_records_do_not_see_aborted_ones(cluster: Cluster) {
    const RECORDS: usize = 3000;
    let (input, output) = (cluster.topic(1, &[]).await, cluster.topic(1, &[]).await);
    cluster.write(&input, 0, (0..RECORDS).map(|n| n.to_string())).await;
    // Copies in transactions of ten, aborts some of them at random and copies their records again.
    let mut arguments = options([
        ("broker-list", &cluster.bootstrap().join(",")),
        ("input-topic", &input),
        ("input-partition", "0"),
        ("output-topic", &output),
        ("consumer-group", &unique("copier")),
        ("transactional-id", &unique("copier")),
        ("transaction-size", "10"),
    ]);
    arguments.push("--enable-random-aborts".to_owned());
    tool("TransactionalMessageCopier", arguments, String::new()).await;

    let everything = cluster.records(&output, 0).await.len();
    assert!(everything > RECORDS, "no transaction was aborted");
    let config = FetcherConfig::default().with_isolation(IsolationLevel::ReadCommitted);
    let fetcher = Fetcher::new(cluster.client(), config).unwrap();
    let at = TopicPartition::new(output.as_str(), 0);
    let mut fetch = fetcher.fetch(at, StartOffset::Earliest, OffsetReset::Error);
    let mut found = Vec::new();
    loop {
        let batch = within("the end of the log", fetch.next()).await.unwrap().unwrap();
        let at_end = batch.at_end;
        let mut cursor = RecordCursor::new(batch, IsolationLevel::ReadCommitted);
        while let Some(record) = cursor.next_record().unwrap() {
            found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        }
        if at_end {
            break;
        }
    }
    assert_eq!(found, (0..RECORDS).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub(crate) async fn java_sees_the_offsets_we_commit_and_we_see_those_of_java(cluster: Cluster) {
    let (ours, theirs) = (unique("ours"), unique("theirs"));
    let topic = cluster.topic(1, &[]).await;
    cluster.write(&topic, 0, (0..100).map(|n| n.to_string())).await;
    let at = TopicPartition::new(topic.as_str(), 0);
    let member = Driven::join(cluster.client(), GroupConfig::new(ours.as_str(), [topic.as_str()]));
    member.owns(1).await;
    within("a commit", member.offsets.commit(vec![(at.clone(), 58)]))
        .await
        .unwrap();
    member.leave().await;
    let bootstrap = cluster.bootstrap().join(",");
    let describe = options([("bootstrap-server", &bootstrap), ("group", &ours), ("describe", "")]);
    let described = tool("consumer.group.ConsumerGroupCommand", describe, String::new()).await;
    let row = described
        .lines()
        .find(|line| line.contains(&topic))
        .expect("a row for the topic");
    let fields: Vec<&str> = row.split_whitespace().collect();
    // Group, topic, partition, current offset, log end offset, lag.
    assert_eq!(fields[..6], [&ours, &topic, "0", "58", "100", "42"]);

    let read = options([
        ("bootstrap-server", &bootstrap),
        ("topic", &topic),
        ("group", &theirs),
        ("from-beginning", ""),
        ("max-messages", "30"),
    ]);
    assert_eq!(
        tool("consumer.ConsoleConsumer", read, String::new())
            .await
            .lines()
            .count(),
        30
    );
    let member = Driven::join(cluster.client(), GroupConfig::new(theirs, [topic.as_str()]));
    member.owns(1).await;
    let committed = within("a look-up", member.offsets.committed(std::slice::from_ref(&at))).await;
    assert_eq!(committed.unwrap()[&at], Some(30));
    member.leave().await;
}
