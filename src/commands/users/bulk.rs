//! A run over many users: within the rate limits, interruptible between two calls, and resumable.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::sleep;

use super::checkpoint::{Checkpoint, FailureList};
use super::update::{UpdateOptions, apply, verified};
use crate::api::{Client, QUERY_USERS, UPDATE_USERS_PARTIAL};
use crate::commands::fields::FieldChanges;
use crate::commands::ids::{BATCH, IdArgs};
use crate::commands::old_values::OldValues;
use crate::commands::rate_limiter::CallLimiters;
use crate::commands::user_lookup::{user_with_id_only, users_by_id};
use crate::domain::{User, UserId};
use crate::error_to_exit::code_of;
use crate::exit::{Code, Failure};
use crate::output::Rows;
use crate::settings::App;
use crate::signals::Signals;

/// The options of a run over many users.
#[derive(Debug)]
pub(super) struct BulkOptions {
    /// How each batch is changed.
    pub(super) update: UpdateOptions,
    /// Whether users are read before they are changed, to be restored later.
    pub(super) reads_before: bool,
    /// The file that records finished users, so that an interrupted run can be resumed.
    pub(super) checkpoint: Option<PathBuf>,
    /// Whether a refused user ends the run.
    pub(super) continue_on_error: bool,
    /// Where refused users are listed.
    pub(super) failed: Option<PathBuf>,
    /// Whether a progress line is shown on a terminal.
    pub(super) shows_progress: bool,
}

/// A run over many users.
pub(super) struct Bulk<'a> {
    app: &'a App,
    options: &'a BulkOptions,
    changes: &'a FieldChanges,
    limiter: CallLimiters,
    signals: Signals,
    bar: ProgressBar,
    checkpoint: Option<Checkpoint>,
    failures: Option<FailureList>,
    failed: u64,
    /// The code of the first refusal, which becomes the exit code.
    first_refusal: Option<Code>,
    unchanged: u64,
    skipped: u64,
}

impl<'a> Bulk<'a> {
    /// Opens the files of a run and starts listening for signals.
    pub(super) fn new(
        app: &'a App,
        options: &'a BulkOptions,
        changes: &'a FieldChanges,
    ) -> anyhow::Result<Self> {
        // First: from the moment the file exists, a signal must find a listener.
        let signals = Signals::listen()?;
        let checkpoint = options
            .checkpoint
            .as_deref()
            .map(|path| Checkpoint::open(path, &describe(changes)))
            .transpose()?;
        let failures = options
            .failed
            .as_deref()
            .map(FailureList::new)
            .transpose()?;
        Ok(Self {
            app,
            options,
            changes,
            limiter: CallLimiters::default(),
            signals,
            bar: progress(options),
            checkpoint,
            failures,
            failed: 0,
            first_refusal: None,
            unchanged: 0,
            skipped: 0,
        })
    }

    /// The next batch of users that are not finished yet, empty at the end; or the code of a signal.
    pub(super) async fn next_batch(
        &mut self,
        ids: &mut Receiver<Result<UserId, Failure>>,
    ) -> anyhow::Result<Result<Vec<UserId>, Code>> {
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH {
            let next = tokio::select! {
                biased;
                code = self.signals.next() => return Ok(Err(code)),
                next = ids.recv() => next,
            };
            let Some(id) = next.transpose()? else { break };
            if self
                .checkpoint
                .as_ref()
                .is_some_and(|checkpoint| checkpoint.has(&id))
            {
                self.skipped += 1;
            } else {
                batch.push(id);
            }
        }
        Ok(Ok(batch))
    }

    /// Changes a batch and prints it. Returns the code of a signal; after a signal the run starts nothing more.
    pub(super) async fn change(
        &mut self,
        client: &Client,
        batch: &[UserId],
        old_values: Option<&mut OldValues>,
        rows: &mut Rows<'_>,
    ) -> anyhow::Result<Option<Code>> {
        let mut old_values = old_values;
        let mut todo = vec![batch.to_vec()];
        while let Some(part) = todo.pop() {
            let first = if self.reads_first() {
                QUERY_USERS
            } else {
                UPDATE_USERS_PARTIAL
            };
            if let Some(code) = self.wait_for_rate_limit(client, first).await {
                return Ok(Some(code));
            }
            let work = change_part(
                self.app,
                client,
                &mut self.limiter,
                &part,
                self.changes,
                self.options.update,
                old_values.as_deref_mut(),
            );
            let (result, code) = finish_despite_signal(&mut self.signals, self.app, work).await?;
            match result {
                Ok(done) => self.done(&part, &done, rows)?,
                Err(error) if self.continues_after(&error) => match part.as_slice() {
                    [] => {}
                    [one] => self.refused(one, &error)?,
                    many => {
                        // One invalid user makes the service refuse the whole batch. Halving it finds that user in a
                        // few calls.
                        let (front, back) = many.split_at(many.len() / 2);
                        todo.push(back.to_vec());
                        todo.push(front.to_vec());
                    }
                },
                Err(error) => return Err(error),
            }
            if code.is_some() {
                return Ok(code);
            }
        }
        Ok(None)
    }

