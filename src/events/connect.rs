//! Opens a connection: the WebSocket upgrade, and the service's first frame.
//!
//! The HTTP client makes the connection, so that name resolution, TLS and proxies follow the same rules as for calls.
//! Reconnecting is decided elsewhere.

use std::time::Duration;

use reqwest::Upgraded;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout};

use crate::api::retry::{AttemptFailure, Retry, RetryPolicy, error_chain};
use crate::api::{ApiError, Client, ClientSettings, Request, TransportKind};
use crate::domain::UserId;
use crate::events::session::{Session, SessionEnd};

/// The time limit for the upgrade and the first frame together, if that of a call is not shorter.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The read buffer of a watcher's one connection. The library fills it with zeros before each read, so a buffer that is
/// much larger than what usually waits in the socket costs more than the system calls it saves.
pub const BUSY_READ_BUFFER_BYTES: usize = 32 * 1024;
/// The read buffer of one of many connections with little traffic.
pub const QUIET_READ_BUFFER_BYTES: usize = 4 * 1024;

/// A session over the network.
pub type Socket = Session<Upgraded>;

/// The user who connects, and what connecting changes about them.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// Makes the user invisible or visible. `None` does not change it: a stored `true` stays.
    pub invisible: Option<bool>,
    /// Further fields to set, such as `status`.
    pub details: Map<String, Value>,
}

impl Identity {
    /// The request that connects.
    pub fn request(&self) -> Request {
        Request::connect(&self.user, &self.user_details())
    }

    /// The fields that connecting sets.
    pub(super) fn state(&self) -> Map<String, Value> {
        let mut state = self.user_details();
        state.remove("id");
        state
    }

    /// The same user, with nothing to set.
    #[must_use]
    pub(super) fn without_state(&self) -> Self {
        Self {
            user: self.user.clone(),
            invisible: None,
            details: Map::new(),
        }
    }

    fn user_details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        details.insert("id".to_owned(), self.user.as_str().into());
        // The service stores every key that is sent, so a key that is not requested must be absent.
        if let Some(invisible) = self.invisible {
            details.insert("invisible".to_owned(), invisible.into());
        }
        details.extend(self.details.clone());
        details
    }
}

/// Opens a connection. With the secret, the token is signed now. See [`Session::begin`].
///
/// # Errors
///
/// [`ApiError::Refused`] with the service's code; any other failure is [`ApiError::Transport`] of kind `Connect`.
pub async fn connect(
    client: &Client,
    identity: &Identity,
    read_buffer: usize,
    stale_after: Duration,
) -> Result<Socket, ApiError> {
    let client = client.acting_as(&identity.user);
    let limit = HANDSHAKE_TIMEOUT.min(client.settings().timeout);
    let open = async {
        let stream = client.upgrade(&identity.request()).await?;
        Session::begin(stream, identity.user.as_str(), read_buffer, stale_after)
            .await
            .map_err(|end| match end {
                SessionEnd::Refused(refusal) => ApiError::Refused(refusal),
                end @ (SessionEnd::Closed { .. }
                | SessionEnd::Silent(_)
                | SessionEnd::NoHealthCheck(_)
                | SessionEnd::Broken(_)) => client.transport(TransportKind::Connect, end),
            })
    };
    let opened = timeout(limit, open)
        .await
        .unwrap_or_else(|elapsed| Err(client.transport(TransportKind::Connect, elapsed)));
    client.tracer().connection(|| match &opened {
        Ok(_) => format!("{} connected", identity.user),
        Err(error) => format!("{} cannot connect: {}", identity.user, error_chain(error)),
    });
    opened
}

/// Makes a first connection with `open`. Repeats it as often as an idempotent call, because a server that shuts down
/// drops new connections.
///
/// # Errors
///
/// The error of the last attempt, or the first error for which repeating is useless.
pub(super) async fn retry_connect<T, F>(
    settings: &ClientSettings,
    mut open: impl FnMut() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let policy = RetryPolicy {
        retries: settings.retries,
        total: settings.timeout,
    };
    let start = Instant::now();
    let mut past = 0;
    loop {
        let error = match open().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let wait = failure_of(&error)
            .and_then(|failure| policy.wait(failure, true, past, start.elapsed()));
        let Some(wait) = wait else {
            return Err(error);
        };
        past += 1;
        settings.on_retry.notify(&Retry {
            request: "GET /connect".to_owned(),
            attempt: past,
            of: policy.retries,
            wait,
            reason: error_chain(&error),
        });
        sleep(wait).await;
    }
}

/// The failure of an attempt in the terms of the retry policy; `None` if repeating is useless.
const fn failure_of(error: &ApiError) -> Option<AttemptFailure> {
    let (status, retry_after, unrecoverable) = match error {
        ApiError::Transport { .. } => return Some(AttemptFailure::NotSent),
        ApiError::ResponseTooLarge { .. }
        | ApiError::UrlTooLong { .. }
        | ApiError::Insecure { .. } => return None,
        ApiError::RateLimited { retry_after, .. } => (429, *retry_after, false),
        ApiError::Refused(refusal) => (refusal.status, None, refusal.unrecoverable),
        ApiError::Unreadable { status, .. } => (*status, None, false),
    };
    Some(AttemptFailure::Status {
        status,
        retry_after,
        unrecoverable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Auth, Refusal, RetryObserver};
    use crate::domain::SecretString;

    #[test]
    fn visibility_is_sent_only_if_requested() {
        let mut identity = Identity {
            user: "amy".parse().unwrap(),
            invisible: None,
            details: Map::new(),
        };
        let text = |identity: &Identity| serde_json::to_string(&identity.user_details()).unwrap();
        assert_eq!(text(&identity), r#"{"id":"amy"}"#);
        identity.invisible = Some(true);
        identity.details.insert("status".to_owned(), "x".into());
        assert_eq!(
            text(&identity),
            r#"{"id":"amy","invisible":true,"status":"x"}"#
        );
    }

    #[tokio::test(start_paused = true)]
    async fn temporary_errors_are_retried_and_refusals_are_not() {
        let settings = ClientSettings {
            base_url: "http://localhost".parse().unwrap(),
            api_key: String::new(),
            auth: Auth::Server {
                secret: SecretString::new(""),
            },
            allow_http: false,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(1),
            retries: 2,
            on_retry: RetryObserver::default(),
        };
        let refused = |status| {
            ApiError::Refused(Refusal {
                status,
                ..Refusal::default()
            })
        };
        for (status, attempts) in [(500, 3), (401, 1), (403, 1)] {
            let mut made = 0;
            let opened: Result<(), _> = retry_connect(&settings, || {
                made += 1;
                std::future::ready(Err(refused(status)))
            })
            .await;
            assert!(opened.is_err());
            assert_eq!(made, attempts, "{status}");
        }
        let mut made = 0;
        let opened = retry_connect(&settings, || {
            made += 1;
            std::future::ready(if made < 3 {
                Err(refused(503))
            } else {
                Ok(made)
            })
        });
        assert_eq!(opened.await.unwrap(), 3);
    }
}
