//! Finding the coordinator of a group or of a transactional id (FindCoordinator, KIP-699).
//!
//! A cluster that has just started creates its internal topics at the first question and answers COORDINATOR_NOT_AVAILABLE
//! meanwhile; so the question is repeated with growing pauses until the request timeout has passed.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "driver: owns sockets and time"
)]

use std::sync::Arc;

use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::{ApiKey, FindCoordinatorRequest};
use kafka_protocol::protocol::StrBytes;
use tracing::debug;

use super::driver::{Core, now};
use crate::cluster::CoordinatorKind;
use crate::connection::{Backoff, BrokerAddress, CallError, Jitter};
use crate::protocol::{ErrorCode, Recovery};

const FIND_COORDINATOR: i16 = ApiKey::FindCoordinator as i16;

impl Core {
    /// The node that coordinates `key`, remembered or looked up.
    pub(super) async fn coordinator(core: &Arc<Self>, kind: CoordinatorKind, key: &str) -> Result<i32, CallError> {
        if let Some(node) = core.coordinator_known(kind, key) {
            return Ok(node);
        }
        let deadline = core.deadline();
        let metadata = &core.config.metadata;
        let mut backoff = Backoff::new(metadata.refresh_backoff, metadata.refresh_backoff_max);
        let mut jitter = Jitter::seeded(core.draw(usize::MAX) as u64);
        loop {
            let found = Self::find(core, kind, key).await?;
            let code = ErrorCode(found.error_code);
            if code.is_ok() {
                return core.take_over(kind, key, &found);
            }
            let refused = CallError::refused(FIND_COORDINATOR, code, found.error_message.as_deref());
            let repeat = matches!(
                code.recovery(),
                Recovery::Retry | Recovery::FindCoordinator | Recovery::RefreshMetadata
            );
            backoff.handle_failure(now(), &mut jitter);
            let pause = backoff.pause(now());
            if !repeat || now() + pause >= deadline {
                return Err(refused);
            }
            debug!(key, %code, "no coordinator yet");
            core.unless_closed(async {
                tokio::time::sleep(pause).await;
                Ok(())
            })
            .await?;
        }
    }

    /// One question. Up to v3 the answer is the response itself, from v4 on an entry of a list.
    async fn find(core: &Arc<Self>, kind: CoordinatorKind, key: &str) -> Result<Coordinator, CallError> {
        let name = StrBytes::from_string(key.to_owned());
        let request = |version| {
            let request = FindCoordinatorRequest::default().with_key_type(kind as i8);
            if version >= 4 {
                request.with_coordinator_keys(vec![name.clone()])
            } else {
                request.with_key(name.clone())
            }
        };
        let FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            coordinators,
            ..
        } = Self::call_any(core, request, None).await?;
        let single = || {
            let found = Coordinator::default()
                .with_error_code(error_code)
                .with_error_message(error_message);
            found.with_node_id(node_id).with_host(host).with_port(port)
        };
        Ok(coordinators
            .into_iter()
            .find(|found| found.key == name)
            .unwrap_or_else(single))
    }

    fn take_over(&self, kind: CoordinatorKind, key: &str, found: &Coordinator) -> Result<i32, CallError> {
        let node = found.node_id.0;
        let port = u16::try_from(found.port).ok().filter(|&port| port != 0);
        let (Some(port), true) = (port, node >= 0 && !found.host.is_empty()) else {
            let text = format!(
                "names no usable address for `{key}`: node {node} at {}:{}",
                &*found.host, found.port
            );
            return Err(CallError::new(crate::connection::CallErrorKind::Protocol, text).with_api(FIND_COORDINATOR));
        };
        self.update_image(|image| {
            image.after_broker(BrokerAddress {
                id: node,
                host: found.host.to_string(),
                port,
            })
        });
        self.coordinator_found(kind, key, node);
        Ok(node)
    }
}
