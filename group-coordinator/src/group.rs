//! The handles an application holds: [`GroupMember`] and [`Offsets`].

use std::collections::HashMap;
use std::sync::Arc;

use kafka_wire::{Client, ConfigError, TopicPartition};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::GroupConfig;
use crate::driver::{self, Command, Started};
use crate::error::{CommitError, CommitErrorKind, MembershipError, MembershipErrorKind};
use crate::membership::classic::Notice;
use crate::membership::{Lease, LeaseCell, MembershipEvent};

/// A member of a consumer group. Its task joins, keeps the heartbeats going and rejoins after trouble, whatever the
/// application is busy with; the application drains [`Self::next_event`] and answers each `Revoke`.
///
/// Dropping it stops the task and ends the lease; the group notices by the session timeout. Use [`Self::leave`] to let the
/// group know at once.
#[derive(Debug)]
pub struct GroupMember {
    group: Arc<str>,
    commands: mpsc::UnboundedSender<Command>,
    notices: mpsc::UnboundedReceiver<Notice>,
    /// The number of the `Revoke` last handed out.
    revocation: Option<u64>,
    lease: Arc<LeaseCell>,
    member_id: watch::Receiver<String>,
    task: tokio::task::JoinHandle<()>,
}

impl GroupMember {
    /// Starts to join; the outcome arrives as the first event. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn join(client: Client, config: GroupConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let group = config.group_id.as_str().into();
        let Started {
            commands,
            notices,
            lease,
            member_id,
            task,
        } = driver::start(client, config);
        Ok(Self {
            group,
            commands,
            notices,
            revocation: None,
            lease,
            member_id,
            task,
        })
    }

    /// Waits for the next change of what this member owns. After `Failed` every call returns `Failed` again.
    ///
    /// Cancel-safe: an event is handed out or stays queued.
    pub async fn next_event(&mut self) -> MembershipEvent {
        match self.notices.recv().await {
            Some(Notice { revocation, event }) => {
                self.revocation = revocation.or(self.revocation);
                event
            }
            None => MembershipEvent::Failed(self.error(MembershipErrorKind::Closed)),
        }
    }

    /// Answers the last `Revoke` that [`Self::next_event`] returned: its partitions are given up and committed, the group may
    /// go on. Of no effect if `Lost` has taken them meanwhile.
    pub fn revocation_complete(&self) {
        if let Some(revocation) = self.revocation {
            let _ = self.commands.send(Command::RevocationComplete { revocation });
        }
    }

    /// The group's offsets under this membership.
    pub fn offsets(&self) -> Offsets {
        Offsets {
            group: self.group.clone(),
            commands: self.commands.clone(),
        }
    }

    /// Whether the membership can be trusted at this moment.
    pub fn lease(&self) -> Lease {
        Lease::new(self.lease.clone())
    }

    /// The id the coordinator gave us; empty before the first join.
    pub fn member_id(&self) -> String {
        self.member_id.borrow().clone()
    }

    /// The generation we are in; -1 while in none.
    pub fn generation(&self) -> i32 {
        self.lease.generation()
    }

    /// Asks for everything owned to be revoked, as the first half of leaving: answer the `Revoke` that follows (if anything is
    /// owned), then call [`Self::leave`].
    pub fn begin_leave(&self) {
        let _ = self.commands.send(Command::BeginLeave);
    }

    /// Leaves the group, so that the others need not wait for our session to time out. The caller has stopped working on all
    /// partitions and committed: whatever is still owned counts as given up. A static member only stops (KIP-345).
    ///
    /// Takes one round trip as a rule; with an unreachable coordinator as long as three tries take. Dropping the future stops
    /// the member without a word to the group.
    ///
    /// # Errors
    /// The membership had failed, or the group could not be told.
    pub async fn leave(mut self) -> Result<(), MembershipError> {
        let (done, mut left) = oneshot::channel();
        if self.commands.send(Command::Leave { done }).is_err() {
            return Err(self.error(MembershipErrorKind::Closed));
        }
        self.revocation_complete();
        loop {
            tokio::select! {
                biased;
                outcome = &mut left => {
                    return outcome.unwrap_or_else(|_| Err(self.error(MembershipErrorKind::Closed)));
                }
                Some(notice) = self.notices.recv() => {
                    self.revocation = notice.revocation.or(self.revocation);
                    self.revocation_complete();
                }
            }
        }
    }

    fn error(&self, kind: MembershipErrorKind) -> MembershipError {
        MembershipError {
            group: self.group.to_string(),
            kind,
        }
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads and commits the offsets of a group as one of its members. Cheap to clone; works as long as its [`GroupMember`] lives.
#[derive(Debug, Clone)]
pub struct Offsets {
    group: Arc<str>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Offsets {
    /// Commits the next offset to read of each partition, and returns once the broker has acknowledged it. Only partitions
    /// that are assigned at the moment are taken. Commits that wait for one in flight are sent as one, with the highest offset
    /// per partition; within one assignment a committed offset never goes back, so a lower one is done at once.
    ///
    /// Dropping the future does not take the commit back.
    ///
    /// # Errors
    /// The first partition whose offset was not committed, and why. Others may have been committed.
    pub async fn commit(&self, offsets: Vec<(TopicPartition, i64)>) -> Result<(), CommitError> {
        self.send_commit(None, offsets).await
    }

    /// As [`commit`](Self::commit), of what was worked off in `generation`. A member that has come to another one meanwhile commits
    /// nothing of that: its partitions were somebody else's in between, who may have committed more.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_of(&self, generation: i32, offsets: Vec<(TopicPartition, i64)>) -> Result<(), CommitError> {
        self.send_commit(Some(generation), offsets).await
    }

    async fn send_commit(
        &self,
        generation: Option<i32>,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<(), CommitError> {
        let (done, settled) = oneshot::channel();
        let sent = self.commands.send(Command::Commit {
            generation,
            offsets,
            done,
        });
        sent.map_err(|_| self.closed())?;
        settled.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// The committed next offset of each partition; none where nothing is committed. Offsets that an open transaction may
    /// still change are waited for (KIP-447). Partitions of others can be read too.
    ///
    /// # Errors
    /// The first partition that was not read, and why; never a guess.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<HashMap<TopicPartition, Option<i64>>, CommitError> {
        let (done, found) = oneshot::channel();
        let sent = self.commands.send(Command::Committed {
            partitions: partitions.to_vec(),
            done,
        });
        sent.map_err(|_| self.closed())?;
        found.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn closed(&self) -> CommitError {
        CommitError {
            group: self.group.to_string(),
            topic_partition: None,
            kind: CommitErrorKind::Closed,
        }
    }
}
