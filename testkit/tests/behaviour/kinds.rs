//! How the suites make their tests: each is an `async fn(Cluster)`, listed once, and becomes a test per kind of cluster:
//! `embedded::admin::..` and `kafka::admin::..`. A function that is left out of the list is dead code, which the compiler tells.

/// Both kinds.
macro_rules! on_each_cluster {
    ($($files:tt)+) => {
        make_tests! { embedded, embedded, $($files)+ }
        #[cfg(feature = "real-kafka")]
        make_tests! { kafka, kafka, $($files)+ }
    };
}

/// For tests of brokers that fail on command.
macro_rules! on_the_embedded_cluster {
    ($($files:tt)+) => {
        make_tests! { embedded_only, embedded, $($files)+ }
    };
}

/// For tests that need Kafka's own programs.
#[cfg(feature = "real-kafka")]
macro_rules! on_apache_kafka {
    ($($files:tt)+) => {
        make_tests! { kafka_only, kafka, $($files)+ }
    };
}

/// A module of tests, each on a cluster of its own that `Cluster::$cluster` makes.
macro_rules! make_tests {
    ($module:ident, $cluster:ident, $($file:ident: { $($test:ident,)+ })+) => {
        mod $module {
            $(mod $file {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$file::$test(crate::cluster::Cluster::$cluster().await).await;
                })+
            })+
        }
    };
}
