//! The kinds of fault, their parameters, and how they are read from JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::matching::FaultMatch;
use crate::domain::ApiErrorCode;
use crate::domain::time::parse_duration;
use crate::mock::error::Rejection;

/// The effect of a fault on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestFault {
    /// A delay of the response.
    pub(crate) delay: Duration,
    /// Whether the request is carried out although the response is replaced.
    pub(crate) applied: bool,
    /// The response.
    pub(crate) answer: FaultResponse,
}

/// The response to a request with a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultResponse {
    /// The usual response.
    Usual,
    /// An error response of the service.
    Error {
        status: u16,
        code: i32,
        message: String,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// An HTML page, as proxies send them.
    Html { status: u16 },
    /// The first half of the usual response, then the end of the connection.
    Truncated,
    /// A reset of the TCP connection.
    Reset,
}

/// The effect of a fault on a socket, at the moment when a frame is to be sent. If it ends the connection, the frame is
/// lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketFault {
    /// Resets the TCP connection.
    Drop,
    /// Closes the WebSocket.
    Close { code: u16, reason: String },
    /// Sends nothing and ignores everything received, but keeps the connection open.
    HalfOpen,
    /// Leaves pings without an answer.
    Mute,
    /// Sends the frame twice.
    Duplicate,
    /// Sends the frame after the next one, or after this delay.
    Reorder { wait: Duration },
    /// Delays the frame and all that follow.
    Late { by: Duration },
    /// Corrupts the frame.
    Garbage { text: Option<String> },
    /// Expires the connection's token.
    Expire,
    /// Delays every frame from now on by this long, until the queue is full.
    Slow { pause: Duration },
}

impl SocketFault {
    /// Whether it can apply to a socket without a frame to send.
    pub(crate) const fn needs_no_frame(&self) -> bool {
        match self {
            Self::Drop
            | Self::Close { .. }
            | Self::HalfOpen
            | Self::Mute
            | Self::Garbage { .. }
            | Self::Expire
            | Self::Slow { .. } => true,
            Self::Duplicate | Self::Reorder { .. } | Self::Late { .. } => false,
        }
    }
}

/// The effect of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// On a request.
    Request(RequestFault),
    /// On a socket.
    Socket(SocketFault),
}

/// A fault: its effect, what it matches, and how often it applies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) matching: FaultMatch,
    /// How often it applies at most.
    pub(crate) count: Option<u64>,
    /// How many matching requests or frames are skipped first.
    pub(crate) after: u64,
    /// The probability of applying.
    pub(crate) probability: f64,
    /// The seed of the random choice.
    pub(crate) seed: u64,
    /// Whether it applies at once to open sockets, instead of to later frames.
    pub(crate) now: bool,
}

/// The kinds of faults by name, with their own parameters.
const FAULT_KINDS: &[(&str, &[&str])] = &[
    (
        "status",
        &[
            "method",
            "path",
            "status",
            "code",
            "message",
            "retry_after",
            "delay",
            "applied",
        ],
    ),
    ("delay", &["method", "path", "delay"]),
    ("reset", &["method", "path", "delay", "applied"]),
    ("html", &["method", "path", "status", "delay", "applied"]),
    ("truncate", &["method", "path", "delay"]),
    ("drop", &["event", "now"]),
    ("close", &["event", "now", "code", "message"]),
    ("half-open", &["event", "now"]),
    ("mute", &["now"]),
    ("duplicate", &["event"]),
    ("reorder", &["event", "delay"]),
    ("late", &["event", "delay"]),
    ("garbage", &["event", "now", "text"]),
    ("expire", &["event", "now"]),
    ("slow", &["event", "now", "delay"]),
];

