//! What a control request or a step of a scenario does to an application: users act, and events are sent.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::engine::{Caller, EventReceivers, JsonObject, OperationRequest};
use super::error::{Rejection, check_fields};
use super::hub::Hub;

/// Connects, disconnects, drops, toggles or changes a user, without a client. The body of `set` has `set` (an object) and
/// `unset` (names); those of the others are empty.
pub(crate) fn act_for_user(
    hub: &Hub,
    id: &str,
    action: &str,
    body: JsonObject,
) -> Result<Value, Rejection> {
    let known: &[&str] = match action {
        "set" => &["set", "unset"],
        _ => &[],
    };
    check_fields(&body, known)?;
    match action {
        "connect" => hub.with(|state, now| {
            let key = state.connect_virtual(now, id)?;
            Ok(json!({"connection_id": state.connection_id(key)}))
        }),
        "disconnect" => hub.with(|state, now| {
            let closed = state.disconnect_virtual(now, id)?;
            Ok(json!({ "closed": closed }))
        }),
        "drop" => hub.with(|state, now| {
            let lost = state.lose_connections(now, id)?;
            Ok(json!({ "lost": lost }))
        }),
        "toggle" => hub.with(|state, now| {
            let connected = state.toggle_virtual(now, id)?;
            Ok(json!({ "connected": connected }))
        }),
        "set" => set(hub, id, body),
        _ => Err(Rejection::not_found(format!(
            "a user can connect, disconnect, drop, toggle and set, not {action:?}"
        ))),
    }
}

/// Changes a user, who is created if there is none, by the rules of partial updates.
fn set(hub: &Hub, id: &str, body: JsonObject) -> Result<Value, Rejection> {
    let mut patch = Map::from_iter([("id".to_owned(), Value::from(id))]);
    patch.extend(body);
    let users = |users: Value| Map::from_iter([("users".to_owned(), users)]);
    let patch = OperationRequest::new("PATCH /users", users(json!([patch])));
    let create = OperationRequest::new("POST /users", users(json!({ id: { "id": id } })));
    let reply = hub.with(|state, now| {
        if !state.user_exists(id) {
            state.apply(now, &Caller::Server, create)?;
        }
        state.apply(now, &Caller::Server, patch)
    })?;
    let mut answer: Map<String, Value> =
        serde_json::from_str(&reply.body).expect("answers to updates are objects");
    Ok(answer
        .get_mut("users")
        .and_then(|users| users.get_mut(id))
        .map_or_else(|| json!({}), Value::take))
}

/// An event, or a text that need not be one, for a connection, a user, those who hear of a user, or those who watch a
/// channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlTrigger {
    #[serde(default)]
    event: Option<JsonObject>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    connection: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    subscribers: Option<String>,
    #[serde(default)]
    channel: Option<String>,
}

impl ControlTrigger {
    /// Checks what can be known without the state.
    ///
    /// # Errors
    ///
    /// There is neither or both of `event` and `text`, or no receiver.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        if self.event.is_some() == self.text.is_some() {
            return Err(Rejection::input(
                "exactly one of `event` and `text` is required",
            ));
        }
        let receivers = [
            &self.connection,
            &self.user,
            &self.subscribers,
            &self.channel,
        ];
        if receivers.iter().all(|receiver| receiver.is_none()) {
            return Err(Rejection::input(
                "at least one of `connection`, `user`, `subscribers` or `channel` is required",
            ));
        }
        Ok(())
    }
}

/// Sends an event, and says to how many connections.
pub(crate) fn trigger(hub: &Hub, trigger: ControlTrigger) -> Result<Value, Rejection> {
    trigger.check()?;
    let receivers = EventReceivers {
        connection: trigger.connection,
        user: trigger.user,
        subscribers: trigger.subscribers,
        channel: trigger.channel,
    };
    let sent = match (trigger.event, trigger.text) {
        (Some(event), _) => hub.with(|state, now| state.inject(now, &receivers, event))?,
        (None, text) => {
            let text = text.unwrap_or_default();
            hub.with(|state, _| state.inject_text(&receivers, text))?
        }
    };
    Ok(json!({ "sent": sent }))
}
