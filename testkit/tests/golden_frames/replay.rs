//! The client against Kafka's recorded answers.

use std::sync::Arc;
use std::time::Duration;

use testkit::golden::{Replay, Session};

use super::files;

/// Of virtual time; far more than the session takes.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn our_client_asks_in_the_recorded_bytes_and_finds_what_kafka_said() {
    let replay = Replay::new(files().into_iter().flat_map(|file| file.exchanges));
    let bootstrap = ["golden:9092".to_owned()];
    let session = Session::new(&bootstrap, Arc::new(replay.clone()), |_| ()).unwrap();
    let whole = async {
        session.run().await?;
        session.read_java_topics().await
    };
    let ended = tokio::time::timeout(LONG, whole).await;
    assert_eq!(
        replay.unexpected(),
        Vec::<bytes::Bytes>::new(),
        "requests that were not recorded"
    );
    ended.expect("the session ends").unwrap();
    assert_eq!(replay.unasked(), [], "recorded requests that are no longer made");
}
