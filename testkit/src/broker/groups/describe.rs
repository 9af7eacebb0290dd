//! DescribeGroups, ListGroups, DeleteGroups: groups as administrators see them.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest};
use kafka_wire::ErrorCode;

use super::group::{ClassicGroup, Member, State};
use super::record::GroupRecord;
use super::shard::{GroupShard, Outcome};

/// From this version on a group that does not exist is an error; before, it is described as dead (KIP-1043).
const KNOWS_GROUP_ID_NOT_FOUND: i16 = 6;

/// Types of groups that ListGroups filters by; ours are all classic.
const CLASSIC: &str = "classic";

impl GroupShard {
    /// Handles one group of DescribeGroups. Metadata and assignments are shown of stable groups only.
    pub fn describe(&self, version: i16, group_id: &GroupId) -> DescribedGroup {
        let described = DescribedGroup::default().with_group_id(group_id.clone());
        let Some(group) = self.groups.get(group_id.as_str()) else {
            let dead = described.with_group_state(State::Dead.name().into());
            if version < KNOWS_GROUP_ID_NOT_FOUND {
                return dead;
            }
            let message = format!("Group {} not found.", group_id.as_str());
            return dead
                .with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
                .with_error_message(Some(message.into()));
        };
        let stable = group.state == State::Stable;
        described
            .with_group_state(group.state.name().into())
            .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
            .with_protocol_data(group.protocol.clone().filter(|_| stable).unwrap_or_default().into())
            .with_members(group.members.iter().map(|m| self.describe_member(group, m)).collect())
    }

    /// Handles ListGroups. Filters are case-insensitive; an empty filter lets all through.
    pub fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let states: Vec<String> = request.states_filter.iter().map(|s| s.trim().to_lowercase()).collect();
        let types: Vec<String> = request.types_filter.iter().map(|t| t.trim().to_lowercase()).collect();
        let wanted = |group: &&ClassicGroup| {
            (states.is_empty() || states.contains(&group.state.name().to_lowercase()))
                && (types.is_empty() || types.iter().any(|t| t == CLASSIC))
        };
        let listed = |group: &ClassicGroup| {
            ListedGroup::default()
                .with_group_id(GroupId(group.id.clone().into()))
                .with_protocol_type(group.protocol_type.clone().unwrap_or_default().into())
                .with_group_state(group.state.name().into())
                .with_group_type(CLASSIC.into())
        };
        self.groups.values().filter(wanted).map(listed).collect()
    }

    /// Handles one group of DeleteGroups: an empty group goes, with its offsets.
    pub fn delete(&mut self, group_id: &GroupId) -> (Outcome, DeletableGroupResult) {
        let result = DeletableGroupResult::default().with_group_id(group_id.clone());
        let mut outcome = Outcome::default();
        let error = match self.groups.get(group_id.as_str()).map(|group| group.state) {
            None => ErrorCode::GROUP_ID_NOT_FOUND,
            Some(State::Empty) => {
                self.groups.remove(group_id.as_str());
                self.timers.cancel_group(group_id);
                outcome.records = self.offsets.tombstones(group_id);
                outcome.records.push(GroupRecord::GroupMetadata {
                    group: group_id.to_string(),
                    value: None,
                });
                ErrorCode::NONE
            }
            Some(_) => ErrorCode::NON_EMPTY_GROUP,
        };
        (outcome, result.with_error_code(error.0))
    }

    fn describe_member(&self, group: &ClassicGroup, member: &Member) -> DescribedGroupMember {
        let described = DescribedGroupMember::default()
            .with_member_id(member.id.clone().into())
            .with_group_instance_id(member.group_instance_id.clone().map(Into::into))
            .with_client_id(member.client_id.clone().into())
            .with_client_host(member.client_host.clone().into());
        if group.state != State::Stable {
            return described;
        }
        let assignment = self
            .metadata
            .get(&group.id)
            .map(|m| m.assignment(&member.id))
            .unwrap_or_default();
        described
            .with_member_metadata(member.metadata(group.protocol.as_deref()))
            .with_member_assignment(assignment)
    }
}
