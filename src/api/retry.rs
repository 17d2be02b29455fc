//! Whether and when a failed call is repeated: a decision over plain data, made here and slept elsewhere.
//!
//! Only what is safe is repeated. A call that never left this machine, or that was turned away by a rate limit, was not
//! carried out and may always be sent again; trouble of the service itself, or a connection that broke, leaves open
//! whether it was, so only calls that do no harm twice are sent again then. Everything else is final.

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, iter};

use retry_policies::policies::ExponentialBackoff;
use retry_policies::{Jitter, RetryDecision, RetryPolicy};

/// The longest wait between two attempts where the service names none.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// The base of the growing wait.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Whether sending a call twice does the same as sending it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeatable {
    /// It does: reads, subscriptions, writes of given values.
    Yes,
    /// It does not, or the second answer would mislead.
    No,
}

/// What went wrong, as far as a repetition depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection, so nothing was sent.
    NotSent,
    /// The connection broke before the answer was complete.
    Broken,
    /// The service answered with this status.
    Status {
        /// The HTTP status.
        status: u16,
        /// How long the service asked to wait.
        wait: Option<Duration>,
        /// Whether the service says that repeating is useless.
        unrecoverable: bool,
    },
}

/// The bounds on repetition.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How often a call is repeated.
    pub retries: u32,
    /// The bound on a call with all its repetitions and waits.
    pub total: Duration,
}

impl Policy {
    /// The wait before the next attempt, or `None` when the trouble is final.
    ///
    /// `past` counts the repetitions so far and `elapsed` the time since the first attempt.
    pub fn wait(
        &self,
        trouble: Trouble,
        repeatable: Repeatable,
        past: u32,
        elapsed: Duration,
    ) -> Option<Duration> {
        let (safe, asked) = match trouble {
            Trouble::NotSent => (true, None),
            Trouble::Broken => (repeatable == Repeatable::Yes, None),
            Trouble::Status {
                unrecoverable: true,
                ..
            } => (false, None),
            Trouble::Status {
                status: 429, wait, ..
            } => (true, wait),
            Trouble::Status {
                // A time-out or an internal error of the service, or of what stands in front of it.
                status: 408 | 500 | 502..=504,
                wait,
                ..
            } => (repeatable == Repeatable::Yes, wait),
            Trouble::Status { .. } => (false, None),
        };
        let backoff = self.backoff(past)?;
        let wait = asked.unwrap_or(backoff);
        // Waiting beyond the bound would only delay the bad news.
        (safe && elapsed.saturating_add(wait) < self.total).then_some(wait)
    }

    fn backoff(&self, past: u32) -> Option<Duration> {
        let policy = ExponentialBackoff::builder()
            .retry_bounds(FIRST_WAIT, LONGEST_WAIT)
            .jitter(Jitter::Full)
            .build_with_max_retries(self.retries);
        let now = SystemTime::now();
        match policy.should_retry(now, past) {
            RetryDecision::Retry { execute_after } => {
                Some(execute_after.duration_since(now).unwrap_or_default())
            }
            RetryDecision::DoNotRetry => None,
        }
    }
}

/// A repetition that is about to be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// What is repeated, as `METHOD /path`.
    pub request: String,
    /// Which repetition this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub of: u32,
    /// How long the wait is.
    pub wait: Duration,
    /// Why, a lower-case fragment with the causes.
    pub why: String,
}

/// Who is told about repetitions. By default, nobody.
#[derive(Clone, Default)]
pub struct RetryObserver(Option<Arc<Callback>>);

type Callback = dyn Fn(&Retry) + Send + Sync;

impl RetryObserver {
    /// Calls `observer` before each wait.
    pub fn new(observer: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn tell(&self, retry: &Retry) {
        if let Some(observer) = &self.0 {
            observer(retry);
        }
    }
}

impl fmt::Debug for RetryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryObserver")
            .field("listening", &self.0.is_some())
            .finish()
    }
}

/// An error with its causes in one line. Some say their cause's words themselves; then they are not said again.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        retries: 3,
        total: Duration::from_secs(30),
    };

    fn status(status: u16) -> Trouble {
        Trouble::Status {
            status,
            wait: None,
            unrecoverable: false,
        }
    }

    fn first(trouble: Trouble, repeatable: Repeatable) -> bool {
        POLICY
            .wait(trouble, repeatable, 0, Duration::ZERO)
            .is_some()
    }

    #[test]
    fn what_was_not_carried_out_is_always_repeated() {
        for repeatable in [Repeatable::Yes, Repeatable::No] {
            assert!(first(Trouble::NotSent, repeatable));
            assert!(first(status(429), repeatable));
        }
    }

    #[test]
    fn what_may_have_been_carried_out_is_repeated_only_where_it_does_no_harm() {
        let statuses = [408, 500, 502, 503, 504].map(status);
        for trouble in statuses.into_iter().chain([Trouble::Broken]) {
            assert!(first(trouble, Repeatable::Yes), "{trouble:?}");
            assert!(!first(trouble, Repeatable::No), "{trouble:?}");
        }
    }

    #[test]
    fn refusals_are_final() {
        for code in [400, 401, 403, 404, 413, 501, 505] {
            assert!(!first(status(code), Repeatable::Yes), "{code}");
        }
        let unrecoverable = Trouble::Status {
            status: 503,
            wait: None,
            unrecoverable: true,
        };
        assert!(!first(unrecoverable, Repeatable::Yes));
    }

    #[test]
    fn the_wait_asked_for_is_the_wait() {
        let trouble = Trouble::Status {
            status: 429,
            wait: Some(Duration::from_secs(7)),
            unrecoverable: false,
        };
        let wait = |elapsed| POLICY.wait(trouble, Repeatable::No, 0, Duration::from_secs(elapsed));
        assert_eq!(wait(0), Some(Duration::from_secs(7)));
        assert_eq!(wait(22), Some(Duration::from_secs(7)));
        assert_eq!(wait(23), None, "the total would be spent before the answer");
    }

    #[test]
    fn the_count_is_a_bound() {
        let at = |past| POLICY.wait(status(503), Repeatable::Yes, past, Duration::ZERO);
        assert!(at(2).is_some());
        assert!(at(3).is_none());
        let never = Policy {
            retries: 0,
            ..POLICY
        };
        assert!(
            never
                .wait(status(429), Repeatable::Yes, 0, Duration::ZERO)
                .is_none()
        );
    }
    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug)]
        struct Said(&'static str, Option<Box<Self>>);
        impl fmt::Display for Said {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl std::error::Error for Said {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                let cause = self.1.as_deref()?;
                Some(cause)
            }
        }
        let reset = Said("reset by peer", None);
        let error = Said("IO error: reset by peer", Some(Box::new(reset)));
        let error = Said("the connection broke", Some(Box::new(error)));
        let line = error_chain(&error);
        assert_eq!(line, "the connection broke: IO error: reset by peer");
    }
}
