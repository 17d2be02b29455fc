//! Commands about channels, and the record of a channel with its members and watchers.

pub mod get_channel;
pub mod query_channels;
pub mod set_channel;

use serde_json::{Map, Value};

use crate::api::Member;
use crate::domain::User;

/// A channel object with its members and watchers, as far as they are known.
fn with_people(
    mut channel: Map<String, Value>,
    members: Option<Vec<Member>>,
    watchers: Option<Vec<User>>,
    watcher_count: Option<u64>,
) -> Map<String, Value> {
    if let Some(members) = members {
        let members = members.into_iter().map(member).collect();
        channel.insert("members".to_owned(), Value::Array(members));
    }
    if let Some(watchers) = watchers {
        let watchers = watchers.into_iter().map(user).collect();
        channel.insert("watchers".to_owned(), Value::Array(watchers));
    }
    if let Some(count) = watcher_count {
        channel.insert("watcher_count".to_owned(), Value::from(count));
    }
    channel
}

/// A membership whose user has the fields that every record guarantees.
fn member(member: Member) -> Value {
    let mut object = Map::new();
    if let Some(id) = member.user_id {
        object.insert("user_id".to_owned(), Value::from(id));
    }
    if let Some(member) = member.user {
        // In responses about several channels, only the user object has the id.
        object
            .entry("user_id")
            .or_insert_with(|| Value::from(member.id()));
        object.insert("user".to_owned(), user(member));
    }
    object.extend(member.other);
    Value::Object(object)
}

fn user(user: User) -> Value {
    Value::Object(user.normalized().fields().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn people_join_the_channel_and_are_complete() {
        let channel = Map::from_iter([("cid".to_owned(), json!("messaging:fun"))]);
        let members: Vec<Member> = serde_json::from_value(json!([
            {"user": {"id": "john", "online": true}, "channel_role": "channel_member"},
            {"user_id": "ghost"},
        ]))
        .unwrap();
        let record = with_people(channel, Some(members), Some(vec![]), Some(2));
        assert_eq!(
            Value::Object(record),
            json!({
                "cid": "messaging:fun",
                "members": [
                    {
                        "user_id": "john",
                        "user": {"id": "john", "online": true, "status": null, "last_active": null, "invisible": null},
                        "channel_role": "channel_member",
                    },
                    {"user_id": "ghost"},
                ],
                "watchers": [],
                "watcher_count": 2,
            })
        );
    }
}
