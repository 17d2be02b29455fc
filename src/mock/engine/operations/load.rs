//! Loading a fixture into the state, by the rules that calls obey.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::{ChannelId, ChannelType, InvalidId};
use crate::mock::api_version::ApiVersion;
use crate::mock::engine::data::channel::Channel;
use crate::mock::engine::data::connection::Transport;
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::data::user_fields::{FieldWriter, UserFields};
use crate::mock::engine::rules::channel_data::{long_user_list, write_data};
use crate::mock::engine::rules::presence::ConnectRequest;
use crate::mock::engine::rules::user_changes::user_id;
use crate::mock::error::Rejection;
use crate::mock::fixture::{Fixture, FixtureError};

impl ServiceState {
    /// Adds everything that a world holds.
    pub(crate) fn load(&mut self, world: &Fixture, now: DateTime<Utc>) -> Result<(), FixtureError> {
        for (place, user) in world.users.iter().enumerate() {
            self.load_user(now, user.clone())
                .map_err(|reject| FixtureError::new(format!("users[{place}]"), reject.detail))?;
        }
        for (place, channel) in world.channels.iter().enumerate() {
            self.load_channel(now, channel.clone())
                .map_err(|reject| FixtureError::new(format!("channels[{place}]"), reject.detail))?;
        }
        Ok(())
    }

    fn load_user(
        &mut self,
        now: DateTime<Utc>,
        mut fields: Map<String, Value>,
    ) -> Result<(), Rejection> {
        let id = match fields.get("id") {
            Some(Value::String(id)) => user_id(id)?,
            _ => return Err(Rejection::input("id is a required field, a string")),
        };
        if self.user(id.as_str()).is_some() {
            return Err(Rejection::input(format!(
                "user {:?} is there twice",
                id.as_str()
            )));
        }
        let created_at = time(&mut fields, "created_at")?;
        let last_active = time(&mut fields, "last_active")?;
        let deactivated_at = time(&mut fields, "deactivated_at")?;
        let online = match fields.shift_remove("online") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(Rejection::input("online must be a boolean")),
        };
        let profile = UserFields::new("user").replaced(
            id.as_str(),
            &fields,
            FieldWriter::Server,
            false,
            self.rules.custom_data_limit,
        )?;
        let key = self.insert_user(now, id.as_str(), profile);
        if let Some(user) = self.users.get_mut(key) {
            user.created_at = created_at.map_or(user.created_at, stored);
            user.updated_at = user.created_at;
            user.last_active = last_active;
            user.shown_last_active = last_active;
        }
        if online {
            self.connect_virtual(now, id.as_str())?;
            if let Some(user) = self.users.get_mut(key) {
                user.last_active = last_active.or(user.last_active);
            }
        }
        if let Some(user) = self.users.get_mut(key) {
            user.deactivated_at = deactivated_at;
        }
        Ok(())
    }

    /// Pretends a connection of a user, as `online` in a fixture and the control API do.
    pub(crate) fn connect_virtual(
        &mut self,
        now: DateTime<Utc>,
        id: &str,
    ) -> Result<crate::mock::engine::data::connection::ConnectionKey, Rejection> {
        self.connect(
            now,
            &Caller::Server,
            &ConnectRequest {
                user_id: Some(id.to_owned()),
                details: Map::new(),
                carrier: Transport::Virtual,
                version: ApiVersion::V1,
                token_expires: None,
            },
        )
    }

    fn load_channel(
        &mut self,
        now: DateTime<Utc>,
        mut data: Map<String, Value>,
    ) -> Result<(), Rejection> {
        let mut text = |field: &str| match data.shift_remove(field) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Rejection::input(format!(
                "{field} is a required field, a string"
            ))),
        };
        let input = |error: InvalidId| Rejection::input(error.to_string());
        let channel_type = text("type")?.parse::<ChannelType>().map_err(input)?;
        let id = text("id")?.parse::<ChannelId>().map_err(input)?;
        self.types.get(channel_type.as_str())?;
        let mut channel = Channel::new(channel_type.as_str(), id.as_str(), stored(now));
        if self.channel_ids.contains_key(&*channel.cid) {
            return Err(Rejection::input(format!(
                "channel {} is there twice",
                channel.cid
            )));
        }
        let members = long_user_list(data.shift_remove("members"), "members")?;
        let members = self.resolve_members(&members, "members")?;
        channel.created_by = match data.shift_remove("created_by_id") {
            None | Some(Value::Null) => members.first().map(|(user, _)| *user),
            Some(Value::String(id)) => Some(
                self.user(&id)
                    .map(|(key, _)| key)
                    .ok_or_else(|| Rejection::input(format!("there is no user {id:?}")))?,
            ),
            Some(_) => return Err(Rejection::input("created_by_id must be a string")),
        };
        if let Some(created_at) = time(&mut data, "created_at")? {
            channel.created_at = stored(created_at);
            channel.updated_at = channel.created_at;
        }
        write_data(&mut channel, data, self.rules.custom_data_limit)?;
        let key = self.insert_channel(channel);
        for (user, member) in members {
            self.join(now, key, user, member);
        }
        Ok(())
    }
}

fn time(fields: &mut Map<String, Value>, field: &str) -> Result<Option<DateTime<Utc>>, Rejection> {
    match fields.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => DateTime::parse_from_rfc3339(&text)
            .map(|time| Some(time.to_utc()))
            .map_err(|_| Rejection::input(format!("{field} must be a time (RFC 3339)"))),
        Some(_) => Err(Rejection::input(format!(
            "{field} must be a time (RFC 3339)"
        ))),
    }
}
