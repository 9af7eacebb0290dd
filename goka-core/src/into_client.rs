//! The two ways to say which Kafka: a client that is shared, or the settings of one.

use kafka_wire::{Client, ClientConfig, ConfigError};

/// A way to reach Kafka: a [`Client`], shared with whoever else holds a clone of it, or a [`ClientConfig`], of which a new client
/// is made.
pub trait IntoClient {
    /// The client. No broker is asked for anything yet.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn into_client(self) -> Result<Client, ConfigError>;
}

impl IntoClient for Client {
    fn into_client(self) -> Result<Client, ConfigError> {
        Ok(self)
    }
}

impl IntoClient for &Client {
    fn into_client(self) -> Result<Client, ConfigError> {
        Ok(self.clone())
    }
}

impl IntoClient for ClientConfig {
    fn into_client(self) -> Result<Client, ConfigError> {
        Client::new(self)
    }
}
