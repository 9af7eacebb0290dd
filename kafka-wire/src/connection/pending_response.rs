//! What a sender holds until its answer is there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::error::{CallError, CallErrorKind};
use super::{BrokerAddress, guard};

/// The answer to come. Dropping it drops the interest in the answer; the request is sent and answered all the same.
#[derive(Debug)]
pub struct PendingResponse {
    state: Response,
}

#[derive(Debug)]
enum Response {
    Waiting {
        answer: oneshot::Receiver<Result<Bytes, CallError>>,
        api_key: i16,
        version: i16,
        broker: Arc<BrokerAddress>,
    },
    Failed(Option<CallError>),
}

impl PendingResponse {
    pub(super) fn waiting(
        answer: oneshot::Receiver<Result<Bytes, CallError>>,
        (api_key, version): (i16, i16),
        broker: Arc<BrokerAddress>,
    ) -> Self {
        Self {
            state: Response::Waiting {
                answer,
                api_key,
                version,
                broker,
            },
        }
    }

    pub(super) fn failed(error: CallError) -> Self {
        Self {
            state: Response::Failed(Some(error)),
        }
    }
}

impl Future for PendingResponse {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || CallError::new(CallErrorKind::Disconnected { written: true }, "the connection is gone");
        match &mut self.state {
            Response::Waiting {
                answer,
                api_key,
                version,
                broker,
            } => {
                let body = ready!(Pin::new(answer).poll(cx)).unwrap_or_else(|_| Err(gone()))?;
                // Here, so that nobody can read an answer that was not checked.
                guard::check(*api_key, *version, &body).map_err(|error| error.with_broker(broker))?;
                Poll::Ready(Ok(body))
            }
            Response::Failed(error) => Poll::Ready(Err(error.take().unwrap_or_else(gone))),
        }
    }
}
