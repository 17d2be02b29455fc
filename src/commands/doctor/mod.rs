//! `doctor`: diagnoses connectivity and credentials, step by step, up to a received presence event.
//!
//! Each step is printed as a record when it is done. Steps that cannot run because an earlier one failed are printed as
//! skipped, so the list is always complete. The exit code is that of the first failure.

mod network;
mod presence_check;
mod report;

use tokio::signal;

use crate::api::Client;
use crate::error_to_exit::code_of;
use crate::exit::Code;
use crate::settings::App;
use presence_check::PresenceCheck;
use report::{DoctorReport, Step};

/// Flags of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
To check presence, two users are created; one connects while the other watches; then both are deleted. --no-changes and
--dry-run skip this part, and so does a protected profile without --yes.

Examples:
  presencectl doctor
  presencectl doctor -o json --jq 'select(.result == \"failed\")'
  presencectl doctor --no-changes -p prod")]
pub struct DoctorArgs {
    /// Skip the checks that create users
    #[arg(long)]
    pub no_changes: bool,
}

/// Runs all steps and prints a record for each.
///
/// # Errors
///
/// The output cannot be written. A failed step is a record and an exit code, not an error.
pub async fn run(app: &App, args: &DoctorArgs) -> anyhow::Result<Code> {
    let mut report = DoctorReport::new(app)?;
    match app.client().await {
        Ok(client) => {
            report.ok(Step::Configuration, describe(&client))?;
            if network::check(&mut report, &client).await? {
                check_presence(app, args, &mut report).await?;
            }
        }
        Err(error) => {
            report.failed(Step::Configuration, &error)?;
            // The network can be tried without credentials.
            if code_of(&error) == Code::NotAuthenticated
                && let Ok(client) = app.client_without_credentials()
            {
                network::check(&mut report, &client).await?;
            }
        }
    }
    report.finish()
}

fn describe(client: &Client) -> String {
    let settings = client.settings();
    let who = match settings.auth.user() {
        Some(user) => format!("as the user {user}"),
        None => "as the server".to_owned(),
    };
    format!("key {} at {}, {who}", settings.api_key, settings.base_url)
}

/// Runs the steps that need temporary users. The users are deleted in every case, also after Ctrl-C.
async fn check_presence(
    app: &App,
    args: &DoctorArgs,
    report: &mut DoctorReport<'_>,
) -> anyhow::Result<()> {
    let Some(server) = app.server_client().await? else {
        report.skip_rest("there is a user token and no API secret, which making users needs")?;
        return Ok(());
    };
    if let Err(error) = presence_check::try_credentials(&server).await {
        report.failed(Step::Credentials, &error)?;
        return Ok(());
    }
    report.ok(Step::Credentials, "the secret matches the key")?;
    if let Some(why) = why_not(app, args)? {
        report.skip_rest(why)?;
        return Ok(());
    }
    let mut users = PresenceCheck::new(server);
    let interrupted = tokio::select! {
        done = users.check(report) => done.map(|()| false)?,
        pressed = signal::ctrl_c() => pressed.map(|()| true)?,
    };
    users.remove(report).await?;
    if interrupted {
        report.end_with(Code::Interrupted);
    }
    Ok(())
}

/// The reason why nothing may be changed, if there is one.
fn why_not(app: &App, args: &DoctorArgs) -> anyhow::Result<Option<&'static str>> {
    Ok(if args.no_changes {
        Some("--no-changes was given")
    } else if app.is_dry_run() {
        Some("--dry-run was given")
    } else if app.is_protected()? && !app.assumes_yes() {
        Some("the profile is protected; --yes allows the changes")
    } else {
        None
    })
}
