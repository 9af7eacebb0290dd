//! What a group error code means to the member that gets it: the one table of this crate.
//!
//! Kafka's `AbstractCoordinator` and `ConsumerCoordinator` hold the same table spread over their response handlers. Codes it
//! does not name fall back to [`ErrorCode::recovery`].

use kafka_wire::{ErrorCode, Recovery};

/// The request that was answered with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    FindCoordinator,
    JoinGroup,
    SyncGroup,
    Heartbeat,
    LeaveGroup,
    OffsetCommit,
    OffsetFetch,
}

impl Api {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FindCoordinator => "FindCoordinator",
            Self::JoinGroup => "JoinGroup",
            Self::SyncGroup => "SyncGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
        }
    }
}

/// What to do about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: it worked.
    Done,
    /// The same again, later.
    Retry,
    /// Forget the coordinator, find the present one, the same again.
    FindCoordinator,
    /// Join again with the member id in the response (KIP-394).
    AdoptMemberId,
    /// The group does not know us: whatever we owned is lost, join again without a member id.
    NewMember,
    /// The group went on without us: whatever we owned is lost, join again as the same member.
    NewGeneration,
    /// The group is rebalancing: give up what we own (eager), join again.
    Rebalance,
    /// The offset belongs to an open transaction (KIP-447).
    AwaitTransaction,
    /// Metadata may be behind: the same again for a short while.
    RetryBriefly,
    /// This partition's offset is refused; nothing else is.
    Refuse,
    /// Another process took our `group.instance.id`.
    Fenced,
    /// Over for good.
    Fatal,
}

pub(crate) fn verdict(api: Api, code: ErrorCode) -> Verdict {
    use Api::*;
    let offsets = matches!(api, OffsetCommit | OffsetFetch);
    match code {
        ErrorCode::NONE => Verdict::Done,
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Verdict::Retry,
        ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => Verdict::FindCoordinator,
        ErrorCode::REQUEST_TIMED_OUT if offsets => Verdict::FindCoordinator,
        ErrorCode::MEMBER_ID_REQUIRED if api == JoinGroup => Verdict::AdoptMemberId,
        ErrorCode::UNKNOWN_MEMBER_ID => Verdict::NewMember,
        ErrorCode::ILLEGAL_GENERATION | ErrorCode::STALE_MEMBER_EPOCH => Verdict::NewGeneration,
        ErrorCode::REBALANCE_IN_PROGRESS => Verdict::Rebalance,
        ErrorCode::FENCED_INSTANCE_ID => Verdict::Fenced,
        ErrorCode::GROUP_AUTHORIZATION_FAILED | ErrorCode::INVALID_GROUP_ID | ErrorCode::UNSUPPORTED_VERSION => {
            Verdict::Fatal
        }
        ErrorCode::UNSTABLE_OFFSET_COMMIT if api == OffsetFetch => Verdict::AwaitTransaction,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID if offsets => Verdict::RetryBriefly,
        ErrorCode::OFFSET_METADATA_TOO_LARGE
        | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            if offsets =>
        {
            Verdict::Refuse
        }
        other => by_recovery(api, other),
    }
}

fn by_recovery(api: Api, code: ErrorCode) -> Verdict {
    match code.recovery() {
        Recovery::None => Verdict::Done,
        Recovery::Retry | Recovery::RefreshMetadata => Verdict::Retry,
        Recovery::FindCoordinator => Verdict::FindCoordinator,
        Recovery::Rejoin => Verdict::NewGeneration,
        _ if matches!(api, Api::OffsetCommit | Api::OffsetFetch) => Verdict::Refuse,
        _ => Verdict::Fatal,
    }
}

