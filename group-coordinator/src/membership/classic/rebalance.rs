//! Into a generation: JoinGroup, the leader's plan, SyncGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_wire::{ErrorCode, TopicPartition};

use super::{ClassicMember, MemberRequest, Notice, Pace, Plan};
use crate::assignor::{MemberSubscription, wire};
use crate::error::{Failure, MembershipErrorKind};
use crate::membership::MembershipEvent;
use crate::membership::state::State;
use crate::membership::verdict::{Api, Verdict, verdict};
use crate::requests::{self, Answer, Ticket};

/// What a broker may need beyond the rebalance timeout to answer a JoinGroup (AbstractCoordinator.java). A shorter wait ends
/// in rebalances without end: the member gives up, joins again, and all others have to wait once more.
const JOIN_SLACK: Duration = Duration::from_secs(5);

impl ClassicMember {
    pub(super) fn send_join(&mut self, now: Instant) {
        self.enter(State::Joining);
        let ticket = self.await_ticket(now);
        let user_data = self.config.assignor.subscription_user_data();
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(self.protocol_name())
            .with_metadata(wire::encode_subscription(&self.config.topics, user_data.as_deref()));
        let request = JoinGroupRequest::default()
            .with_group_id(requests::group_id(&self.config))
            .with_session_timeout_ms(requests::millis(self.config.session_timeout))
            .with_rebalance_timeout_ms(requests::millis(self.config.rebalance_timeout))
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(requests::instance_id(&self.config))
            .with_protocol_type(StrBytes::from_static_str(wire::PROTOCOL_TYPE))
            .with_protocols(vec![protocol])
            .with_reason(Some(requests::reason(&self.join_reason)));
        let wait = self.config.rebalance_timeout + JOIN_SLACK;
        self.requests.push_back(MemberRequest::Join { ticket, request, wait });
    }

    /// The answer to JoinGroup.
    pub(crate) fn handle_join(&mut self, now: Instant, ticket: Ticket, answer: Answer<JoinGroupResponse>) {
        if self.take_awaited(ticket).is_none() {
            return;
        }
        if self.state == State::Leaving {
            // Asked to leave before we had a name to leave by.
            if let Ok(response) = answer.result {
                self.member_id = response.member_id;
            }
            return self.send_leave(now);
        }
        let response = match answer.result {
            Ok(response) => response,
            Err(failure) => return self.unanswered(now, failure, answer.node),
        };
        let code = ErrorCode(response.error_code);
        match verdict(Api::JoinGroup, code) {
            Verdict::Done => self.joined(now, response),
            Verdict::AdoptMemberId => {
                let pace = if self.member_id.is_empty() {
                    Pace::Now
                } else {
                    Pace::Later
                };
                self.member_id = response.member_id;
                self.rejoin(now, pace);
            }
            // Not a rebalance to join but a broker that could not store it.
            Verdict::Rebalance => self.setback(now, Api::JoinGroup, code, Verdict::Retry, answer.node),
            found => self.setback(now, Api::JoinGroup, code, found, answer.node),
        }
    }

    fn joined(&mut self, now: Instant, response: JoinGroupResponse) {
        let named = response.protocol_name.as_ref().map_or("", |name| name);
        if named != self.config.assignor.name() {
            let text = format!("JoinGroup was answered with protocol {named:?}, which was not offered");
            return self.fail(MembershipErrorKind::Protocol(text));
        }
        if response.member_id.is_empty() || response.generation_id < 0 {
            let text = format!(
                "JoinGroup was answered without a member id or generation ({})",
                response.generation_id
            );
            return self.fail(MembershipErrorKind::Protocol(text));
        }
        self.member_id = response.member_id;
        self.generation = response.generation_id;
        self.enter(State::Syncing);
        self.pulse.start(now + self.config.heartbeat_interval);
        let leads = response.leader == self.member_id;
        tracing::info!(
            group = %self.config.group_id, member = %self.member_id, generation = self.generation, leads, "joined the group"
        );
        // A static leader that comes back gets what it had: the group is stable without a new plan (KIP-814).
        if !leads || response.skip_assignment {
            return self.send_sync(now, Vec::new());
        }
        let members: Vec<_> = response
            .members
            .iter()
            .map(|member| self.subscription(&member.member_id, &member.group_instance_id, &member.metadata))
            .collect();
        let topics: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        let topics = topics.into_iter().cloned().collect();
        self.plan = Some(Plan {
            members,
            topics,
            retry_at: None,
        });
        self.ask_for_partitions(now);
    }

