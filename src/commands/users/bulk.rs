//! Changing a hundred thousand users: paced by the budget, interruptible between two calls, and resumable.
//!
//! What a change is, and how a batch of a hundred is changed, is `set-user`'s business.

use std::collections::HashSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::sleep;

use super::checkpoint::{Checkpoint, FailureList};
use super::set_user::{PATCH, QUERY, SetUserArgs, apply, verified};
use crate::api::{Client, UserPatch};
use crate::app::App;
use crate::commands::fields::Changes;
use crate::commands::ids::{BATCH, IdArgs, summarize_ids};
use crate::commands::rate_limiter::RateLimiter;
use crate::commands::user_lookup::{user_with_id_only, users_by_id};
use crate::domain::{User, UserId};
use crate::error_report::code_of;
use crate::exit::{Code, Failure};
use crate::output::Rows;
use crate::signals::Signals;

/// What puts users back to how they were.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<UserPatch>);

/// A run over many users.
pub(super) struct Bulk<'a> {
    app: &'a App,
    args: &'a SetUserArgs,
    changes: &'a Changes,
    pacer: RateLimiter,
    signals: Signals,
    bar: ProgressBar,
    journal: Option<Checkpoint>,
    failures: Option<FailureList>,
    failed: u64,
    /// The first refusal, which decides the exit code.
    first: Option<Code>,
    unchanged: u64,
    skipped: u64,
}

impl<'a> Bulk<'a> {
    /// Opens the files of a run and starts listening for its end.
    pub(super) fn new(
        app: &'a App,
        args: &'a SetUserArgs,
        changes: &'a Changes,
    ) -> anyhow::Result<Self> {
        // First, so that whoever sees the journal may end the run.
        let signals = Signals::listen()?;
        let journal = args
            .journal
            .as_deref()
            .map(|path| Checkpoint::open(path, &work(changes)))
            .transpose()?;
        let failures = args.failed.as_deref().map(FailureList::new).transpose()?;
        Ok(Self {
            app,
            args,
            changes,
            pacer: RateLimiter::default(),
            signals,
            bar: progress(app, args),
            journal,
            failures,
            failed: 0,
            first: None,
            unchanged: 0,
            skipped: 0,
        })
    }

