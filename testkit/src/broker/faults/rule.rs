//! One fault and whom it meets.

use std::time::Duration;

use kafka_wire::ErrorCode;

use crate::broker::api::Api;

/// A rule: the next requests of an API that fit it go wrong in one way.
///
/// ```
/// use kafka_wire::ErrorCode;
/// use testkit::broker::{Api, Fault};
///
/// // The next two Produce requests to node 1 are refused.
/// let fault = Fault::new(Api::Produce).node(1).times(2).error(ErrorCode::NOT_LEADER_OR_FOLLOWER);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(super) api: Api,
    pub(super) node: Option<i32>,
    pub(super) partition: Option<(String, i32)>,
    pub(super) times: u32,
    pub(super) action: Action,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Error(ErrorCode),
    ErrorAfter(ErrorCode),
    DelayRequest(Duration),
    DelayAnswer(Duration),
    Stall,
    Swallow,
    Cut,
    CutAnswer { after_bytes: usize },
}

impl Fault {
    /// A rule for the next request of this API, to any node. Without a further word the connection is cut.
    pub fn new(api: Api) -> Self {
        Self {
            api,
            node: None,
            partition: None,
            times: 1,
            action: Action::Cut,
        }
    }

    /// Only requests to this node.
    #[must_use]
    pub fn node(mut self, node: i32) -> Self {
        self.node = Some(node);
        self
    }

    /// Only this partition of a request; for [`Fault::error`] on Produce, Fetch, ListOffsets, OffsetForLeaderEpoch and
    /// DeleteRecords.
    #[must_use]
    pub fn partition(mut self, topic: &str, partition: i32) -> Self {
        self.partition = Some((topic.to_owned(), partition));
        self
    }

    /// This many requests instead of one. 0 counts as one.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times.max(1);
        self
    }

    /// The request is not carried out and answered with this error: at its top level if the API has one there, else for
    /// each of its topics and partitions.
    #[must_use]
    pub fn error(self, code: ErrorCode) -> Self {
        self.action(Action::Error(code))
    }

    /// The request is carried out and answered with this error nevertheless, as REQUEST_TIMED_OUT and
    /// NOT_ENOUGH_REPLICAS_AFTER_APPEND are. Only Produce knows such errors.
    #[must_use]
    pub fn error_after(self, code: ErrorCode) -> Self {
        self.action(Action::ErrorAfter(code))
    }

    /// The request is carried out this much later, as if it had been long on its way.
    #[must_use]
    pub fn delay_request(self, delay: Duration) -> Self {
        self.action(Action::DelayRequest(delay))
    }

    /// The request is carried out at once and answered this much later.
    #[must_use]
    pub fn delay_answer(self, delay: Duration) -> Self {
        self.action(Action::DelayAnswer(delay))
    }

    /// The request is neither carried out nor answered; the connection stays open.
    #[must_use]
    pub fn stall(self) -> Self {
        self.action(Action::Stall)
    }

    /// The request is carried out and never answered; the connection stays open.
    #[must_use]
    pub fn swallow_answer(self) -> Self {
        self.action(Action::Swallow)
    }

    /// The connection is closed; the request is not carried out.
    #[must_use]
    pub fn cut(self) -> Self {
        self.action(Action::Cut)
    }

    /// The request is carried out, then the connection is closed without an answer.
    #[must_use]
    pub fn cut_before_answer(self) -> Self {
        self.cut_answer_after(0)
    }

    /// The request is carried out, this many bytes of the answer are sent, then the connection is closed.
    #[must_use]
    pub fn cut_answer_after(self, bytes: usize) -> Self {
        self.action(Action::CutAnswer { after_bytes: bytes })
    }

    pub(super) fn fits(&self, node: i32) -> bool {
        self.node.is_none_or(|wanted| wanted == node)
    }

    fn action(mut self, action: Action) -> Self {
        self.action = action;
        self
    }
}