    /// One member's word must not take the leader down, and the whole group with it: it gets nothing instead.
    fn subscription(&self, member: &StrBytes, instance: &Option<StrBytes>, metadata: &Bytes) -> MemberSubscription {
        let read = wire::decode_subscription(metadata);
        if let Err(error) = &read {
            tracing::warn!(group = %self.config.group_id, %member, %error, "a member gets no partitions");
        }
        let (topics, user_data) = read.map_or_else(|_| (Vec::new(), None), |read| (read.topics, read.user_data));
        let instance_id = instance.as_ref().map(ToString::to_string);
        MemberSubscription {
            member_id: member.to_string(),
            instance_id,
            topics,
            user_data,
        }
    }

    pub(super) fn ask_for_partitions(&mut self, now: Instant) {
        let ticket = self.await_ticket(now);
        let Some(plan) = &mut self.plan else { return };
        plan.retry_at = None;
        self.requests.push_back(MemberRequest::Partitions {
            ticket,
            topics: plan.topics.clone(),
        });
    }

    /// The leader learnt the partitions to distribute.
    pub(crate) fn handle_partitions(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<BTreeMap<String, Vec<i32>>, Failure>,
    ) {
        if self.take_awaited(ticket).is_none() {
            return;
        }
        let Some(mut plan) = self.plan.take() else { return };
        let partitions = match result {
            Ok(partitions) => partitions,
            Err(failure) => match self.failure_is_fatal(&failure, None) {
                Some(kind) => return self.fail(kind),
                None => {
                    tracing::warn!(group = %self.config.group_id, %failure, "the leader cannot see the partitions yet");
                    plan.retry_at = Some(now + self.backoff.next());
                    self.plan = Some(plan);
                    return;
                }
            },
        };
        let count = |topic: &String| partitions.get(topic).map_or(0, Vec::len);
        for missing in plan.topics.iter().filter(|topic| count(topic) == 0) {
            tracing::warn!(group = %self.config.group_id, topic = %missing, "a subscribed topic does not exist");
        }
        self.planned_counts = plan.topics.iter().map(|topic| (topic.clone(), count(topic))).collect();
        match self.config.assignor.assign(&plan.members, &partitions) {
            Err(error) => self.fail(MembershipErrorKind::Assignment(error)),
            Ok(mut assignment) => {
                let assignments = plan.members.into_iter().map(|member| {
                    let share = assignment.remove(&member.member_id).unwrap_or_default();
                    SyncGroupRequestAssignment::default()
                        .with_member_id(StrBytes::from_string(member.member_id))
                        .with_assignment(wire::encode_assignment(&share))
                });
                let assignments = assignments.collect();
                self.send_sync(now, assignments);
            }
        }
    }

    fn send_sync(&mut self, now: Instant, assignments: Vec<SyncGroupRequestAssignment>) {
        let ticket = self.await_ticket(now);
        let request = SyncGroupRequest::default()
            .with_group_id(requests::group_id(&self.config))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(requests::instance_id(&self.config))
            .with_protocol_type(Some(StrBytes::from_static_str(wire::PROTOCOL_TYPE)))
            .with_protocol_name(Some(self.protocol_name()))
            .with_assignments(assignments);
        // The broker answers when the leader has planned, for which it gives it the rebalance timeout.
        self.requests.push_back(MemberRequest::Sync {
            ticket,
            request,
            wait: self.config.rebalance_timeout,
        });
    }

    /// The answer to SyncGroup.
    pub(crate) fn handle_sync(&mut self, now: Instant, ticket: Ticket, answer: Answer<SyncGroupResponse>) {
        let Some(awaited) = self.take_awaited(ticket) else {
            return;
        };
        let response = match answer.result {
            Ok(response) => response,
            Err(failure) => return self.unanswered(now, failure, answer.node),
        };
        let code = ErrorCode(response.error_code);
        match verdict(Api::SyncGroup, code) {
            Verdict::Done => self.synced(now, awaited.sent, response),
            found => self.setback(now, Api::SyncGroup, code, found, answer.node),
        }
    }

