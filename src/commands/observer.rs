//! The observer that watching commands connect as, and its entry in `--dry-run`.

use crate::api::{ApiError, Client};
use crate::commands::dry_run;
use crate::domain::ApiErrorCode;
use crate::events::{Observer, WatchTarget};
use crate::exit::Code;
use crate::settings::{App, DEFAULT_TIMEOUT};

/// The observer's id, and the client that watches as the observer.
///
/// # Errors
///
/// Credentials are missing. Or the profile is protected, the observer must be created, and `--yes` is missing.
pub(crate) async fn resolve(app: &App) -> anyhow::Result<(Client, Observer)> {
    let user = app.observer().await?;
    let is_dedicated = app.acting_as().is_none();
    let (client, observer) = match app.server_client().await? {
        Some(server) if is_dedicated => (server, Observer::Dedicated(user)),
        Some(server) => (server, Observer::Existing(user)),
        None => (app.client().await?, Observer::Existing(user)),
    };
    match &observer {
        Observer::Existing(user) => app.output().status(&format!(
            "watching as {user}; this user is online until the command ends."
        )),
        // Watching needs no confirmation. Making a user an admin in a protected application does, once.
        Observer::Dedicated(user) if app.is_protected()? => {
            if observer.preparation(&client).await?.is_some() {
                app.confirm_change(&format!("make the observer {user} an admin"))?;
            }
        }
        Observer::Dedicated(_) => {}
    }
    // Here `--timeout` limits the whole run, not each call.
    Ok((client.with_timeout(DEFAULT_TIMEOUT), observer))
}

/// Prints the requests with which watching would change the application: creating the observer or giving it the role
/// admin, connecting it, and creating a channel. Subscribing changes nothing.
///
/// # Errors
///
/// Credentials are missing, or the service does not answer.
pub(crate) async fn print_plan(app: &App, target: &WatchTarget) -> anyhow::Result<Code> {
    let (server, observer) = resolve(app).await?;
    let mut requests = Vec::new();
    requests.extend(observer.preparation(&server).await?);
    if let (Some(create), Some(cid)) = (&target.create, target.channels.first()) {
        match server.get_channel(cid).await {
            Ok(_) => {}
            Err(ApiError::Refused(refusal)) if refusal.code == ApiErrorCode::NotFound => {
                requests.push(create.request(&server, cid, &observer));
            }
            Err(error) => return Err(error.into()),
        }
    }
    requests.push(observer.identity().request());
    dry_run::print(app, requests)?;
    app.output().status("subscribing changes nothing.");
    Ok(Code::Ok)
}
