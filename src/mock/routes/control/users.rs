//! `/_mock/users/{id}/…`: people who come and go without a client.

use serde_json::{Map, Value, json};

use super::super::super::engine::{Caller, JsonObject, OperationRequest};
use super::super::super::error::Rejection;
use super::super::super::hub::Hub;
use super::super::super::url_path::decode_segment;

/// `POST /_mock/users/{id}/connect|disconnect|drop|toggle|set`, the last one with `set` (an object) and `unset` (names).
pub(crate) fn act(hub: &Hub, id: &str, action: &str, body: JsonObject) -> Result<Value, Rejection> {
    let id = decode_segment(id);
    match action {
        "connect" => hub.with(|state, now| {
            let key = state.connect_virtual(now, &id)?;
            Ok(json!({"connection_id": state.connection_id(key)}))
        }),
        "disconnect" => hub.with(|state, now| {
            let closed = state.disconnect_virtual(now, &id)?;
            Ok(json!({ "closed": closed }))
        }),
        "drop" => hub.with(|state, now| {
            let lost = state.lose_connections(now, &id)?;
            Ok(json!({ "lost": lost }))
        }),
        "toggle" => hub.with(|state, now| {
            let connected = state.toggle_virtual(now, &id)?;
            Ok(json!({ "connected": connected }))
        }),
        "set" => set(hub, &id, body),
        _ => Err(Rejection::not_found(format!(
            "a user can connect, disconnect, drop, toggle and set, not {action:?}"
        ))),
    }
}

/// Changes a user, who is created if there is none, by the rules of partial updates.
fn set(hub: &Hub, id: &str, mut body: JsonObject) -> Result<Value, Rejection> {
    let mut patch = Map::from_iter([("id".to_owned(), Value::from(id))]);
    for part in ["set", "unset"] {
        if let Some(value) = body.shift_remove(part) {
            patch.insert(part.to_owned(), value);
        }
    }
    if let Some((field, _)) = body.into_iter().next() {
        return Err(Rejection::field(field, "is not known here"));
    }
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