    fn synced(&mut self, now: Instant, sent: Instant, response: SyncGroupResponse) {
        if response
            .protocol_name
            .as_ref()
            .is_some_and(|name| **name != *self.config.assignor.name())
        {
            return self.fail(MembershipErrorKind::Protocol(
                "SyncGroup was answered for another protocol".into(),
            ));
        }
        let share = match wire::decode_assignment(&response.assignment) {
            Ok(share) => share,
            Err(error) => {
                return self.fail(MembershipErrorKind::Protocol(format!(
                    "the group's leader sent a {error}"
                )));
            }
        };
        self.pulse.settle(sent);
        self.share = Some((share, now));
        if self.pulse.is_confirmed() {
            self.take_share(now);
        } else {
            self.pulse.hurry(now);
        }
    }

    /// Becomes the owner of what the leader gave us, once the coordinator has answered a heartbeat of this generation.
    ///
    /// An answered SyncGroup proves no membership for the time to come: in a group that is stable already, as for whoever joins
    /// again after its lease ended, coordinators from Kafka 4 on do not restart the session for it.
    pub(super) fn take_share(&mut self, now: Instant) {
        let Some((share, _)) = self.share.take() else { return };
        if self.lease_from_last_proof().is_some_and(|deadline| deadline <= now) {
            // The leader took longer than the session timeout and no heartbeat got through: it may be someone else's already.
            self.join_reason = "the assignment came too late".into();
            return self.rejoin(now, Pace::Later);
        }
        self.enter(State::Stable);
        self.owned = self.topic_partitions(share);
        let (generation, partitions) = (self.generation, self.owned.clone());
        tracing::info!(
            group = %self.config.group_id, generation, partitions = partitions.len(), "assigned"
        );
        self.notices.push_back(Notice {
            revocation: None,
            event: MembershipEvent::Assigned { generation, partitions },
        });
    }

    fn topic_partitions(&self, share: wire::Share) -> Vec<TopicPartition> {
        let mut partitions = Vec::new();
        for (topic, numbers) in share {
            if !self.config.topics.contains(&topic) {
                tracing::warn!(group = %self.config.group_id, %topic, "the leader assigned a topic we do not subscribe");
                continue;
            }
            let topic: std::sync::Arc<str> = topic.into();
            partitions.extend(
                numbers
                    .into_iter()
                    .map(|number| TopicPartition::new(topic.clone(), number)),
            );
        }
        partitions
    }

    /// JoinGroup or SyncGroup brought no answer.
    fn unanswered(&mut self, now: Instant, failure: Failure, node: Option<i32>) {
        if let Some(kind) = self.failure_is_fatal(&failure, node) {
            return self.fail(kind);
        }
        tracing::warn!(group = %self.config.group_id, broker = node, %failure, "joining the group failed");
        self.forget(node);
        self.rejoin(now, Pace::Later);
    }

    /// JoinGroup or SyncGroup was answered with an error. Nothing is owned here, so nothing is lost.
    fn setback(&mut self, now: Instant, api: Api, code: ErrorCode, found: Verdict, node: Option<i32>) {
        tracing::debug!(group = %self.config.group_id, api = api.name(), %code, broker = node, "joining the group failed");
        self.join_reason = format!("{} was answered with {code}", api.name());
        match found {
            Verdict::Fenced => self.fail(self.fenced()),
            Verdict::Fatal | Verdict::Refuse => self.fail(self.refused(api, code, node)),
            Verdict::NewMember => {
                self.member_id = StrBytes::default();
                self.rejoin(now, Pace::Soon);
            }
            Verdict::NewGeneration | Verdict::Rebalance => self.rejoin(now, Pace::Soon),
            Verdict::FindCoordinator => {
                self.forget(node);
                self.rejoin(now, Pace::Later);
            }
            _ => self.rejoin(now, Pace::Later),
        }
    }

    fn protocol_name(&self) -> StrBytes {
        StrBytes::from_string(self.config.assignor.name().to_owned())
    }
}
