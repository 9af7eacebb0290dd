//! How the suites make their tests: each is an `async fn(Cluster)`, listed once, and becomes a test per kind of cluster.

/// Makes a test of each function, per kind of cluster: `embedded::admin::..` and `kafka::admin::..`. A function that is left
/// out of the list is dead code, which the compiler tells.
macro_rules! on_each_cluster {
    ($($file:ident: { $($test:ident,)+ })+) => {
        mod embedded {
            $(mod $file {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$file::$test(crate::cluster::Cluster::embedded().await).await;
                })+
            })+
        }

        #[cfg(feature = "real-kafka")]
        mod kafka {
            $(mod $file {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$file::$test(crate::cluster::Cluster::kafka().await).await;
                })+
            })+
        }
    };
}

/// The same for tests of brokers that fail on command.
macro_rules! on_the_embedded_cluster {
    ($($file:ident: { $($test:ident,)+ })+) => {
        mod embedded_only {
            $(mod $file {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$file::$test(crate::cluster::Cluster::embedded().await).await;
                })+
            })+
        }
    };
}

/// The same for tests that need Kafka's own programs.
#[cfg(feature = "real-kafka")]
macro_rules! on_apache_kafka {
    ($($file:ident: { $($test:ident,)+ })+) => {
        mod kafka_only {
            $(mod $file {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$file::$test(crate::cluster::Cluster::kafka().await).await;
                })+
            })+
        }
    };
}