/// The valid HTTP methods.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// A fault as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultSpec {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl FaultSpec {
    /// Checks that the parameters fit together.
    ///
    /// # Errors
    ///
    /// They do not; the error names the parameter.
    pub(crate) fn read(&self) -> Result<Fault, Rejection> {
        self.check_fields()?;
        let delay = self
            .delay
            .as_deref()
            .map(|text| parse_duration(text).map_err(|why| Rejection::field("delay", &why)))
            .transpose()?;
        if let Some(path) = &self.path
            && !path.starts_with(['/', '*'])
        {
            let reason = format!("must begin with / or *, or it matches nothing: /{path}");
            return Err(Rejection::field("path", &reason));
        }
        if let Some(method) = &self.method
            && !METHODS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(method))
        {
            let reason = format!("must be one of {}", METHODS.join(", "));
            return Err(Rejection::field("method", &reason));
        }
        let probability = self.probability.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&probability) {
            return Err(Rejection::field("probability", "must be between 0 and 1"));
        }
        Ok(Fault {
            kind: self.kind(delay)?,
            matching: FaultMatch {
                method: self.method.clone(),
                path: self.path.clone(),
                user: self.user.clone(),
                event: self.event.clone(),
            },
            count: self.count,
            after: self.after.unwrap_or(0),
            probability,
            seed: self.seed.unwrap_or(0),
            now: self.now.unwrap_or(false),
        })
    }

    fn check_fields(&self) -> Result<(), Rejection> {
        let (name, takes) = FAULT_KINDS
            .iter()
            .find(|(name, _)| *name == self.kind)
            .ok_or_else(|| {
                let names: Vec<&str> = FAULT_KINDS.iter().map(|(name, _)| *name).collect();
                Rejection::field("kind", &format!("must be one of {}", names.join(", ")))
            })?;
        let given = [
            ("method", self.method.is_some()),
            ("path", self.path.is_some()),
            ("event", self.event.is_some()),
            ("now", self.now.is_some()),
            ("status", self.status.is_some()),
            ("code", self.code.is_some()),
            ("message", self.message.is_some()),
            ("retry_after", self.retry_after.is_some()),
            ("delay", self.delay.is_some()),
            ("applied", self.applied.is_some()),
            ("text", self.text.is_some()),
        ];
        match given
            .iter()
            .find(|(field, given)| *given && !takes.contains(field))
        {
            Some((field, _)) => Err(Rejection::field(
                *field,
                &format!("does not go with a fault of kind {name}"),
            )),
            None => Ok(()),
        }
    }

    fn kind(&self, delay: Option<Duration>) -> Result<FaultKind, Rejection> {
        let socket = match self.kind.as_str() {
            "drop" => SocketFault::Drop,
            "close" => SocketFault::Close {
                code: self.close_code()?,
                reason: self.message.clone().unwrap_or_default(),
            },
            "half-open" => SocketFault::HalfOpen,
            "mute" => SocketFault::Mute,
            "duplicate" => SocketFault::Duplicate,
            "reorder" => SocketFault::Reorder {
                wait: delay.unwrap_or(Duration::from_secs(1)),
            },
            "late" => SocketFault::Late {
                by: delay.unwrap_or(Duration::from_secs(1)),
            },
            "garbage" => SocketFault::Garbage {
                text: self.text.clone(),
            },
            "expire" => SocketFault::Expire,
            "slow" => SocketFault::Slow {
                pause: delay.unwrap_or(Duration::from_secs(1)),
            },
            _ => return self.request_kind(delay),
        };
        Ok(FaultKind::Socket(socket))
    }

    fn request_kind(&self, delay: Option<Duration>) -> Result<FaultKind, Rejection> {
        let answer = match self.kind.as_str() {
            "delay" if delay.is_none() => {
                return Err(Rejection::field("delay", "is a required field"));
            }
            "delay" => FaultResponse::Usual,
            "reset" => FaultResponse::Reset,
            "html" => FaultResponse::Html {
                status: self.http_status(502)?,
            },
            "truncate" => FaultResponse::Truncated,
            _ => {
                let status = self.http_status(500)?;
                FaultResponse::Error {
                    status,
                    code: self.code.unwrap_or_else(|| usual_code(status)),
                    message: self
                        .message
                        .clone()
                        .unwrap_or_else(|| "a fault was asked for".to_owned()),
                    retry_after: self.retry_after,
                }
            }
        };
        Ok(FaultKind::Request(RequestFault {
            delay: delay.unwrap_or_default(),
            applied: self.applied.unwrap_or(false),
            answer,
        }))
    }

    fn http_status(&self, default: u16) -> Result<u16, Rejection> {
        match self.status.unwrap_or(default) {
            status @ 200..=599 => Ok(status),
            _ => Err(Rejection::field("status", "must be between 200 and 599")),
        }
    }

    fn close_code(&self) -> Result<u16, Rejection> {
        match self.code {
            None => Ok(1011),
            // The close codes that a peer may send.
            Some(code @ (1000..=1003 | 1007..=1014 | 3000..=4999)) => {
                Ok(u16::try_from(code).expect("below 5000"))
            }
            Some(_) => Err(Rejection::field(
                "code",
                "must be a close code: 1000 to 1003, 1007 to 1014, or 3000 to 4999",
            )),
        }
    }
}

