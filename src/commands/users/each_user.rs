//! Sends one request per user in sequence: code shared by deactivate, reactivate, delete and restore.

use std::collections::HashSet;

use anyhow::Context;

use crate::api::Request;
use crate::commands::confirm::confirm;
use crate::commands::dry_run;
use crate::commands::ids::summarize_ids;
use crate::commands::user_lookup::{user_with_id_only, users_by_id};
use crate::domain::UserId;
use crate::exit::Code;
use crate::settings::App;

/// A change that is applied to users one by one.
pub(super) struct EachUser<'a> {
    /// The change as an infinitive for questions and errors, such as `deactivate`.
    pub(super) verb: &'a str,
    /// The users to change. Who is named twice is changed once.
    pub(super) ids: &'a [UserId],
    /// Whether to ask before the change.
    pub(super) asks_first: bool,
    /// Additional columns of the output.
    pub(super) columns: &'a [&'a str],
    /// Whether to read each user afterwards, because the response does not contain them.
    pub(super) reads_back: bool,
}

impl EachUser<'_> {
    /// Confirms, then sends one request per user and prints each user. With `--dry-run`, prints the requests instead.
    ///
    /// # Errors
    ///
    /// The confirmation is missing, or the service refuses a user. Earlier users are already changed and printed.
    pub(super) async fn run(
        &self,
        app: &App,
        request: impl Fn(&UserId) -> Request,
    ) -> anyhow::Result<Code> {
        let verb = self.verb;
        let mut seen = HashSet::new();
        let ids: Vec<&UserId> = self.ids.iter().filter(|id| seen.insert(*id)).collect();
        if app.is_dry_run() {
            match ids[..] {
                [id] => dry_run::print_one(app, &request(id))?,
                _ => dry_run::print(app, ids.into_iter().map(request))?,
            }
            return Ok(Code::Ok);
        }
        // Before the question, so that a mistake in `--columns` is reported first.
        let mut rows = app.output().users_with(app.now(), self.columns)?;
        if ids.len() == 1 {
            rows = rows.one();
        }
        app.confirm_change(&format!("{verb} users"))?;
        if self.asks_first {
            confirm(app, &format!("{verb} {}", summarize_ids(&ids)))?;
        }
        let client = app.client().await?;
        for id in ids {
            let mut user = client
                .change_user(&request(id))
                .await
                .with_context(|| format!("cannot {verb} {id}"))?;
            if self.reads_back {
                let mut found = users_by_id(&client, std::slice::from_ref(id)).await?;
                user = found.remove(id.as_str());
            }
            rows.push_user(&user.unwrap_or_else(|| user_with_id_only(id)))?;
            rows.flush()?;
        }
        rows.finish()?;
        Ok(Code::Ok)
    }
}
