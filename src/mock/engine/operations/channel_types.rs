//! Operations on channel types. Only the server side may call them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::ChannelType as ChannelTypeName;
use crate::mock::engine::data::channel_types::{ChannelType, ChannelTypeView};
use crate::mock::engine::data::requests::{JsonObject, Reply};
use crate::mock::engine::data::rfc3339::stored;
use crate::mock::engine::data::state::ServiceState;
use crate::mock::engine::rules::permissions::Actor;
use crate::mock::error::Rejection;

impl ServiceState {
    pub(crate) fn list_channel_types(&self, actor: &Actor) -> Result<Reply, Rejection> {
        #[derive(Serialize)]
        struct ChannelTypeListResponse<'a> {
            channel_types: BTreeMap<&'a str, ChannelTypeView<'a>>,
        }
        actor.server_only()?;
        Ok(Reply::new(&ChannelTypeListResponse {
            channel_types: self
                .types
                .iter()
                .map(|(name, channel_type)| (name, channel_type.view()))
                .collect(),
        }))
    }

    pub(crate) fn get_channel_type(&self, actor: &Actor, name: &str) -> Result<Reply, Rejection> {
        actor.server_only()?;
        Ok(Reply::new(&self.types.get(name)?.view()))
    }

    pub(crate) fn create_channel_type(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        body: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let name = body
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| Rejection::field("name", "is a required field"))?
            .parse::<ChannelTypeName>()
            .map_err(|error| Rejection::input(error.to_string()))?;
        if self.types.get(name.as_str()).is_ok() {
            return Err(Rejection::input(format!(
                "channel type {:?} exists already",
                name.as_str()
            )));
        }
        let mut channel_type = ChannelType::new(name.as_str(), stored(now));
        channel_type.write(body)?;
        let reply = Reply::new(&channel_type.written());
        self.types.insert(name.as_str(), channel_type);
        Ok(reply)
    }

    pub(crate) fn update_channel_type(
        &mut self,
        now: DateTime<Utc>,
        actor: &Actor,
        name: &str,
        body: JsonObject,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        let mut channel_type = self.types.get(name)?.clone();
        channel_type.write(body)?;
        channel_type.updated_at = stored(now);
        let reply = Reply::new(&channel_type.written());
        self.types.insert(name, channel_type);
        Ok(reply)
    }

    pub(crate) fn delete_channel_type(
        &mut self,
        actor: &Actor,
        name: &str,
    ) -> Result<Reply, Rejection> {
        actor.server_only()?;
        self.types.get(name)?;
        let used = self
            .channels
            .iter()
            .any(|(_, channel)| channel.channel_type == name);
        if used {
            return Err(Rejection::input(format!(
                "channel type {name:?} still has channels"
            )));
        }
        self.types.remove(name);
        Ok(Reply::new(&Map::new()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::mock::engine::data::requests::Caller;
    use crate::mock::engine::test_support::{TestState, op, user};

    #[test]
    fn a_type_without_connect_events_counts_silently() {
        let mut stage = TestState::new();
        let create = op(
            "POST /channeltypes",
            json!({"name": "quiet", "connect_events": false}),
        );
        let answer = stage.apply(&Caller::Server, create.clone()).unwrap();
        assert_eq!(answer["connect_events"], false);
        assert_eq!(stage.apply(&Caller::Server, create).unwrap_err().code, 4);
        let (a, b) = (stage.connect("a"), stage.connect("b"));
        for (id, key) in [("a", a), ("b", b)] {
            let body = json!({"data": {"members": ["a", "b"]}, "watch": true, "state": true, "connection_id": stage.id(key)});
            let answer = stage.channel(&user(id), "quiet:x", body).unwrap();
            assert_eq!(answer["channel"]["config"]["connect_events"], false);
        }
        assert_eq!(stage.heard(a), ["notification.added_to_channel a"]);
        let delete = op("DELETE /channeltypes/quiet", json!({}));
        assert_eq!(stage.apply(&Caller::Server, delete).unwrap_err().code, 4);
    }

    #[test]
    fn types_are_changed_by_the_server_side_only() {
        let mut stage = TestState::new();
        let update = |value: Value| op("PUT /channeltypes/team", json!({"typing_events": value}));
        assert_eq!(
            stage
                .apply(&user("a"), update(json!(false)))
                .unwrap_err()
                .code,
            17
        );
        assert_eq!(
            stage
                .apply(&Caller::Server, update(json!("no")))
                .unwrap_err()
                .code,
            4
        );
        let answer = stage.apply(&Caller::Server, update(json!(false))).unwrap();
        assert_eq!(answer["typing_events"], false);
        let unknown = op("GET /channeltypes/ghost", json!({}));
        assert_eq!(stage.apply(&Caller::Server, unknown).unwrap_err().code, 16);
    }
}
