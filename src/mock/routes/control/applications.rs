//! `/_mock/apps`: the applications of the server. These requests are for all of them, whatever API key they have.

use serde_json::{Value, json};

use super::super::super::applications::ApplicationRegistry;
use super::super::super::engine::ServiceState;
use super::super::super::error::Rejection;
use super::super::super::url_path::decode_segment;

/// `GET /_mock/apps`: the applications without their secrets; the default one comes first.
pub(super) fn list(applications: &ApplicationRegistry) -> Value {
    let first = applications.first();
    let listed: Vec<Value> = applications
        .list()
        .iter()
        .map(|hub| {
            let stats = hub.with(|state, _| ServiceState::stats(state));
            json!({
                "api_key": hub.options.api_key,
                "first": hub.options.api_key == first.options.api_key,
                "users": stats.users,
                "channels": stats.channels,
                "connections": stats.connections,
            })
        })
        .collect();
    json!({ "apps": listed })
}

/// `POST /_mock/apps`: creates an application.
pub(super) fn create(applications: &ApplicationRegistry) -> Result<Value, Rejection> {
    let options = &applications.create()?.options;
    Ok(json!({"api_key": options.api_key, "api_secret": options.secret.reveal()}))
}

/// `DELETE /_mock/apps/{api_key}`: deletes an application and closes its connections.
pub(super) fn delete(
    applications: &ApplicationRegistry,
    api_key: &str,
) -> Result<Value, Rejection> {
    let api_key = decode_segment(api_key);
    let closed = applications.delete(&api_key)?;
    Ok(json!({"api_key": api_key, "closed": closed}))
}
