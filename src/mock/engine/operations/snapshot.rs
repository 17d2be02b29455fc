//! Exports the state as a fixture, from which another server can start.
//!
//! A fixture has no connections of clients; users who are connected are exported as `online`.

use serde_json::{Map, Value, json};

use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::members::{ChannelMember, DEFAULT_ROLE};
use crate::mock::engine::data::rfc3339::Rfc3339;
use crate::mock::engine::data::slots::UserKey;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user::StoredUser;
use crate::mock::fixture::Fixture;

impl ServiceState {
    /// Exports all users and channels, except deleted and anonymous users.
    pub(crate) fn to_fixture(&self) -> Fixture {
        let stays = |user: &StoredUser| user.deleted_at.is_none() && !user.is_anonymous();
        Fixture {
            users: self
                .users
                .iter()
                .filter(|(_, user)| stays(user))
                .map(|(_, user)| user_fixture(user))
                .collect(),
            channels: self
                .channels
                .iter()
                .map(|(_, channel)| self.channel_fixture(channel))
                .collect(),
            demo: None,
        }
    }

    fn channel_fixture(&self, channel: &Channel) -> Map<String, Value> {
        let mut fixture = Map::new();
        let mut tell = |name: &str, value: Value| fixture.insert(name.to_owned(), value);
        tell("type", channel.channel_type.clone().into());
        tell("id", channel.id.clone().into());
        let members: Vec<Value> = channel
            .members
            .iter()
            .filter_map(|(key, member)| Some(member_fixture(self.name_of(key)?, member)))
            .collect();
        tell("members", members.into());
        if let Some(creator) = channel.created_by.and_then(|key| self.name_of(key)) {
            tell("created_by_id", creator.into());
        }
        tell("created_at", json!(Rfc3339(channel.created_at)));
        if channel.frozen {
            tell("frozen", true.into());
        }
        if channel.disabled {
            tell("disabled", true.into());
        }
        if let Some(team) = &channel.team {
            tell("team", team.clone().into());
        }
        if let Some(tags) = &channel.filter_tags {
            tell("filter_tags", json!(tags));
        }
        fixture.extend(channel.custom.clone());
        fixture
    }

    /// The id of a user who can be named in a fixture.
    fn name_of(&self, key: UserKey) -> Option<&str> {
        let user = self.users.get(key)?;
        (user.deleted_at.is_none() && !user.is_anonymous()).then_some(&*user.id)
    }
}

fn user_fixture(user: &StoredUser) -> Map<String, Value> {
    let profile = &user.profile;
    let mut fixture = Map::new();
    let mut tell = |name: &str, value: Value| fixture.insert(name.to_owned(), value);
    tell("id", (*user.id).into());
    if profile.role != "user" {
        tell("role", profile.role.clone().into());
    }
    if let Some(name) = &profile.name {
        tell("name", name.clone().into());
    }
    if let Some(image) = &profile.image {
        tell("image", image.clone().into());
    }
    if profile.invisible {
        tell("invisible", true.into());
    }
    if !profile.language().is_empty() {
        tell("language", profile.language().into());
    }
    if !profile.teams().is_empty() {
        tell("teams", profile.teams().into());
    }
    if let Some(roles) = profile.teams_role() {
        tell("teams_role", roles.clone());
    }
    if let Some(settings) = profile.privacy_settings() {
        tell("privacy_settings", settings.clone());
    }
    if let Some(time) = profile.revoke_tokens_issued_before() {
        tell("revoke_tokens_issued_before", json!(Rfc3339(time)));
    }
    tell("created_at", json!(Rfc3339(user.created_at)));
    if let Some(time) = user.last_active {
        tell("last_active", json!(Rfc3339(time)));
    }
    if let Some(time) = user.deactivated_at {
        tell("deactivated_at", json!(Rfc3339(time)));
    }
    if user.is_connected() {
        tell("online", true.into());
    }
    fixture.extend(profile.custom().clone());
    fixture
}

fn member_fixture(id: &str, member: &ChannelMember) -> Value {
    if member.channel_role == DEFAULT_ROLE && member.custom.is_empty() {
        return id.into();
    }
    let mut fixture = Map::from_iter([("user_id".to_owned(), Value::from(id))]);
    if member.channel_role != DEFAULT_ROLE {
        fixture.insert(
            "channel_role".to_owned(),
            member.channel_role.clone().into(),
        );
    }
    fixture.extend(member.custom.clone());
    fixture.into()
}

#[cfg(test)]
mod tests {
    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::test_support::{TestState, op};
    use crate::mock::options::MockRules;

    use super::*;

    #[test]
    fn a_world_written_down_is_the_world_that_was_read() {
        let members: Vec<String> = (0..150).map(|number| format!("m{number}")).collect();
        let mut users: Vec<Value> = members.iter().map(|id| json!({ "id": id })).collect();
        users.push(json!({
            "id": "john", "name": "John", "role": "admin", "invisible": true, "status": "at lunch", "online": true,
            "teams": ["red"], "last_active": "2026-01-05T10:00:00.5Z", "created_at": "2025-01-01T00:00:00Z",
            "privacy_settings": {"typing_indicators": {"enabled": false}}, "deep": {"custom": [1, null]},
        }));
        users.push(json!({"id": "gone", "deactivated_at": "2026-01-04T00:00:00Z"}));
        let world: Fixture = serde_json::from_value(json!({
            "users": users,
            "channels": [
                {"type": "messaging", "id": "all", "members": members, "created_by_id": "john", "color": "green"},
                {"type": "livestream", "id": "live", "frozen": true, "members":
                    [{"user_id": "m1", "channel_role": "channel_moderator", "since": 7}]},
            ],
        }))
        .unwrap();
        let mut stage = TestState::with(MockRules::default());
        stage.state.load(&world, stage.now).unwrap();
        let written = stage.state.to_fixture();
        let mut again = TestState::with(MockRules::default());
        again.state.load(&written, again.now).unwrap();
        assert_eq!(again.state.to_fixture(), written);

        let user = |id: &str| json!(written.users.iter().find(|user| user["id"] == id).unwrap());
        assert_eq!(user("m0").as_object().unwrap().len(), 2, "{}", user("m0"));
        for field in [
            "name",
            "role",
            "invisible",
            "status",
            "online",
            "teams",
            "last_active",
            "deep",
        ] {
            let asked = world
                .users
                .iter()
                .find(|user| user["id"] == "john")
                .unwrap();
            assert_eq!(user("john")[field], asked[field], "{field}");
        }
        assert!(user("gone")["deactivated_at"].is_string());
        assert_eq!(written.channels[0]["members"], world.channels[0]["members"]);
        assert_eq!(written.channels[0]["color"], "green");
        assert_eq!(written.channels[1]["members"], world.channels[1]["members"]);
    }

    #[test]
    fn what_happened_since_is_in_it() {
        let mut stage = TestState::new();
        stage.users(&["a", "b"]);
        stage.connect("a");
        let patch = json!({"users": [{"id": "b", "set": {"status": "new"}}]});
        stage
            .apply(&Caller::Server, op("PATCH /users", patch))
            .unwrap();
        let world = stage.state.to_fixture();
        assert_eq!(world.users[0]["online"], true);
        assert_eq!(world.users[1]["status"], "new");
        assert_eq!(world.users[1].get("online"), None);
    }
}
