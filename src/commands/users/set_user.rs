//! `set-user`: changes the given fields of users, and creates users that do not exist.

use std::path::PathBuf;
use std::time::Duration;

use super::bulk::{Bulk, BulkOptions, ids_already_done, read_in_background};
use super::update::{UpdateOptions, requests};
use crate::api::QUERY_USERS;
use crate::commands::dry_run;
use crate::commands::fields::{FieldArgs, FieldChanges};
use crate::commands::ids::{IdArgs, next_batch};
use crate::commands::old_values::OldValues;
use crate::commands::rate_limiter::CallLimiters;
use crate::domain::time::parse_duration;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Fields that are not named stay as they are. With nothing to set, users that do not exist are created and the others
stay as they are. Prints each user after the change.

Examples:
  presencectl set-user unique_user_id --invisible --status 'Eating a veggie burger...'
  presencectl set-user john --visible --clear-status
  presencectl set-user --in @team.txt --set color=green --set-json level=3 --verify
  presencectl set-user john --set privacy_settings.x=y --unset old_field --must-exist
  presencectl set-user --in @support.txt --invisible --for 1h
  presencectl set-user --in @100k.txt --status x --journal done.txt --failed failed.txt")]
pub struct SetUserArgs {
    /// Users to change
    #[command(flatten)]
    pub users: IdArgs,

    /// Make the users invisible: others see them as offline
    #[arg(long, conflicts_with = "visible")]
    pub invisible: bool,

    /// Make the users visible again
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

    /// Set the URL of the image
    #[arg(long, value_name = "URL")]
    pub image: Option<String>,

    /// Set the role, such as user or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Other fields
    #[command(flatten)]
    pub fields: FieldArgs,

    /// Refuse users that do not exist instead of creating them
    #[arg(long)]
    pub must_exist: bool,

    /// Read the users back and fail if a value differs
    #[arg(long)]
    pub verify: bool,

    /// Skip users that already have these values
    #[arg(long)]
    pub if_changed: bool,

    /// Restore the old values after this time, or on Ctrl-C
    #[arg(long = "for", value_name = "DUR", value_parser = parse_duration, conflicts_with_all = ["journal", "verify"])]
    pub duration: Option<Duration>,

    /// Continue when users are refused; the exit code reports it at the end
    #[arg(long)]
    pub continue_on_error: bool,

    /// Write refused users and the reasons to this file, for --in @FILE
    #[arg(long, value_name = "FILE", requires = "continue_on_error", value_hint = clap::ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// Record finished users in this file and skip those in it, to resume a run
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub journal: Option<PathBuf>,
}

/// Changes the users and prints them.
///
/// # Errors
///
/// The flags contradict each other, the service refuses the request, a required user does not exist, or a user that was
/// read back differs.
pub async fn run(app: &App, args: &SetUserArgs) -> anyhow::Result<Code> {
    let changes = changes(args)?;
    app.confirm_change("change users")?;
    if app.is_dry_run() {
        return print_requests(app, args, &changes).await;
    }
    let mut rows = app.output().users(app.now())?;
    if args.users.list.is_none() && args.users.ids.len() == 1 {
        rows = rows.one();
    }
    let client = app.client().await?;
    let options = BulkOptions {
        update: update_options(args),
        reads_before: args.duration.is_some(),
        checkpoint: args.journal.clone(),
        continue_on_error: args.continue_on_error,
        failed: args.failed.clone(),
        shows_progress: args.users.list.is_some() && app.output().settings().quiet == 0,
    };
    let mut bulk = Bulk::new(app, &options, &changes)?;
    let mut restore = args
        .duration
        .map(|duration| (duration, OldValues::new(changes.clone())));
    let mut ids = read_in_background(args.users.clone());
    // Temporary changes are undone and finished users are recorded however the run ends.
    let ended = loop {
        let batch = match bulk.next_batch(&mut ids).await {
            Ok(Ok(batch)) if batch.is_empty() => break Ok(None),
            Ok(Ok(batch)) => batch,
            Ok(Err(code)) => break Ok(Some(code)),
            Err(error) => break Err(error),
        };
        let old_values = restore.as_mut().map(|(_, old_values)| old_values);
        match bulk.change(&client, &batch, old_values, &mut rows).await {
            Ok(None) => {}
            ended => break ended,
        }
    };
    // An error that comes first is the one to report, and none keeps the old values from being restored.
    let written = rows.finish();
    let finished = bulk.finish(&ended);
    let ended = ended.and_then(|code| written.and(finished).map(|()| code));
    match restore {
        Some((duration, old_values)) => {
            bulk.wait_and_restore(&client, duration, &old_values, ended)
                .await
        }
        None => bulk.conclude(ended),
    }
}

/// Prints the requests that would be sent.
async fn print_requests(
    app: &App,
    args: &SetUserArgs,
    changes: &FieldChanges,
) -> anyhow::Result<Code> {
    let mut rows = dry_run::rows(app)?;
    let client = app.client().await?;
    let mut limiter = CallLimiters::default();
    let done = ids_already_done(args.journal.as_deref(), changes)?;
    let mut ids = args
        .users
        .read()?
        .filter(|id| id.as_ref().map_or(true, |id| !done.contains(id.as_str())));
    loop {
        let batch = next_batch(&mut ids)?;
        if batch.is_empty() {
            break;
        }
        limiter.before(&client, QUERY_USERS).await;
        for request in requests(&client, &batch, changes, update_options(args)).await? {
            rows.push(&request)?;
        }
        rows.flush()?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

const fn update_options(args: &SetUserArgs) -> UpdateOptions {
    UpdateOptions {
        must_exist: args.must_exist,
        if_changed: args.if_changed,
        verify: args.verify,
    }
}

fn changes(args: &SetUserArgs) -> Result<FieldChanges, Failure> {
    let mut changes = FieldChanges::default();
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
