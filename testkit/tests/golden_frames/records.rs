//! Record batches inside Produce and Fetch, ours and the Java client's, through our own batch codec.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{ApiKey, FetchRequest, InitProducerIdRequest, ProduceRequest};
use kafka_wire::protocol::ErrorCode;
use kafka_wire::protocol::batch::{Batch, Batches, ControlMarker};
use kafka_wire::protocol::compression::CodecId;

use super::{codec, exchanges};

/// A record, owned: offset, timestamp, key, value, headers.
type Owned = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

#[test]
fn what_we_produced_the_broker_took_and_gave_back() {
    let fetched = fetched("records are fetched");
    let back: Vec<Batch<'_>> = Batches::new(&fetched).collect::<Result<_, _>>().unwrap();
    for (number, (step, codec)) in [
        ("records are produced", CodecId::NONE),
        ("records are produced in snappy", CodecId::SNAPPY),
        ("records are produced in lz4", CodecId::LZ4),
    ]
    .into_iter()
    .enumerate()
    {
        let (version, exchange) = exchanges(ApiKey::Produce, step).remove(0);
        let (_, request) = codec::request::<ProduceRequest>(&exchange.request, version).unwrap();
        assert_eq!(request.acks, -1);
        let sent = request.topic_data[0].partition_data[0].records.clone().unwrap();
        assert_eq!(records(&sent), expected());
        let header = *only_batch(&sent).header();
        assert_eq!(header.attributes.codec(), codec);
        assert_eq!((header.producer_epoch, header.base_sequence), (0, 0), "idempotent");

        let (_, response) = codec::response::<ProduceRequest>(&exchange.response, version).unwrap();
        let answered = &response.responses[0].partition_responses[0];
        let offset = 3 * i64::try_from(number).unwrap();
        assert_eq!((answered.error_code, answered.base_offset), (0, offset));
        assert_eq!(back[number].header().base_offset, offset);
        assert_eq!(
            back[number].header().crc,
            header.crc,
            "no byte the checksum covers changed"
        );
        back[number].verify_crc().unwrap();
    }
}

#[test]
fn batches_of_the_java_client_hold_what_it_sent() {
    for (name, codec) in [
        ("none", CodecId::NONE),
        ("snappy", CodecId::SNAPPY),
        ("lz4", CodecId::LZ4),
    ] {
        let fetched = fetched(&format!("java-{name} is fetched"));
        assert_eq!(only_batch(&fetched).header().attributes.codec(), codec);
        assert_eq!(records(&fetched), expected(), "{name}");
    }
}