/// The service's error code that usually belongs to an HTTP status.
const fn usual_code(status: u16) -> i32 {
    match status {
        400 => ApiErrorCode::InvalidInput.number(),
        401 => ApiErrorCode::Unauthenticated.number(),
        403 => ApiErrorCode::NotAllowed.number(),
        404 => ApiErrorCode::NotFound.number(),
        408 => 23,
        413 => ApiErrorCode::PayloadTooLarge.number(),
        429 => 9,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Fault, String> {
        let spec: FaultSpec = serde_json::from_value(value).map_err(|error| error.to_string())?;
        spec.read().map_err(|reject| reject.detail)
    }

    #[test]
    fn a_status_brings_the_code_that_goes_with_it() {
        let fault = read(json!({"kind": "status", "status": 429, "retry_after": 2, "delay": "250ms", "path": "/users"}))
            .unwrap();
        assert_eq!(
            fault.kind,
            FaultKind::Request(RequestFault {
                delay: Duration::from_millis(250),
                applied: false,
                answer: FaultResponse::Error {
                    status: 429,
                    code: 9,
                    message: "a fault was asked for".into(),
                    retry_after: Some(2)
                }
            })
        );
        assert_eq!(fault.matching.path.as_deref(), Some("/users"));
        assert_eq!((fault.count, fault.after), (None, 0));
    }

    #[test]
    fn every_kind_can_be_read_with_nothing_but_its_name() {
        for (name, _) in FAULT_KINDS.iter().filter(|(name, _)| *name != "delay") {
            let fault = read(json!({ "kind": name }));
            assert!(fault.is_ok(), "{name}: {fault:?}");
        }
        assert!(read(json!({"kind": "delay", "delay": "1s"})).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (spec, part) in [
            (json!({"kind": "flood"}), "kind must be one of status"),
            (
                json!({"kind": "drop", "status": 500}),
                "status does not go with a fault of kind drop",
            ),
            (
                json!({"kind": "status", "event": "*"}),
                "event does not go with",
            ),
            (
                json!({"kind": "duplicate", "now": true}),
                "now does not go with",
            ),
            (
                json!({"kind": "close", "code": 1006}),
                "code must be a close code",
            ),
            (
                json!({"kind": "status", "status": 99}),
                "status must be between",
            ),
            (
                json!({"kind": "drop", "probability": 1.5}),
                "probability must be",
            ),
            (
                json!({"kind": "reset", "path": "users"}),
                "path must begin with / or *, or it matches nothing: /users",
            ),
            (
                json!({"kind": "reset", "method": "GTE"}),
                "method must be one of GET, POST",
            ),
            (json!({"kind": "delay"}), "delay is a required field"),
            (json!({"kind": "late", "delay": "soon"}), "delay "),
            (
                json!({"kind": "drop", "often": true}),
                "unknown field `often`",
            ),
        ] {
            let refused = read(spec.clone()).unwrap_err();
            assert!(refused.contains(part), "{spec}: {refused}");
        }
    }
}
