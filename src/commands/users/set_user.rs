//! `set-user`: changes users, keeping what is not named, and creates those that do not exist.
//!
//! The service has two calls. One replaces a user whole and creates those who do not exist; the other changes what it
//! is told and refuses users who do not exist. Only the second is used on users who exist, so that nothing is lost; a
//! batch is sent to it at once, and only when it is refused is the service asked who is missing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{ApiError, Client, UserPatch};
use crate::app::App;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::fields::{Changes, FieldArgs};
use crate::commands::ids::{IdArgs, next_batch, summarize_ids};
use crate::commands::rate_limiter::RateLimiter;
use crate::commands::user_lookup::users_by_id;
use crate::commands::users::bulk::{Bulk, Undo, done_already, read_aside};
use crate::domain::time::parse_duration;
use crate::domain::{User, UserId};
use crate::exit::{Code, Failure};

/// The budgets that the calls here count against, by the service's names.
pub(super) const PATCH: &str = "UpdateUsersPartial";
/// See [`PATCH`].
pub(super) const UPSERT: &str = "UpdateUsers";
/// See [`PATCH`].
pub(super) const QUERY: &str = "QueryUsers";

/// Flags of `set-user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is not named stays as it is. Without anything to set, the users are only created where they do not exist.
Prints each user as changed.

Examples:
  presencectl set-user unique_user_id --invisible --status 'Eating a veggie burger...'
  presencectl set-user john --visible --clear-status
  presencectl set-user --in @team.txt --set color=green --set-json level=3 --verify
  presencectl set-user john --set privacy_settings.x=y --unset old_field --must-exist
  presencectl set-user --in @support.txt --invisible --for 1h
  presencectl set-user --in @100k.txt --status x --journal done.txt --continue-on-error --failed failed.txt")]
pub struct SetUserArgs {
    /// Which users
    #[command(flatten)]
    pub users: IdArgs,

    /// Hide the users: everybody else sees them as offline
    #[arg(long, conflicts_with = "visible")]
    pub invisible: bool,

    /// Stop hiding the users
    #[arg(long)]
    pub visible: bool,

    /// Set the status text
    #[arg(long, value_name = "TEXT", conflicts_with = "clear_status")]
    pub status: Option<String>,

    /// Remove the status text
    #[arg(long)]
    pub clear_status: bool,

    /// Set the display name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Set the address of the image
    #[arg(long, value_name = "URL")]
    pub image: Option<String>,

    /// Set the role, such as user or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Fields of any other name
    #[command(flatten)]
    pub fields: FieldArgs,

    /// Refuse users that do not exist instead of creating them
    #[arg(long)]
    pub must_exist: bool,

    /// Read the users back and fail unless they are as they should be
    #[arg(long)]
    pub verify: bool,

    /// Leave users alone that are as they should be already
    #[arg(long)]
    pub if_changed: bool,

    /// Put the old values back after this long, and on Ctrl-C
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration, conflicts_with_all = ["journal", "verify"])]
    pub duration: Option<Duration>,

    /// Go on when users are refused; the exit code tells it at the end
    #[arg(long)]
    pub continue_on_error: bool,

    /// Write the users that were refused to this file, each under the reason, ready for --in @FILE
    #[arg(long, value_name = "FILE", requires = "continue_on_error", value_hint = clap::ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// Note in this file who is done, and leave out who is noted there: a run that was interrupted goes on
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub journal: Option<PathBuf>,
}

/// Changes the users and prints them.
///
/// # Errors
///
/// The flags contradict one another, the service refuses, a user who must exist does not, or a user read back differs.
pub async fn run(app: &App, args: &SetUserArgs) -> anyhow::Result<Code> {
    let changes = changes(args)?;
    app.confirm_change("change users")?;
    if app.is_dry_run() {
        return plan(app, args, &changes).await;
    }
    let mut rows = app.output().users(app.now())?;
    if args.users.list.is_none() && args.users.ids.len() == 1 {
        rows = rows.one();
    }
    let client = app.client().await?;
    let mut bulk = Bulk::new(app, args, &changes)?;
    let mut before = args.duration.map(|duration| (duration, Undo::default()));
    let mut ids = read_aside(args.users.clone());
    // Whatever ends it, what was changed for a while is put back, and what is known is kept.
    let ended = loop {
        let batch = match bulk.next_batch(&mut ids).await {
            Ok(Ok(batch)) if batch.is_empty() => break Ok(None),
            Ok(Ok(batch)) => batch,
            Ok(Err(code)) => break Ok(Some(code)),
            Err(error) => break Err(error),
        };
        let undo = before.as_mut().map(|(_, undo)| undo);
        match bulk.change(&client, &batch, undo, &mut rows).await {
            Ok(None) => {}
            ended => break ended,
        }
    };
    rows.finish()?;
    let ended = bulk.finish(ended)?;
    match before {
        Some((duration, undo)) => bulk.hold_and_restore(&client, duration, &undo, ended).await,
        None => bulk.conclude(ended),
    }
}