/// What an operator can do about a code that ends a membership.
pub(crate) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL => {
            "another member of the group uses a different assignor or protocol type; is the group id used twice?"
        }
        ErrorCode::INVALID_SESSION_TIMEOUT => {
            "session_timeout is outside the broker's group.min/max.session.timeout.ms"
        }
        ErrorCode::INVALID_GROUP_ID => "the group id is not acceptable to the broker",
        ErrorCode::GROUP_MAX_SIZE_REACHED => "the group is full (group.max.size on the broker)",
        ErrorCode::GROUP_AUTHORIZATION_FAILED => "grant READ on the group to this client",
        ErrorCode::UNSUPPORTED_VERSION => "the broker is too old for this configuration (instance_id needs 2.3)",
        _ => "trying again does not help",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::verdict::Api::*;

    #[test]
    fn every_row_of_the_table_has_its_verdict() {
        type Row = (ErrorCode, [Verdict; 4]);
        use Verdict::*;
        let rows: [Row; 12] = [
            // code, JoinGroup, SyncGroup, Heartbeat, OffsetCommit
            (ErrorCode::NONE, [Done; 4]),
            (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, [Retry; 4]),
            (ErrorCode::COORDINATOR_NOT_AVAILABLE, [Verdict::FindCoordinator; 4]),
            (ErrorCode::NOT_COORDINATOR, [Verdict::FindCoordinator; 4]),
            (ErrorCode::UNKNOWN_MEMBER_ID, [NewMember; 4]),
            (ErrorCode::ILLEGAL_GENERATION, [NewGeneration; 4]),
            (ErrorCode::REBALANCE_IN_PROGRESS, [Rebalance; 4]),
            (ErrorCode::FENCED_INSTANCE_ID, [Fenced; 4]),
            (ErrorCode::GROUP_AUTHORIZATION_FAILED, [Fatal; 4]),
            (ErrorCode::UNSUPPORTED_VERSION, [Fatal; 4]),
            (ErrorCode::INVALID_GROUP_ID, [Fatal; 4]),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, [Fatal, Fatal, Fatal, Refuse]),
        ];
        for (code, expected) in rows {
            let found = [JoinGroup, SyncGroup, Heartbeat, OffsetCommit].map(|api| verdict(api, code));
            assert_eq!(found, expected, "{code}");
        }
    }

    #[test]
    fn codes_of_one_api_alone_have_their_verdict() {
        let rows = [
            (JoinGroup, ErrorCode::MEMBER_ID_REQUIRED, Verdict::AdoptMemberId),
            (JoinGroup, ErrorCode::INCONSISTENT_GROUP_PROTOCOL, Verdict::Fatal),
            (JoinGroup, ErrorCode::INVALID_SESSION_TIMEOUT, Verdict::Fatal),
            (JoinGroup, ErrorCode::GROUP_MAX_SIZE_REACHED, Verdict::Fatal),
            (OffsetCommit, ErrorCode::REQUEST_TIMED_OUT, Verdict::FindCoordinator),
            (OffsetCommit, ErrorCode::OFFSET_METADATA_TOO_LARGE, Verdict::Refuse),
            (OffsetCommit, ErrorCode::INVALID_COMMIT_OFFSET_SIZE, Verdict::Refuse),
            (
                OffsetCommit,
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Verdict::RetryBriefly,
            ),
            (OffsetCommit, ErrorCode::UNKNOWN_TOPIC_ID, Verdict::RetryBriefly),
            (
                OffsetFetch,
                ErrorCode::UNSTABLE_OFFSET_COMMIT,
                Verdict::AwaitTransaction,
            ),
        ];
        for (api, code, expected) in rows {
            assert_eq!(verdict(api, code), expected, "{} {code}", api.name());
        }
    }

    #[test]
    fn a_code_from_the_future_is_fatal_to_a_member_and_refuses_a_commit() {
        assert_eq!(verdict(JoinGroup, ErrorCode(30_000)), Verdict::Fatal);
        assert_eq!(verdict(OffsetCommit, ErrorCode(30_000)), Verdict::Refuse);
    }
}
