//! The retry policy: whether and when a failed call is repeated. It works on plain data; the caller sleeps.
//!
//! A call that never left this machine, or that a rate limit refused, was not carried out, so it can always be
//! repeated. After a server error or a broken connection, the call may have been carried out. Then only idempotent
//! calls are repeated. All other failures are final.

use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, iter};

use retry_policies::policies::ExponentialBackoff;
use retry_policies::{Jitter, RetryDecision, RetryPolicy as _};

/// The longest wait before a retry, unless the service asks for a longer one.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(25);
/// The first wait. Later waits grow exponentially.
const RETRY_WAIT_BASE: Duration = Duration::from_millis(250);

/// The failure of an attempt, as far as retries depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// There was no connection, so nothing was sent.
    NotSent,
    /// The connection broke before the response was complete.
    ConnectionBroken,
    /// The service answered with this status.
    Status {
        /// The HTTP status.
        status: u16,
        /// How long the service asks to wait.
        retry_after: Option<Duration>,
        /// Whether the service says that a retry is useless.
        unrecoverable: bool,
    },
}

/// The limits of retries.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often a call is retried at most.
    pub retries: u32,
    /// The time limit of a call with its retries and waits.
    pub total: Duration,
}

impl RetryPolicy {
    /// The wait before the next attempt, or `None` if the failure is final.
    ///
    /// `past_retries` counts the retries so far; `elapsed` is the time since the first attempt.
    pub fn wait(
        &self,
        failure: AttemptFailure,
        idempotent: bool,
        past_retries: u32,
        elapsed: Duration,
    ) -> Option<Duration> {
        let (safe, asked) = match failure {
            AttemptFailure::NotSent => (true, None),
            AttemptFailure::ConnectionBroken => (idempotent, None),
            AttemptFailure::Status {
                unrecoverable: true,
                ..
            } => (false, None),
            AttemptFailure::Status {
                status: 429,
                retry_after,
                ..
            } => (true, retry_after),
            AttemptFailure::Status {
                // The service, or a proxy in front of it, reports a timeout or an internal error.
                status: 408 | 500 | 502..=504,
                retry_after,
                ..
            } => (idempotent, retry_after),
            AttemptFailure::Status { .. } => (false, None),
        };
        let backoff = self.backoff(past_retries)?;
        let wait = asked.unwrap_or(backoff);
        // Waiting longer than the limit would only delay the error.
        (safe && elapsed.saturating_add(wait) < self.total).then_some(wait)
    }

    fn backoff(&self, past_retries: u32) -> Option<Duration> {
        let policy = ExponentialBackoff::builder()
            .retry_bounds(RETRY_WAIT_BASE, RETRY_WAIT_MAX)
            .jitter(Jitter::Full)
            .build_with_max_retries(self.retries);
        let now = SystemTime::now();
        match policy.should_retry(now, past_retries) {
            RetryDecision::Retry { execute_after } => {
                Some(execute_after.duration_since(now).unwrap_or_default())
            }
            RetryDecision::DoNotRetry => None,
        }
    }
}

/// A retry that starts after a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The request, as `METHOD /path`.
    pub request: String,
    /// The number of this retry, from 1.
    pub attempt: u32,
    /// The largest number of retries.
    pub of: u32,
    /// The length of the wait.
    pub wait: Duration,
    /// The reason of the failure: a lower-case fragment with its causes.
    pub reason: String,
}

/// A callback for retries. By default, none.
#[derive(Clone, Default)]
pub struct RetryObserver(Option<Arc<Callback>>);

type Callback = dyn Fn(&Retry) + Send + Sync;

impl RetryObserver {
    /// Calls `observer` before each wait.
    pub fn new(observer: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn notify(&self, retry: &Retry) {
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

/// An error with its causes on one line. Causes that the error text already contains are left out.
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

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        total: Duration::from_secs(30),
    };

    fn status(status: u16) -> AttemptFailure {
        AttemptFailure::Status {
            status,
            retry_after: None,
            unrecoverable: false,
        }
    }

    fn first(failure: AttemptFailure, idempotent: bool) -> bool {
        POLICY
            .wait(failure, idempotent, 0, Duration::ZERO)
            .is_some()
    }

    #[test]
    fn what_was_not_carried_out_is_always_repeated() {
        for idempotent in [true, false] {
            assert!(first(AttemptFailure::NotSent, idempotent));
            assert!(first(status(429), idempotent));
        }
    }

    #[test]
    fn what_may_have_been_carried_out_is_repeated_only_where_it_does_no_harm() {
        let statuses = [408, 500, 502, 503, 504].map(status);
        for failure in statuses
            .into_iter()
            .chain([AttemptFailure::ConnectionBroken])
        {
            assert!(first(failure, true), "{failure:?}");
            assert!(!first(failure, false), "{failure:?}");
        }
    }

    #[test]
    fn refusals_are_final() {
        for code in [400, 401, 403, 404, 413, 501, 505] {
            assert!(!first(status(code), true), "{code}");
        }
        let unrecoverable = AttemptFailure::Status {
            status: 503,
            retry_after: None,
            unrecoverable: true,
        };
        assert!(!first(unrecoverable, true));
    }

    #[test]
    fn the_wait_asked_for_is_the_wait() {
        let failure = AttemptFailure::Status {
            status: 429,
            retry_after: Some(Duration::from_secs(7)),
            unrecoverable: false,
        };
        let wait = |elapsed| POLICY.wait(failure, false, 0, Duration::from_secs(elapsed));
        assert_eq!(wait(0), Some(Duration::from_secs(7)));
        assert_eq!(wait(22), Some(Duration::from_secs(7)));
        assert_eq!(wait(23), None, "the total would be spent before the answer");
    }

    #[test]
    fn the_count_is_a_bound() {
        let at = |past| POLICY.wait(status(503), true, past, Duration::ZERO);
        assert!(at(2).is_some());
        assert!(at(3).is_none());
        let never = RetryPolicy {
            retries: 0,
            ..POLICY
        };
        assert!(never.wait(status(429), true, 0, Duration::ZERO).is_none());
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
