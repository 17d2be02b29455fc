//! `--dry-run` of everything that watches: what a stream would change about the application, without connecting.
//!
//! Watching subscribes, which changes nothing and is no part of a plan. What does change something is the observer, who
//! may have to be made or made an admin, his connecting, and a channel that is to be created.

use crate::api::ApiError;
use crate::app::App;
use crate::commands::dry_run;
use crate::domain::ApiErrorCode;
use crate::events::WatchTarget;
use crate::exit::Code;

/// Prints what watching this target would change.
///
/// # Errors
///
/// No credentials, or the service does not answer.
pub(crate) async fn print(app: &App, target: &WatchTarget) -> anyhow::Result<Code> {
    let (server, observer) = crate::stream::observer(app).await?;
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
    app.output()
        .status("subscribing to what follows changes nothing.");
    Ok(Code::Ok)
}
