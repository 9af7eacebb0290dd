//! What the client does when golden frames are made, and what it must find.
//!
//! One member of every API we speak, in both outcomes where they differ. The same session runs against Apache Kafka, against
//! the recording of that run, and against the embedded broker; wherever it runs, the client must find the same.

mod fetch;
mod produce;

use std::fmt::Debug;
use std::sync::Arc;

use group_coordinator::{GroupConfig, GroupMember, MembershipEvent};
use kafka_wire::admin::{Admin, NewTopic, OffsetSpec};
use kafka_wire::transport::Connector;
use kafka_wire::{Client, ClientConfig, ConfigError, ErrorCode, IsolationLevel, TopicPartition};

/// The topic everything happens in.
const TOPIC: &str = "golden";
const PARTITIONS: i32 = 2;
/// A topic that is created to be deleted.
const SHORT_LIVED: &str = "golden-short-lived";
const MISSING: &str = "golden-missing";

/// The groups a session's members join.
pub const GROUPS: [&str; 2] = ["golden-group", "golden-static"];

/// What the client does; every step begins with its name.
#[derive(Debug)]
pub struct Session<B> {
    config: ClientConfig,
    connector: Arc<dyn Connector>,
    client: Client,
    begin: B,
}

/// A step that found something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found}")]
pub struct SessionError {
    what: String,
    found: String,
}

type Step = Result<(), SessionError>;

impl<B: Fn(&str)> Session<B> {
    /// A session with the brokers behind this connector; `begin` is told the name of every step before it begins.
    ///
    /// # Errors
    ///
    /// The bootstrap address is not one.
    pub fn new(bootstrap: &[String], connector: Arc<dyn Connector>, begin: B) -> Result<Self, ConfigError> {
        let config = ClientConfig::new(bootstrap).with_client_id("golden");
        Ok(Self {
            client: Client::with_connector(config.clone(), Arc::clone(&connector))?,
            config,
            connector,
            begin,
        })
    }

    /// Everything but [`Session::read_java_topics`].
    ///
    /// # Errors
    ///
    /// The first step that failed, or found something else than it must.
    pub async fn run(&self) -> Step {
        self.create_topics().await?;
        self.describe_topics().await?;
        self.produce().await?;
        self.list_offsets().await?;
        self.fetch().await?;
        self.be_a_member().await?;
        self.be_a_static_member().await?;
        self.delete_topics().await
    }

    /// Ends the session's connections.
    pub async fn close(self) {
        self.client.close().await;
    }

    fn admin(&self) -> Admin {
        self.client.admin()
    }

    async fn create_topics(&self) -> Step {
        (self.begin)("topics are created");
        // The records have timestamps of 1970, which retention would soon delete.
        let topic = NewTopic::new(TOPIC, PARTITIONS).with_config("retention.ms", "-1");
        let topics = [topic, NewTopic::new(SHORT_LIVED, 1)];
        for (topic, created) in done("creating topics", self.admin().create_topics(&topics).await)? {
            done(&topic, created)?;
        }
        (self.begin)("a topic is created that exists");
        let created = done("creating a topic again", self.admin().create_topics(&topics[..1]).await)?;
        let codes: Vec<_> = created.iter().map(|(_, result)| code(result)).collect();
        same("the refusal", codes, vec![Some(ErrorCode::TOPIC_ALREADY_EXISTS)])
    }

    async fn describe_topics(&self) -> Step {
        (self.begin)("a topic is described");
        let described = done("describing", self.admin().describe_topics(&[TOPIC]).await)?;
        let topic = &described[0];
        same("the topic", (topic.name.as_str(), topic.internal), (TOPIC, false))?;
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|it| (it.partition, it.leader, it.leader_epoch, it.in_sync.as_slice()))
            .collect();
        same(
            "its partitions",
            partitions,
            vec![(0, Some(1), 0, &[1][..]), (1, Some(1), 0, &[1][..])],
        )?;

        (self.begin)("a topic is described that does not exist");
        let described = self.admin().describe_topics(&[MISSING]).await;
        same(
            "the refusal",
            code(&described),
            Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        )?;