    /// The next batch of users who are not done yet, empty at the end; or the code of a signal.
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
                .journal
                .as_ref()
                .is_some_and(|journal| journal.has(&id))
            {
                self.skipped += 1;
            } else {
                batch.push(id);
            }
        }
        Ok(Ok(batch))
    }

    /// Changes a batch and prints it. A code is that of a signal: nothing more is to be started.
    pub(super) async fn change(
        &mut self,
        client: &Client,
        batch: &[UserId],
        undo: Option<&mut Undo>,
        rows: &mut Rows<'_>,
    ) -> anyhow::Result<Option<Code>> {
        let mut undo = undo;
        let mut todo = vec![batch.to_vec()];
        while let Some(part) = todo.pop() {
            let first = if self.reads_first() { QUERY } else { PATCH };
            if let Some(code) = self.turn(client, first).await {
                return Ok(Some(code));
            }
            let noted = undo.as_ref().map_or(0, |undo| undo.0.len());
            let work = change_part(
                client,
                &mut self.pacer,
                &part,
                self.changes,
                self.args,
                undo.as_deref_mut(),
            );
            let (result, code) = finish_despite(&mut self.signals, self.app, work).await?;
            if let (Err(error), Some(undo)) = (&result, undo.as_deref_mut())
                && code_of(error) == Code::Refused
            {
                // Refused whole, so there is nothing of it to put back.
                undo.0.truncate(noted);
            }
            match result {
                Ok(done) => self.done(&part, &done, rows)?,
                Err(error) if self.is_to_be_noted(&error) => match part.as_slice() {
                    [] => {}
                    [one] => self.refused(one, &error)?,
                    many => {
                        // One bad user fails a batch whole: halves find him in a few calls.
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

    /// Closes the files. An error of the run stays one.
    pub(super) fn finish(
        &mut self,
        ended: anyhow::Result<Option<Code>>,
    ) -> anyhow::Result<anyhow::Result<Option<Code>>> {
        self.bar.finish_and_clear();
        if let Some(failures) = self.failures.take() {
            failures.finish()?;
        }
        if self.skipped > 0 {
            self.app.output().status(&format!(
                "{} users were done already, by the journal.",
                self.skipped
            ));
        }
        if self.unchanged > 0 {
            self.app.output().status(&format!(
                "{} users are as they should be and were left alone.",
                self.unchanged
            ));
        }
        if let (Ok(Some(_)), Some(journal)) = (&ended, &self.journal) {
            let path = self.args.journal.as_deref().unwrap_or_else(|| "".as_ref());
            self.app.output().hint(&format!(
                "{} users are done; the same command goes on from there, by --journal {}",
                journal.len(),
                path.display()
            ));
        }
        Ok(ended)
    }

    /// What the run ends with.
    pub(super) fn conclude(&self, ended: anyhow::Result<Option<Code>>) -> anyhow::Result<Code> {
        if let Some(code) = ended? {
            return Ok(code);
        }
        let Some(code) = self.first else {
            return Ok(Code::Ok);
        };
        let failure = Failure::new(code, format!("{} users could not be changed", self.failed));
        Err(match &self.args.failed {
            Some(path) => failure.hinted(format!("try them again: --in @{}", path.display())),
            None => failure.hinted("keep a list of them with --failed FILE"),
        }
        .into())
    }

    /// Waits, then puts the old values back; at once where the run did not get through.
    pub(super) async fn hold_and_restore(
        &mut self,
        client: &Client,
        duration: Duration,
        undo: &Undo,
        ended: anyhow::Result<Option<Code>>,
    ) -> anyhow::Result<Code> {
        let mut ended = ended;
        if matches!(ended, Ok(None)) && !undo.0.is_empty() {
            self.app.output().status(&format!(
                "the old values come back in {}, or on Ctrl-C.",
                humantime::format_duration(duration)
            ));
            tokio::select! {
                () = sleep(duration) => {}
                code = self.signals.next() => ended = Ok(Some(code)),
            }
        }
        let mut left: Vec<&str> = Vec::new();
        let mut last = None;
        for patches in undo.0.chunks(BATCH) {
            self.pacer.before(client, PATCH).await;
            if let Err(error) = client.patch_users(patches).await {
                left.extend(patches.iter().map(|patch| patch.id.as_str()));
                last = Some(error);
            }
        }
        if let Some(error) = last {
            return Err(anyhow::Error::from(error).context(format!(
                "cannot put the old values of {} back",
                summarize_ids(&left)
            )));
        }
        self.app.output().status(&format!(
            "the old values of {} users are back.",
            undo.0.len()
        ));
        self.conclude(ended)
    }

    fn reads_first(&self) -> bool {
        self.args.if_changed || self.args.duration.is_some() || self.changes.is_empty()
    }

    /// Waits for a call's turn, unless a signal comes first.
    async fn turn(&mut self, client: &Client, endpoint: &'static str) -> Option<Code> {
        tokio::select! {
            biased;
            code = self.signals.next() => Some(code),
            () = self.pacer.before(client, endpoint) => None,
        }
    }

    fn is_to_be_noted(&self, error: &anyhow::Error) -> bool {
        self.args.continue_on_error && code_of(error) == Code::Refused
    }

    fn done(&mut self, part: &[UserId], done: &Done, rows: &mut Rows<'_>) -> anyhow::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.note(part.iter())?;
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
        self.first.get_or_insert_with(|| code_of(error));
        let reason = format!("{error:#}");
        if let Some(failures) = &mut self.failures {
            failures.add(id, &reason)?;
        }
        let output = self.app.output();
        self.bar.suspend(|| output.warn(&reason));
        Ok(())
    }
}

/// What a run does, in the words by which its journal knows it.
fn work(changes: &Changes) -> String {
    let work = json!({ "set": changes.set, "unset": changes.unset });
    format!("presencectl set-user {work}")
}

/// Who needs nothing any more, by the journal of the run.
pub(super) fn done_already(
    args: &SetUserArgs,
    changes: &Changes,
) -> anyhow::Result<HashSet<String>> {
    match &args.journal {
        Some(path) => Checkpoint::look(path, &work(changes)),
        None => Ok(HashSet::new()),
    }
}

/// The users of a run, read on a thread of their own: a pipe that says nothing must not keep a signal from being heard.
pub(super) fn read_aside(users: IdArgs) -> Receiver<Result<UserId, Failure>> {
    let (sender, receiver) = mpsc::channel(4 * BATCH);
    std::thread::spawn(move || match users.read() {
        Ok(ids) => {
            for id in ids {
                // Nobody listens any more once the run has ended.
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

/// What became of a part of a batch.
struct Done {
    users: Vec<User>,
    unchanged: u64,
}

async fn change_part(
    client: &Client,
    pacer: &mut RateLimiter,
    part: &[UserId],
    changes: &Changes,
    args: &SetUserArgs,
    undo: Option<&mut Undo>,
) -> anyhow::Result<Done> {
    let mut todo = part.to_vec();
    let mut unchanged = 0;
    if args.if_changed || undo.is_some() {
        let before = users_by_id(client, part).await?;
        if args.if_changed {
            todo.retain(|id| {
                let user = before.get(id.as_str());
                user.is_none_or(|user| changes.difference(user.fields()).is_some())
            });
            unchanged = (part.len() - todo.len()) as u64;
        }
        if let Some(undo) = undo {
            // Noted before the change: an answer that is lost on the way leaves open whether it was made.
            undo.0.extend(todo.iter().filter_map(|id| {
                let back = changes.undo(before.get(id.as_str()).map(User::fields));
                (!back.is_empty()).then(|| UserPatch {
                    id: id.clone(),
                    set: back.set,
                    unset: back.unset,
                })
            }));
        }
        if !todo.is_empty() {
            pacer
                .before(client, if changes.is_empty() { QUERY } else { PATCH })
                .await;
        }
    }
    if todo.is_empty() {
        return Ok(Done {
            users: Vec::new(),
            unchanged,
        });
    }
    let mut users = apply(client, pacer, &todo, changes, args.must_exist).await?;
    if args.verify {
        pacer.before(client, QUERY).await;
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

/// Carries work through although a signal comes, so that it is known whether it was done; a second signal ends it.
async fn finish_despite<T>(
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
                    return Err(Failure::new(code, "ended in the middle of a call").into());
                }
                app.output().status("finishing the call that is under way; once more ends at once.");
                stop = Some(code);
            }
        }
    }
}

/// A bar for somebody who watches a list being worked through, and nothing for anybody else.
fn progress(app: &App, args: &SetUserArgs) -> ProgressBar {
    if args.users.list.is_none() || app.output().settings().quiet > 0 {
        return ProgressBar::hidden();
    }
    // Hidden by itself where stderr is no terminal.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {human_pos} users, {per_sec}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.with_style(style)
}