    /// Closes the files, and says what was skipped. `ended` is how the run ended.
    pub(super) fn finish(&mut self, ended: &anyhow::Result<Option<Code>>) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if let Some(failures) = self.failures.take() {
            failures.finish()?;
        }
        if self.skipped > 0 {
            self.app.output().status(&format!(
                "skipped {} that the journal lists as finished.",
                count_of_users(self.skipped)
            ));
        }
        if self.unchanged > 0 {
            self.app.output().status(&format!(
                "skipped {} that had the wanted values already.",
                count_of_users(self.unchanged)
            ));
        }
        if let (Ok(Some(_)), Some(checkpoint)) = (ended, &self.checkpoint) {
            self.app.output().hint(&format!(
                "{} users are finished; run the same command again to continue: --journal {}",
                checkpoint.len(),
                checkpoint.path().display()
            ));
        }
        Ok(())
    }

    /// The exit code of the run.
    pub(super) fn conclude(&self, ended: anyhow::Result<Option<Code>>) -> anyhow::Result<Code> {
        if let Some(code) = ended? {
            return Ok(code);
        }
        let Some(code) = self.first_refusal else {
            return Ok(Code::Ok);
        };
        let failure = Failure::new(
            code,
            format!("{} could not be changed", count_of_users(self.failed)),
        );
        Err(match &self.options.failed {
            Some(path) => failure.hinted(format!("retry them: --in @{}", path.display())),
            None => failure.hinted("write a list of them with --failed FILE"),
        }
        .into())
    }

    /// Waits, then restores the old values; at once if the run was interrupted or failed. A second signal ends it.
    pub(super) async fn wait_and_restore(
        &mut self,
        client: &Client,
        duration: Duration,
        old_values: &OldValues,
        ended: anyhow::Result<Option<Code>>,
    ) -> anyhow::Result<Code> {
        let mut ended = ended;
        if matches!(ended, Ok(None)) && !old_values.is_empty() {
            self.app.output().status(&format!(
                "the old values will be restored in {}, or on Ctrl-C.",
                humantime::format_duration(duration)
            ));
            tokio::select! {
                () = sleep(duration) => {}
                code = self.signals.next() => ended = Ok(Some(code)),
            }
        }
        let restored = tokio::select! {
            restored = old_values.restore(client, self.app.output()) => restored,
            code = self.signals.next() => {
                old_values.warn_skipped(self.app);
                return Ok(code);
            }
        };
        match restored {
            Ok(0) => {}
            Ok(restored) => self.app.output().status(&format!(
                "the old values of {} are restored.",
                count_of_users(restored)
            )),
            // The error that came first is the one to report.
            Err(error) if ended.is_err() => {
                let error = anyhow::Error::from(error);
                self.app.output().warn(&format!("{error:#}"));
            }
            Err(error) => return Err(error.into()),
        }
        self.conclude(ended)
    }

    fn reads_first(&self) -> bool {
        self.options.update.if_changed || self.options.reads_before || self.changes.is_empty()
    }

    /// Waits until an endpoint may be called, unless a signal comes first.
    async fn wait_for_rate_limit(
        &mut self,
        client: &Client,
        endpoint: &'static str,
    ) -> Option<Code> {
        tokio::select! {
            biased;
            code = self.signals.next() => Some(code),
            () = self.limiter.before(client, endpoint) => None,
        }
    }

    fn continues_after(&self, error: &anyhow::Error) -> bool {
        self.options.continue_on_error && code_of(error) == Code::Refused
    }

    fn done(&mut self, part: &[UserId], done: &Done, rows: &mut Rows<'_>) -> anyhow::Result<()> {
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.record(part.iter())?;
        }
        self.unchanged += done.unchanged;
        self.bar.inc(part.len() as u64);
        self.bar.suspend(|| {
            for user in &done.users {
                rows.push_user(user)?;
            }
            rows.flush()
        })
    }

    fn refused(&mut self, id: &UserId, error: &anyhow::Error) -> anyhow::Result<()> {
        self.failed += 1;
        self.first_refusal.get_or_insert_with(|| code_of(error));
        let reason = format!("{error:#}");
        if let Some(failures) = &mut self.failures {
            failures.add(id, &reason)?;
        }
        let output = self.app.output();
        self.bar.suspend(|| output.warn(&reason));
        Ok(())
    }
}