#[test]
fn batches_in_codecs_we_do_not_have_are_named_and_not_guessed_at() {
    for name in ["gzip", "zstd"] {
        let fetched = fetched(&format!("java-{name} is fetched"));
        let batch = only_batch(&fetched);
        batch.verify_crc().unwrap();
        let error = batch.records(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(batch.header().next_offset(), 3, "and still can be stepped over");
    }
}

#[test]
fn with_log_append_time_every_record_has_the_brokers_timestamp() {
    let fetched = fetched("java-append-time is fetched");
    let header = *only_batch(&fetched).header();
    assert!(header.attributes.is_log_append_time());
    let timestamps: Vec<i64> = records(&fetched)
        .into_iter()
        .map(|(_, timestamp, ..)| timestamp)
        .collect();
    assert_eq!(timestamps, [header.max_timestamp; 3]);
    assert!(header.max_timestamp > 1_700_000_000_000, "{}", header.max_timestamp);
}

#[test]
fn a_transaction_ends_with_a_control_batch_and_an_aborted_one_is_listed() {
    let fetched = fetched("java-transactions is fetched");
    let batches: Vec<Batch<'_>> = Batches::new(&fetched).collect::<Result<_, _>>().unwrap();
    let markers: Vec<Option<ControlMarker>> = batches.iter().map(Batch::control_marker).collect();
    use ControlMarker::{Abort, Commit};
    assert_eq!(
        markers,
        [None, None, Some(Commit), None, None, Some(Abort), None, Some(Commit)]
    );
    assert!(batches.iter().all(|batch| batch.header().attributes.is_transactional()));
    assert!(
        batches
            .iter()
            .zip(0..)
            .all(|(batch, offset)| batch.header().base_offset == offset)
    );

    let partitions = partitions("java-transactions is fetched");
    let aborted: Vec<_> = partitions
        .iter()
        .filter_map(|it| it.aborted_transactions.as_ref())
        .flatten()
        .collect();
    assert_eq!(aborted.len(), 1);
    assert_eq!(
        (aborted[0].first_offset, aborted[0].producer_id.0),
        (3, batches[3].header().producer_id)
    );
    let ends = partitions.iter().map(|it| (it.high_watermark, it.last_stable_offset));
    assert!(
        ends.clone().all(|ends| ends == (8, 8)),
        "{:?}",
        ends.collect::<Vec<_>>()
    );
}

#[test]
fn a_fetch_says_where_the_log_begins_and_ends() {
    let partition = partitions("records are fetched").remove(0);
    assert_eq!((partition.error_code, partition.partition_index), (0, 0));
    assert_eq!(
        (
            partition.log_start_offset,
            partition.last_stable_offset,
            partition.high_watermark
        ),
        (0, 9, 9)
    );
}

#[test]
fn a_fetch_beyond_the_end_is_out_of_range_and_tells_no_offsets() {
    let partition = partitions("records beyond the end are fetched").remove(0);
    assert_eq!(ErrorCode(partition.error_code), ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!((partition.log_start_offset, partition.high_watermark), (-1, -1));
}

#[test]
fn a_producer_is_given_an_id_and_epoch_0() {
    let (version, exchange) = &exchanges(ApiKey::InitProducerId, "records are produced")[0];
    let (_, request) = codec::request::<InitProducerIdRequest>(&exchange.request, *version).unwrap();
    assert!(request.transactional_id.is_none());
    let (_, response) = codec::response::<InitProducerIdRequest>(&exchange.response, *version).unwrap();
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    assert!(response.producer_id.0 >= 0);
}

/// What both the Java client and ours wrote.
fn expected() -> Vec<Owned> {
    let headers = vec![
        (b"h".to_vec(), Some(b"1".to_vec())),
        (b"h".to_vec(), Some(b"2".to_vec())),
        (b"empty".to_vec(), None),
    ];
    vec![
        (0, 1000, Some(b"k1".to_vec()), Some(b"one ".repeat(50)), headers),
        (1, 1001, None, Some(b"two ".repeat(50)), Vec::new()),
        (2, 1002, Some(b"k3".to_vec()), None, Vec::new()),
    ]
}

fn records(bytes: &[u8]) -> Vec<Owned> {
    let batch = only_batch(bytes);
    batch.verify_crc().unwrap();
    let mut scratch = Vec::new();
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = batch.records(&mut scratch).unwrap().map(|record| {
        let record = record.unwrap();
        let headers = record.headers.iter().map(|header| header.unwrap());
        let headers = headers.map(|header| (header.key.to_vec(), own(header.value))).collect();
        (
            record.offset,
            record.timestamp,
            own(record.key),
            own(record.value),
            headers,
        )
    });
    records.collect()
}

fn only_batch(bytes: &[u8]) -> Batch<'_> {
    let mut batches = Batches::new(bytes);
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none() && !batches.is_truncated());
    batch
}

/// The records of every response of a step. Kafka may end a response before the end of the log.
fn fetched(step: &str) -> Bytes {
    let responses = partitions(step).into_iter().filter_map(|partition| partition.records);
    responses.collect::<Vec<_>>().concat().into()
}

/// The only partition of every response of a step.
fn partitions(step: &str) -> Vec<PartitionData> {
    let responses = exchanges(ApiKey::Fetch, step).into_iter().map(|(version, exchange)| {
        let (_, mut response) = codec::response::<FetchRequest>(&exchange.response, version).unwrap();
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    });
    responses.collect()
}
