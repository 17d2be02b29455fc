//! Hooks (`--exec`): a command for each event. Several run at once, but never two for one user.
//!
//! If too many events wait, only the latest of each user is kept, and a warning says so at the end. What hooks print
//! goes to stderr, since stdout holds records.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::pending;
use std::io;
use std::process::{ExitStatus, Stdio};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::domain::Event;
use crate::domain::coalesce::{CoalesceRule, keep_latest};

/// How many events may wait before those of the same user are coalesced.
const HOOK_QUEUE_LIMIT: usize = 10_000;

/// What hooks run, and how.
#[derive(Debug, Clone)]
pub struct HookOptions {
    /// The command, for the shell.
    pub command: String,
    /// How many run at once.
    pub max_running: usize,
    /// Whether a hook that fails ends the stream.
    pub fail_stream: bool,
}

/// The environment and the input of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookJob {
    /// The id of the user; empty for an event about nobody.
    user: String,
    kind: String,
    online: Option<bool>,
    record: Vec<u8>,
}

impl HookJob {
    /// The run for an event that is written as `record`.
    pub(crate) fn new(event: &Event<'_>, record: &[u8]) -> Self {
        let user = event.user.as_ref();
        Self {
            user: user.map_or(String::new(), |user| user.id.clone().into_owned()),
            kind: event.kind.clone().into_owned(),
            online: user.and_then(|user| user.online),
            record: record.to_vec(),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct HookOutcome {
    user: String,
    status: io::Result<ExitStatus>,
}

impl HookOutcome {
    /// What went wrong; `None` after a success.
    pub(crate) fn failure(&self) -> Option<String> {
        let whose = if self.user.is_empty() {
            String::new()
        } else {
            format!(" for {}", self.user)
        };
        match &self.status {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("the hook{whose} failed: {status}")),
            Err(error) => Some(format!("the hook{whose} could not be run: {error}")),
        }
    }
}

/// The runs that wait, and which of them may start.
#[derive(Debug, Default)]
struct HookQueue {
    waiting: VecDeque<HookJob>,
    /// Users who have a run under way.
    busy: HashSet<String>,
    coalesced: u64,
}

impl HookQueue {
    fn push(&mut self, job: HookJob) {
        self.waiting.push_back(job);
        if self.waiting.len() > HOOK_QUEUE_LIMIT {
            let removed = keep_latest(&mut self.waiting, |job| {
                if job.user.is_empty() {
                    CoalesceRule::Keep
                } else {
                    CoalesceRule::KeepLatestOf(job.user.clone())
                }
            });
            self.coalesced += removed as u64;
        }
    }

    /// Removes and returns the first run whose user has none under way.
    fn pop_ready(&mut self) -> Option<HookJob> {
        let at = self
            .waiting
            .iter()
            .position(|job| job.user.is_empty() || !self.busy.contains(&job.user))?;
        let job = self.waiting.remove(at)?;
        if !job.user.is_empty() {
            self.busy.insert(job.user.clone());
        }
        Some(job)
    }
}

/// The hooks of a stream.
pub(crate) struct Hooks {
    options: HookOptions,
    queue: HookQueue,
    running: FuturesUnordered<BoxFuture<'static, HookOutcome>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("options", &self.options)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl Hooks {
    pub(crate) fn new(options: HookOptions) -> Self {
        Self {
            options,
            queue: HookQueue::default(),
            running: FuturesUnordered::new(),
        }
    }

    /// Whether a hook that fails ends the stream.
    pub(crate) const fn fail_stream(&self) -> bool {
        self.options.fail_stream
    }

    /// Queues a run.
    pub(crate) fn push(&mut self, job: HookJob) {
        self.queue.push(job);
        self.start();
    }

    /// How many events were dropped in favour of later ones about the same users.
    pub(crate) const fn coalesced(&self) -> u64 {
        self.queue.coalesced
    }

    /// Drops the runs that have not started.
    pub(crate) fn cancel_waiting(&mut self) {
        self.queue.waiting.clear();
    }

    /// Whether no hook runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.queue.waiting.is_empty()
    }

    /// Waits for the next run that ends; for ever when there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> HookOutcome {
        self.start();
        match self.running.next().await {
            Some(outcome) => {
                self.queue.busy.remove(&outcome.user);
                self.start();
                outcome
            }
            None => pending().await,
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.options.max_running {
            let Some(job) = self.queue.pop_ready() else {
                return;
            };
            let command = self.options.command.clone();
            self.running.push(Box::pin(run(command, job)));
        }
    }
}

async fn run(command: String, job: HookJob) -> HookOutcome {
    let status = async {
        let mut child = shell(&command)
            .env("PRESENCECTL_USER_ID", without_nul(&job.user).as_ref())
            .env("PRESENCECTL_TYPE", without_nul(&job.kind).as_ref())
            .env(
                "PRESENCECTL_ONLINE",
                job.online
                    .map_or("", |online| if online { "true" } else { "false" }),
            )
            .stdin(Stdio::piped())
            .stdout(to_stderr())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut line = job.record;
            line.push(b'\n');
            // A hook that does not read its input is free to ignore it.
            let _ = stdin.write_all(&line).await;
        }
        child.wait().await
    };
    HookOutcome {
        status: status.await,
        user: job.user,
    }
}

/// The text without NUL, which an environment variable cannot hold. The record on the hook's input is unchanged.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

#[cfg(unix)]
fn to_stderr() -> Stdio {
    use std::os::fd::AsFd;
    std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_or_else(|_| Stdio::null(), Stdio::from)
}

#[cfg(not(unix))]
fn to_stderr() -> Stdio {
    Stdio::null()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(user: &str, n: usize) -> HookJob {
        HookJob {
            user: user.to_owned(),
            kind: "x".to_owned(),
            online: None,
            record: n.to_string().into_bytes(),
        }
    }

    fn label(job: Option<HookJob>) -> Option<String> {
        job.map(|job| format!("{}{}", job.user, String::from_utf8_lossy(&job.record)))
    }

    #[test]
    fn one_user_has_one_run_at_a_time_and_others_need_not_wait() {
        let mut queue = HookQueue::default();
        for (user, n) in [("a", 1), ("a", 2), ("b", 1), ("", 1), ("", 2)] {
            queue.push(job(user, n));
        }
        let next = |queue: &mut HookQueue| label(queue.pop_ready());
        assert_eq!(next(&mut queue).as_deref(), Some("a1"));
        assert_eq!(next(&mut queue).as_deref(), Some("b1"));
        assert_eq!(next(&mut queue).as_deref(), Some("1"));
        assert_eq!(
            next(&mut queue).as_deref(),
            Some("2"),
            "events about nobody do not wait for each other"
        );
        assert_eq!(next(&mut queue), None);
        queue.busy.remove("a");
        assert_eq!(next(&mut queue).as_deref(), Some("a2"));
    }

    #[test]
    fn the_queue_is_bounded_and_the_latest_event_survives() {
        let mut queue = HookQueue::default();
        for n in 0..=HOOK_QUEUE_LIMIT {
            queue.push(job(if n % 2 == 0 { "a" } else { "b" }, n));
        }
        assert_eq!(queue.waiting.len(), 2);
        assert_eq!(queue.coalesced, HOOK_QUEUE_LIMIT as u64 - 1);
        assert_eq!(
            label(queue.pop_ready()),
            Some(format!("b{}", HOOK_QUEUE_LIMIT - 1))
        );
        assert_eq!(
            label(queue.pop_ready()),
            Some(format!("a{HOOK_QUEUE_LIMIT}"))
        );
    }
}
