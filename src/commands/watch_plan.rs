//! `--dry-run` of everything that watches: what a stream would change about the application, without connecting.
//!
//! Watching subscribes, which changes nothing and is no part of a plan. What does change something is the observer, who
//! may have to be made or made an admin, his connecting, and a channel that is to be created.

use serde_json::{Map, json};

use crate::api::{ApiError, Client};
use crate::app::App;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::user_lookup::users_by_id;
use crate::domain::{ApiErrorCode, Cid, UserId};
use crate::events::{ChannelSpec, Observer, WatchTarget};
use crate::exit::Code;

/// Prints what watching this target would change.
///
/// # Errors
///
/// No credentials, or the service does not answer.
pub(crate) async fn print(app: &App, target: &WatchTarget) -> anyhow::Result<Code> {
    let mut rows = dry_run::rows(app)?;
    let (server, observer) = crate::stream::observer(app).await?;
    let mut hello = Map::from_iter([("id".to_owned(), json!(observer.user()))]);
    if let Observer::Dedicated(user) = &observer {
        hello.insert("invisible".to_owned(), true.into());
        if let Some(change) = preparation(&server, user).await? {
            rows.push(&change)?;
        }
    }
    if let (Some(create), Some(cid)) = (&target.create, target.channels.first())
        && let Some(change) = creation(&server, &observer, cid, create).await?
    {
        rows.push(&change)?;
    }
    rows.push(&PlannedRequest {
        method: "GET",
        path: "/connect".to_owned(),
        body: json!({ "user_details": hello }),
    })?;
    rows.finish()?;
    app.output()
        .status("what follows only looks: subscribing changes nothing.");
    Ok(Code::Ok)
}

/// What makes the observer an admin, if he is none.
pub(crate) async fn preparation(
    server: &Client,
    user: &UserId,
) -> anyhow::Result<Option<PlannedRequest>> {
    let found = users_by_id(server, std::slice::from_ref(user)).await?;
    Ok(match found.get(user.as_str()) {
        Some(found) if found.role() == Some("admin") => None,
        Some(_) => Some(PlannedRequest {
            method: "PATCH",
            path: "/users".to_owned(),
            body: json!({ "users": [{ "id": user, "set": { "role": "admin" } }] }),
        }),
        None => Some(PlannedRequest {
            method: "POST",
            path: "/users".to_owned(),
            body: json!({ "users": { user.as_str(): {
                "id": user, "role": "admin", "name": "presencectl observer",
            } } }),
        }),
    })
}

/// What creates the channel, if it does not exist.
async fn creation(
    server: &Client,
    observer: &Observer,
    cid: &Cid,
    create: &ChannelSpec,
) -> Result<Option<PlannedRequest>, ApiError> {
    match server.get_channel(cid).await {
        Ok(_) => return Ok(None),
        Err(ApiError::Refused(refusal)) if refusal.code == ApiErrorCode::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut data = create.data.clone();
    data.insert("members".to_owned(), json!(create.members));
    if server.settings().auth.user().is_none() {
        data.insert("created_by_id".to_owned(), json!(observer.user()));
    }
    let Cid { channel_type, id } = cid;
    Ok(Some(PlannedRequest {
        method: "POST",
        path: format!("/channels/{channel_type}/{id}/query"),
        body: json!({ "data": data }),
    }))
}