/// Prints what would be sent.
async fn plan(app: &App, args: &SetUserArgs, changes: &Changes) -> anyhow::Result<Code> {
    let mut rows = dry_run::rows(app)?;
    let client = app.client().await?;
    let mut pacer = RateLimiter::default();
    let done = done_already(args, changes)?;
    let mut ids = args
        .users
        .read()?
        .filter(|id| id.as_ref().map_or(true, |id| !done.contains(id.as_str())));
    loop {
        let batch = next_batch(&mut ids)?;
        if batch.is_empty() {
            break;
        }
        pacer.before(&client, QUERY).await;
        for request in planned(&client, &batch, changes, args).await? {
            rows.push(&request)?;
        }
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

fn changes(args: &SetUserArgs) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    if args.invisible || args.visible {
        changes.set("invisible", args.invisible)?;
    }
    if args.clear_status {
        changes.unset("status")?;
    }
    for (name, value) in [
        ("status", &args.status),
        ("name", &args.name),
        ("image", &args.image),
        ("role", &args.role),
    ] {
        if let Some(value) = value {
            changes.set(name, value.as_str())?;
        }
    }
    changes.add(&args.fields)?;
    Ok(changes)
}

/// Changes a batch, creating who is missing, and returns the users as the service shows them afterwards. The caller has
/// waited for the first call's turn: [`PATCH`] where there is anything to change, else [`QUERY`].
pub(super) async fn apply(
    client: &Client,
    pacer: &mut RateLimiter,
    batch: &[UserId],
    changes: &Changes,
    must_exist: bool,
) -> anyhow::Result<HashMap<String, User>> {
    let refusal = if changes.is_empty() {
        None
    } else {
        match client.patch_users(&patches(batch, changes)).await {
            Ok(users) => return Ok(keyed(users)),
            // Unknown users are refused like any other bad input, so who is missing has to be asked.
            Err(error @ ApiError::Refused(_)) => Some(error),
            Err(error) => return Err(named(error, batch)),
        }
    };
    if refusal.is_some() {
        pacer.before(client, QUERY).await;
    }
    let (mut known, missing) = split(client, batch).await?;
    if missing.is_empty() {
        return match refusal {
            None => Ok(known),
            Some(error) => Err(named(error, batch)),
        };
    }
    if must_exist {
        return Err(not_there(&missing).into());
    }
    pacer.before(client, UPSERT).await;
    let created = client
        .upsert_users(&new_users(&missing, changes))
        .await
        .with_context(|| format!("cannot create {}", summarize_ids(&missing)))?;
    let there: Vec<UserId> = batch
        .iter()
        .filter(|id| known.contains_key(id.as_str()))
        .cloned()
        .collect();
    if !changes.is_empty() && !there.is_empty() {
        pacer.before(client, PATCH).await;
        let changed = client
            .patch_users(&patches(&there, changes))
            .await
            .map_err(|error| named(error, &there))?;
        known.extend(keyed(changed));
    }
    known.extend(keyed(created));
    Ok(known)
}

/// What [`apply`] would send.
async fn planned(
    client: &Client,
    batch: &[UserId],
    changes: &Changes,
    args: &SetUserArgs,
) -> anyhow::Result<Vec<PlannedRequest>> {
    let (known, missing) = split(client, batch).await?;
    if args.must_exist && !missing.is_empty() {
        return Err(not_there(&missing).into());
    }
    let mut requests = Vec::new();
    if !missing.is_empty() {
        let users: Map<String, Value> = missing
            .iter()
            .zip(new_users(&missing, changes))
            .map(|(id, user)| (id.to_string(), Value::Object(user)))
            .collect();
        requests.push(PlannedRequest {
            method: "POST",
            path: "/users".to_owned(),
            body: json!({ "users": users }),
        });
    }
    let there: Vec<UserId> = batch
        .iter()
        .filter(|id| {
            known
                .get(id.as_str())
                .is_some_and(|user| !args.if_changed || changes.difference(user.fields()).is_some())
        })
        .cloned()
        .collect();
    if !changes.is_empty() && !there.is_empty() {
        requests.push(PlannedRequest {
            method: "PATCH",
            path: "/users".to_owned(),
            body: json!({ "users": patches(&there, changes) }),
        });
    }
    Ok(requests)
}

/// Reads a batch back and compares.
pub(super) async fn verified(
    client: &Client,
    batch: &[UserId],
    changes: &Changes,
) -> anyhow::Result<HashMap<String, User>> {
    let users = users_by_id(client, batch).await?;
    for id in batch {
        let difference = match users.get(id.as_str()) {
            Some(user) => changes.difference(user.fields()),
            None => Some("the user is not there".to_owned()),
        };
        if let Some(difference) = difference {
            return Err(Failure::new(
                Code::Unexpected,
                format!("the service accepted the change of {id}, yet read back {difference}"),
            )
            .hinted(format!(
                "look at it again in a moment: presencectl get-user {id}"
            ))
            .into());
        }
    }
    Ok(users)
}

async fn split(
    client: &Client,
    batch: &[UserId],
) -> anyhow::Result<(HashMap<String, User>, Vec<UserId>)> {
    let known = users_by_id(client, batch).await?;
    let missing = batch
        .iter()
        .filter(|id| !known.contains_key(id.as_str()))
        .cloned()
        .collect();
    Ok((known, missing))
}

fn patches(ids: &[UserId], changes: &Changes) -> Vec<UserPatch> {
    ids.iter()
        .map(|id| UserPatch {
            id: id.clone(),
            set: changes.set.clone(),
            unset: changes.unset.clone(),
        })
        .collect()
}

fn new_users(ids: &[UserId], changes: &Changes) -> Vec<Map<String, Value>> {
    ids.iter()
        .map(|id| {
            let mut user = Map::from_iter([("id".to_owned(), json!(id))]);
            user.extend(changes.as_new());
            user
        })
        .collect()
}

fn keyed(users: Vec<User>) -> HashMap<String, User> {
    users
        .into_iter()
        .map(|user| (user.id().to_owned(), user))
        .collect()
}

fn named(error: ApiError, ids: &[UserId]) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cannot change {}", summarize_ids(ids)))
}

fn not_there(missing: &[UserId]) -> Failure {
    let message = match missing {
        [one] => format!("there is no user {one}, and --must-exist forbids creating one"),
        many => format!(
            "there are no users {}, and --must-exist forbids creating them",
            summarize_ids(many)
        ),
    };
    Failure::new(Code::Refused, message).hinted("leave out --must-exist to create them")
}