fn count_of_users(count: u64) -> String {
    match count {
        1 => "1 user".to_owned(),
        count => format!("{count} users"),
    }
}

/// Describes what a run does. A checkpoint file begins with it, so that another change does not resume from it.
fn describe(changes: &FieldChanges) -> String {
    let changes = json!({ "set": changes.set, "unset": changes.unset });
    format!("presencectl set-user {changes}")
}

/// The users that a checkpoint file lists as finished.
pub(super) fn ids_already_done(
    checkpoint: Option<&Path>,
    changes: &FieldChanges,
) -> anyhow::Result<HashSet<String>> {
    match checkpoint {
        Some(path) => Checkpoint::read(path, &describe(changes)),
        None => Ok(HashSet::new()),
    }
}

/// The users of a run, read on a thread of their own: a signal must be handled even while a pipe stays silent.
pub(super) fn read_in_background(users: IdArgs) -> Receiver<Result<UserId, Failure>> {
    let (sender, receiver) = mpsc::channel(4 * BATCH);
    std::thread::spawn(move || match users.read() {
        Ok(ids) => {
            for id in ids {
                // The receiver is gone once the run has ended.
                if sender.blocking_send(id).is_err() {
                    break;
                }
            }
        }
        Err(error) => {
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// The result of changing a part of a batch.
struct Done {
    users: Vec<User>,
    unchanged: u64,
}

async fn change_part(
    app: &App,
    client: &Client,
    limiter: &mut CallLimiters,
    part: &[UserId],
    changes: &FieldChanges,
    options: UpdateOptions,
    old_values: Option<&mut OldValues>,
) -> anyhow::Result<Done> {
    let mut todo = part.to_vec();
    let mut unchanged = 0;
    if options.if_changed || old_values.is_some() {
        let before = users_by_id(client, part).await?;
        if options.if_changed {
            todo.retain(|id| {
                let user = before.get(id.as_str());
                user.is_none_or(|user| changes.difference(user.fields()).is_some())
            });
            unchanged = (part.len() - todo.len()) as u64;
        }
        if let Some(old_values) = old_values {
            // Kept before the change: a lost response leaves open whether it was made.
            for id in &todo {
                let user = before.get(id.as_str()).map(User::fields);
                old_values.add(app.output(), id, user);
            }
        }
        if !todo.is_empty() {
            limiter
                .before(
                    client,
                    if changes.is_empty() {
                        QUERY_USERS
                    } else {
                        UPDATE_USERS_PARTIAL
                    },
                )
                .await;
        }
    }
    if todo.is_empty() {
        return Ok(Done {
            users: Vec::new(),
            unchanged,
        });
    }
    let mut users = apply(client, limiter, &todo, changes, options.must_exist).await?;
    if options.verify {
        limiter.before(client, QUERY_USERS).await;
        users = verified(client, &todo, changes).await?;
    }
    let users = todo
        .iter()
        .map(|id| {
            users
                .remove(id.as_str())
                .unwrap_or_else(|| user_with_id_only(id))
        })
        .collect();
    Ok(Done { users, unchanged })
}

/// Finishes work although a signal arrives, so that its outcome is known. A second signal ends it at once.
async fn finish_despite_signal<T>(
    signals: &mut Signals,
    app: &App,
    work: impl Future<Output = T>,
) -> anyhow::Result<(T, Option<Code>)> {
    let mut work = std::pin::pin!(work);
    let mut stop = None;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok((done, stop)),
            code = signals.next() => {
                if stop.is_some() {
                    return Err(Failure::new(code, "interrupted in the middle of a call").into());
                }
                app.output().status("finishing the current call; press Ctrl-C again to stop at once.");
                stop = Some(code);
            }
        }
    }
}

/// A progress line for a long list on a terminal.
fn progress(options: &BulkOptions) -> ProgressBar {
    if !options.shows_progress {
        return ProgressBar::hidden();
    }
    // The library hides it where stderr is not a terminal.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {human_pos} users, {per_sec}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.with_style(style)
}
