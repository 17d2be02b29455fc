//! `--exec`: a command for each event, several at once, never two at once for one user.
//!
//! A hook that is slower than its user's changes does not get all of them: of what waits for one user only the newest
//! is kept once too much waits, and that is said. What hooks print goes to stderr, since stdout holds records.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::future::pending;
use std::process::{ExitStatus, Stdio};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::domain::Event;

/// How many events may wait before those of the same user are folded.
const WAITING: usize = 10_000;

/// The environment and the input of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    user: String,
    kind: String,
    online: Option<bool>,
    record: Vec<u8>,
}

impl Job {
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
pub(crate) struct Done {
    user: String,
    outcome: Result<ExitStatus, std::io::Error>,
}

impl Done {
    /// What went wrong, if anything did.
    pub(crate) fn failure(&self) -> Option<String> {
        let who = if self.user.is_empty() {
            String::new()
        } else {
            format!(" for {}", self.user)
        };
        match &self.outcome {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("the hook{who} failed: {status}")),
            Err(error) => Some(format!("the hook{who} could not be run: {error}")),
        }
    }
}

/// Which runs wait and which may start: the order, without the running.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Job>,
    busy: HashSet<String>,
    folded: u64,
}

impl Line {
    fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
        if self.waiting.len() > WAITING {
            self.fold();
        }
    }

    /// Keeps of each user's waiting runs the last one.
    fn fold(&mut self) {
        let before = self.waiting.len();
        let mut last: HashMap<String, usize> = HashMap::new();
        for (at, job) in self.waiting.iter().enumerate() {
            last.insert(job.user.clone(), at);
        }
        let mut at = 0;
        self.waiting.retain(|job| {
            let keep = job.user.is_empty() || last.get(&job.user) == Some(&at);
            at += 1;
            keep
        });
        self.folded += (before - self.waiting.len()) as u64;
    }

    /// The first run whose user has none under way.
    fn next(&mut self) -> Option<Job> {
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
    command: String,
    at_once: usize,
    line: Line,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("command", &self.command)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl Hooks {
    pub(crate) fn new(command: &str, at_once: usize) -> Self {
        Self {
            command: command.to_owned(),
            at_once,
            line: Line::default(),
            running: FuturesUnordered::new(),
        }
    }

    /// Queues a run.
    pub(crate) fn push(&mut self, job: Job) {
        self.line.push(job);
        self.start();
    }

    /// How many events were folded into later ones.
    pub(crate) const fn folded(&self) -> u64 {
        self.line.folded
    }

    /// Forgets the runs that have not begun.
    pub(crate) fn forget(&mut self) {
        self.line.waiting.clear();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.line.waiting.is_empty()
    }

    /// The next run that ends; waits for ever when there is none. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Done {
        self.start();
        match self.running.next().await {
            Some(done) => {
                self.line.busy.remove(&done.user);
                self.start();
                done
            }
            None => pending().await,
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.at_once {
            let Some(job) = self.line.next() else {
                return;
            };
            self.running.push(Box::pin(run(self.command.clone(), job)));
        }
    }
}

async fn run(command: String, job: Job) -> Done {
    let outcome = async {
        let mut child = shell(&command)
            .env("PRESENCECTL_USER_ID", value(&job.user).as_ref())
            .env("PRESENCECTL_TYPE", value(&job.kind).as_ref())
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
    Done {
        outcome: outcome.await,
        user: job.user,
    }
}

/// A text as the environment can hold it, which is without NUL. The record on the hook's input has it whole.
fn value(text: &str) -> Cow<'_, str> {
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

    fn job(user: &str, n: usize) -> Job {
        Job {
            user: user.to_owned(),
            kind: "x".to_owned(),
            online: None,
            record: n.to_string().into_bytes(),
        }
    }

    fn label(job: Option<Job>) -> Option<String> {
        job.map(|job| format!("{}{}", job.user, String::from_utf8_lossy(&job.record)))
    }

    #[test]
    fn one_user_has_one_run_at_a_time_and_others_need_not_wait() {
        let mut line = Line::default();
        for (user, n) in [("a", 1), ("a", 2), ("b", 1), ("", 1), ("", 2)] {
            line.push(job(user, n));
        }
        let next = |line: &mut Line| label(line.next());
        assert_eq!(next(&mut line).as_deref(), Some("a1"));
        assert_eq!(next(&mut line).as_deref(), Some("b1"));
        assert_eq!(next(&mut line).as_deref(), Some("1"));
        assert_eq!(
            next(&mut line).as_deref(),
            Some("2"),
            "nobody's wait for nobody"
        );
        assert_eq!(next(&mut line), None);
        line.busy.remove("a");
        assert_eq!(next(&mut line).as_deref(), Some("a2"));
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_survives() {
        let mut line = Line::default();
        for n in 0..=WAITING {
            line.push(job(if n % 2 == 0 { "a" } else { "b" }, n));
        }
        assert_eq!(line.waiting.len(), 2);
        assert_eq!(line.folded, WAITING as u64 - 1);
        assert_eq!(label(line.next()), Some(format!("b{}", WAITING - 1)));
        assert_eq!(label(line.next()), Some(format!("a{WAITING}")));
    }
}
