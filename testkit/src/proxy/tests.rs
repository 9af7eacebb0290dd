//! The proxy in front of a server that sends back what it gets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{FaultProxy, Faults, Proxies, Way};

/// A server that echoes; it ends with the test's runtime.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn proxy(faults: Faults) -> FaultProxy {
    let proxy = FaultProxy::start(&echo().await.to_string(), 1).await.unwrap();
    proxy.set(faults);
    proxy
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends `bytes` and gives how many of them come back before the connection ends or nothing comes for `patience`.
async fn returned(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> Vec<u8> {
    let (mut from, mut to) = stream.split();
    let mut back = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while back.len() < bytes.len() {
            match tokio::time::timeout(patience, from.read(&mut buffer)).await {
                Ok(Ok(read @ 1..)) => back.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
    };
    let _ = tokio::join!(to.write_all(bytes), reading);
    back
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn without_faults_bytes_pass_unchanged_and_are_counted() {
    let proxy = proxy(Faults::default()).await;
    let bytes = pattern(300_000);
    let mut stream = connect(&proxy).await;
    assert_eq!(returned(&mut stream, &bytes, 10 * SECOND).await, bytes);
    let stats = proxy.stats();
    assert_eq!((stats.to_broker, stats.to_client), (300_000, 300_000));
    assert_eq!((stats.accepted, stats.open, stats.cut), (1, 1, 0));
}

#[tokio::test]
async fn a_delay_makes_bytes_late_and_not_few() {
    let way = Way {
        delay: Duration::from_millis(150),
        ..Way::default()
    };
    let proxy = proxy(Faults::both(way)).await;
    let bytes = pattern(1_000_000);
    let mut stream = connect(&proxy).await;
    let started = Instant::now();
    assert_eq!(returned(&mut stream, &bytes, 10 * SECOND).await, bytes);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // One delay each way, not one per chunk, of which there are sixty at least.
    assert!(took < 5 * SECOND, "{took:?}");
}

#[tokio::test]
async fn a_rate_bounds_the_bytes_of_a_second() {
    let mut faults = Faults::default();
    faults.to_client.rate = 20_000;
    let proxy = proxy(faults).await;
    let mut stream = connect(&proxy).await;
    let started = Instant::now();
    assert_eq!(returned(&mut stream, &pattern(10_000), 10 * SECOND).await.len(), 10_000);
    assert!(
        started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_cut_after_some_bytes_lets_exactly_these_pass() {
    let mut faults = Faults::default();
    faults.to_broker.cut_after = Some(1234);
    let proxy = proxy(faults).await;
    let mut stream = connect(&proxy).await;
    let bytes = pattern(5000);
    let back = returned(&mut stream, &bytes, SECOND).await;
    // What the server sent back may be lost with the connection; what it got is exact.
    assert!(bytes.starts_with(&back) && back.len() <= 1234, "{}", back.len());
    let stats = proxy.stats();
    assert_eq!((stats.to_broker, stats.cut, stats.open), (1234, 1, 0));
}

#[tokio::test]
async fn a_half_open_connection_takes_everything_and_says_nothing() {
    let proxy = proxy(Faults {
        half_open: true,
        ..Faults::default()
    })
    .await;
    let mut stream = connect(&proxy).await;
    let back = returned(&mut stream, &pattern(5000), Duration::from_millis(200)).await;
    assert_eq!(back.len(), 0);
    let stats = proxy.stats();
    assert_eq!((stats.to_broker, stats.open), (0, 1));
}

#[tokio::test]
async fn what_is_stalled_arrives_once_it_is_not() {
    let mut faults = Faults::default();
    faults.to_client.stalled = true;
    let proxy = proxy(faults).await;
    let mut stream = connect(&proxy).await;
    let bytes = pattern(2000);
    let back = returned(&mut stream, &bytes, Duration::from_millis(200)).await;
    assert_eq!(back.len(), 0);
    proxy.set(Faults::default());
    let mut back = vec![0; 2000];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, bytes);
}

#[tokio::test]
async fn lost_answers_are_lost_although_their_requests_arrive() {
    let proxy = proxy(Faults::lost_answers()).await;
    let mut stream = connect(&proxy).await;
    let back = returned(&mut stream, &pattern(700), Duration::from_millis(200)).await;
    assert_eq!(back.len(), 0);
    assert_eq!((proxy.stats().to_broker, proxy.stats().to_client), (700, 0));
    // The connection is still there; later bytes pass.
    proxy.set(Faults::default());
    assert_eq!(returned(&mut stream, b"again", SECOND).await, b"again");
}

#[tokio::test]
async fn dripping_sends_every_byte_by_itself() {
    let mut faults = Faults::default();
    faults.to_client.drip = Some(Duration::from_millis(5));
    let proxy = proxy(faults).await;
    let mut stream = connect(&proxy).await;
    stream.write_all(&pattern(40)).await.unwrap();
    let (mut reads, mut read, mut buffer) = (0, 0, [0; 64]);
    while read < 40 {
        read += stream.read(&mut buffer).await.unwrap();
        reads += 1;
    }
    assert!(reads >= 20, "40 bytes in {reads} reads");
}

#[tokio::test]
async fn a_connection_lives_for_the_time_it_was_given() {
    let proxy = proxy(Faults {
        lifetime: Some(Duration::from_millis(100)..Duration::from_millis(300)),
        ..Faults::default()
    })
    .await;
    let mut lives = Vec::new();
    for _ in 0..6 {
        let (mut stream, started) = (connect(&proxy).await, Instant::now());
        let _ = stream.read(&mut [0]).await;
        lives.push(started.elapsed().as_millis());
    }
    assert!(lives.iter().all(|life| (95..2000).contains(life)), "{lives:?}");
    lives.sort_unstable();
    assert!(lives[5] - lives[0] > 10, "all lives are of one length: {lives:?}");
    assert_eq!(proxy.stats().cut, 6);
}

#[tokio::test]
async fn cutting_ends_what_is_open_and_nothing_later() {
    let proxy = proxy(Faults::default()).await;
    let mut before = connect(&proxy).await;
    assert_eq!(returned(&mut before, b"there", SECOND).await, b"there");
    proxy.cut();
    assert!(matches!(before.read(&mut [0]).await, Ok(0) | Err(_)));
    let mut after = connect(&proxy).await;
    assert_eq!(returned(&mut after, b"again", SECOND).await, b"again");
}

#[test]
fn equal_seeds_draw_equal_lifetimes() {
    let draw = |seed| {
        let mut random = super::Random::new(seed);
        let range = Duration::from_millis(500)..Duration::from_millis(1500);
        let drawn: Vec<_> = (0..100).map(|_| random.between(range.clone())).collect();
        assert!(drawn.iter().all(|time| range.contains(time)));
        drawn
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[tokio::test]
async fn clients_reach_a_broker_through_its_proxy() {
    let broker = echo().await.to_string();
    let proxies = Proxies::start(std::slice::from_ref(&broker), 3).await.unwrap();
    let (host, port) = broker.split_once(':').unwrap();
    let routes = proxies.routes();
    let told = Proxies::via(routes.iter().map(String::as_str)).unwrap();
    for connector in [proxies.connector(), told] {
        let mut stream = connector.connect(host, port.parse().unwrap()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
    }
    assert_eq!(proxies.stats().accepted, 2);
    assert!(Proxies::via(["nonsense"]).is_err());
}