        (self.begin)("a topic's configuration is read");
        let config = done("reading", self.admin().topic_config(TOPIC).await)?;
        same(
            "retention.ms",
            config.get("retention.ms").map(String::as_str),
            Some("-1"),
        )?;
        same(
            "delete.retention.ms",
            config.get("delete.retention.ms").map(String::as_str),
            Some("86400000"),
        )
    }

    async fn list_offsets(&self) -> Step {
        for (step, spec, expected) in [
            ("the earliest offset is asked for", OffsetSpec::Earliest, (0, -1)),
            ("the latest offset is asked for", OffsetSpec::Latest, (9, -1)),
            (
                "the offset at a time is asked for",
                OffsetSpec::Timestamp(1001),
                (1, 1001),
            ),
        ] {
            (self.begin)(step);
            let wanted = [(TopicPartition::new(TOPIC, 0), spec)];
            let listed = self
                .admin()
                .list_offsets(&wanted, IsolationLevel::ReadUncommitted)
                .await;
            let listed = done(step, listed)?;
            let found = listed.get(&wanted[0].0).map(|it| (it.offset, it.timestamp));
            same(step, found, Some(expected))?;
        }
        (self.begin)("the end of a leader epoch is asked for");
        let end = self.admin().epoch_end_offset(&TopicPartition::new(TOPIC, 0), 0).await;
        same("the end of epoch 0", done("asking", end)?, Some(9))
    }

    async fn be_a_member(&self) -> Step {
        (self.begin)("a member joins");
        let config = GroupConfig::new(GROUPS[0], [TOPIC]);
        let mut member = done("joining", GroupMember::join(self.client.clone(), config))?;
        let partitions = assigned(&mut member).await?;
        same("the generation", member.generation(), 1)?;

        (self.begin)("offsets are committed and read");
        let (first, second) = (&partitions[0], &partitions[1]);
        done("committing", member.offsets().commit(vec![(first.clone(), 2)]).await)?;
        let committed = done("reading", member.offsets().committed(&partitions).await)?;
        let found = (committed.get(first), committed.get(second));
        same("the committed offsets", found, (Some(&Some(2)), Some(&None)))?;

        (self.begin)("a member leaves");
        done("leaving", member.leave().await)
    }

    async fn be_a_static_member(&self) -> Step {
        (self.begin)("a static member joins");
        let config = GroupConfig::new(GROUPS[1], [TOPIC]).with_instance_id("instance-1");
        let mut member = done("joining", GroupMember::join(self.client.clone(), config))?;
        assigned(&mut member).await?;
        same("the generation", member.generation(), 1)
    }

    async fn delete_topics(&self) -> Step {
        (self.begin)("topics are deleted");
        let deleted = self.admin().delete_topics(&[SHORT_LIVED, MISSING]).await;
        let deleted = done("deleting", deleted)?;
        let codes: Vec<_> = deleted.iter().map(|(topic, it)| (topic.as_str(), code(it))).collect();
        let missing = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        same("the results", codes, vec![(SHORT_LIVED, None), (MISSING, missing)])
    }
}

/// Waits for the assignment of a member that is alone in its group.
async fn assigned(member: &mut GroupMember) -> Result<Vec<TopicPartition>, SessionError> {
    let partitions = match member.next_event().await {
        MembershipEvent::Assigned { partitions, .. } => partitions,
        other => return Err(SessionError::new("the assignment", other)),
    };
    let expected: Vec<_> = (0..PARTITIONS)
        .map(|partition| TopicPartition::new(TOPIC, partition))
        .collect();
    same("the assignment", &partitions, &expected)?;
    Ok(partitions)
}

impl SessionError {
    fn new(what: &str, found: impl Debug) -> Self {
        Self {
            what: what.to_owned(),
            found: format!("{found:?}"),
        }
    }
}

fn done<T, E: Debug>(what: &str, result: Result<T, E>) -> Result<T, SessionError> {
    result.map_err(|error| SessionError::new(what, error))
}

fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Step {
    if found == expected {
        return Ok(());
    }
    Err(SessionError::new(
        what,
        format_args!("found {found:?}, not {expected:?}"),
    ))
}

fn code<T>(result: &Result<T, kafka_wire::admin::AdminError>) -> Option<ErrorCode> {
    result.as_ref().err().and_then(kafka_wire::admin::AdminError::code)
}
