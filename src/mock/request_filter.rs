//! A filter over the entries of the traffic log, and how far a request is from matching it.
//!
//! `mock log` selects entries with it. `mock expect` counts the requests that match, and names the nearest ones that do
//! not.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::Rejection;
use super::traffic_log::{LoggedRequest, TrafficEvent};
use crate::domain::glob::Glob;
use crate::domain::time::parse_time;
use crate::json::expression::Expr;

/// The distance of a request with another method, user or time, or with quite another path.
const LARGE_DISTANCE: f64 = 1.0;
/// The distance of a request that differs in what it carries or in its outcome: it is the expected request, nearly.
const SMALL_DISTANCE: f64 = 0.5;

/// The conditions of a filter as text, as they are typed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FilterConditions<'a> {
    /// An HTTP method.
    pub(crate) method: Option<&'a str>,
    /// A glob that the path matches.
    pub(crate) path: Option<&'a str>,
    /// A glob that the id of the user matches.
    pub(crate) user: Option<&'a str>,
    /// A status such as `404`, or a class such as `4xx`.
    pub(crate) status: Option<&'a str>,
    /// The earliest time: RFC 3339, unix seconds, or a duration ago.
    pub(crate) since: Option<&'a str>,
    /// A jq expression that is true for the body.
    pub(crate) body: Option<&'a str>,
}

/// A filter: every condition that is set must hold.
#[derive(Debug, Default)]
pub(crate) struct RequestFilter {
    method: Option<String>,
    path: Option<Glob>,
    user: Option<Glob>,
    status: Option<StatusPattern>,
    since: Option<DateTime<Utc>>,
    body: Option<Expr>,
}

/// An HTTP status, or all statuses of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusPattern {
    Exactly(u16),
    /// The first digit, as in `4xx`.
    Class(u16),
}

impl StatusPattern {
    fn read(text: &str) -> Result<Self, Rejection> {
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        let pattern = match class {
            Some(digit) => digit
                .parse()
                .ok()
                .filter(|class| (1..=5).contains(class))
                .map(Self::Class),
            None => text
                .parse()
                .ok()
                .filter(|status| (100..=599).contains(status))
                .map(Self::Exactly),
        };
        pattern.ok_or_else(|| {
            let reason = format!("must be an HTTP status, such as 404 or 4xx, not `{text}`");
            Rejection::field("status", &reason)
        })
    }

    const fn matches(self, status: u16) -> bool {
        match self {
            Self::Exactly(expected) => status == expected,
            Self::Class(class) => status / 100 == class,
        }
    }
}

/// A condition that a request does not meet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// The name of the condition.
    pub(crate) filter: &'static str,
    /// What the condition asks for.
    pub(crate) expected: String,
    /// What the request has.
    pub(crate) actual: Value,
    /// Why the expression of the condition has no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// How far the two are apart, from 0 to 1.
    #[serde(skip)]
    pub(crate) distance: f64,
}

impl RequestFilter {
    /// Compiles the conditions. Durations count back from `now`.
    ///
    /// # Errors
    ///
    /// A condition is invalid; the error names it.
    pub(crate) fn new(
        conditions: FilterConditions<'_>,
        now: DateTime<Utc>,
    ) -> Result<Self, Rejection> {
        if let Some(path) = conditions.path
            && !path.starts_with(['/', '*', '?'])
        {
            let reason = format!("must begin with / or *, or it matches nothing: /{path}");
            return Err(Rejection::field("path", &reason));
        }
        // Not a `?` for any one character: paths have no `=`.
        if let Some((path, query)) = conditions.path.and_then(|path| path.split_once('?'))
            && query.contains('=')
        {
            let reason = format!("must not have a query, or it matches nothing: {path}");
            return Err(Rejection::field("path", &reason));
        }
        if let Some(method) = conditions.method
            && Method::from_bytes(method.as_bytes()).is_err()
        {
            let reason = format!("must be one word, such as PATCH, not `{method}`");
            return Err(Rejection::field("method", &reason));
        }
        Ok(Self {
            method: conditions.method.map(str::to_ascii_uppercase),
            path: conditions.path.map(Glob::new),
            user: conditions.user.map(Glob::new),
            status: conditions.status.map(StatusPattern::read).transpose()?,
            since: conditions
                .since
                .map(|since| parse_time(since, now))
                .transpose()
                .map_err(|why| Rejection::field("since", &format!("is not a time: {why}")))?,
            body: conditions
                .body
                .map(Expr::compile)
                .transpose()
                .map_err(|failure| Rejection::field("body", &failure.message))?,
        })
    }

    /// Whether a condition concerns what only requests have.
    fn is_about_requests(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.status.is_some() || self.body.is_some()
    }

    /// Whether an entry of the log matches.
    pub(crate) fn matches(&self, at: DateTime<Utc>, entry: &TrafficEvent) -> bool {
        match entry {
            TrafficEvent::Request(request) => self.differences(at, request).is_empty(),
            TrafficEvent::Opened(socket)
            | TrafficEvent::Closed(socket, _)
            | TrafficEvent::Sent(socket, ..)
            | TrafficEvent::Heard(socket, _) => {
                !self.is_about_requests()
                    && self.since.is_none_or(|since| since <= at)
                    && self
                        .user
                        .as_ref()
                        .is_none_or(|user| user.matches(&socket.user))
            }
        }
    }

    /// The conditions that a request does not meet.
    pub(crate) fn differences(
        &self,
        at: DateTime<Utc>,
        request: &LoggedRequest,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        if let Some(method) = &self.method
            && !method.eq_ignore_ascii_case(&request.method)
        {
            differences.push(Difference::of_text("method", method, &request.method));
        }
        if let Some(path) = &self.path
            && !path.matches(&request.path)
        {
            differences.push(Difference::of_text("path", path.pattern(), &request.path));
        }
        if let Some(user) = &self.user {
            match &request.user {
                Some(id) if user.matches(id) => {}
                Some(id) => differences.push(Difference::of_text("user", user.pattern(), id)),
                None => differences.push(Difference::new("user", user.pattern(), Value::Null)),
            }
        }
        if let Some(status) = self.status
            && !request.status.is_some_and(|actual| status.matches(actual))
        {
            let expected = match status {
                StatusPattern::Exactly(status) => status.to_string(),
                StatusPattern::Class(class) => format!("{class}xx"),
            };
            differences.push(Difference::new("status", &expected, json!(request.status)));
        }
        if let Some(since) = self.since
            && at < since
        {
            let time = |time: DateTime<Utc>| super::engine::Rfc3339(time).to_string();
            let actual = time(at).into();
            differences.push(Difference::new("since", &time(since), actual));
        }
        if let Some(body) = &self.body {
            let shown = request.shown_body();
            let result = body.is_true(shown.to_string().as_bytes());
            if !matches!(result, Ok(true)) {
                let mut difference = Difference::new("body", body.source(), shown);
                difference.error = result.err().map(|error| error.to_string());
                differences.push(difference);
            }
        }
        differences
    }

    /// The filter in words: `PATCH /users* of user john with status 2xx`.
    pub(crate) fn describe(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.method.clone());
        words.extend(self.path.as_ref().map(Glob::to_string));
        if let Some(user) = &self.user {
            words.push(format!("by user {user}"));
        }
        match self.status {
            Some(StatusPattern::Exactly(status)) => words.push(format!("with status {status}")),
            Some(StatusPattern::Class(class)) => words.push(format!("with status {class}xx")),
            None => {}
        }
        if let Some(since) = self.since {
            words.push(format!("since {}", super::engine::Rfc3339(since)));
        }
        if let Some(body) = &self.body {
            words.push(format!("with a body for which `{}` is true", body.source()));
        }
        words.join(" ")
    }
}

impl Difference {
    fn new(filter: &'static str, expected: &str, actual: Value) -> Self {
        Self {
            filter,
            expected: expected.to_owned(),
            actual,
            error: None,
            distance: match filter {
                "body" | "status" => SMALL_DISTANCE,
                _ => LARGE_DISTANCE,
            },
        }
    }

    fn of_text(filter: &'static str, expected: &str, actual: &str) -> Self {
        let likeness = strsim::normalized_damerau_levenshtein(expected, actual);
        Self {
            distance: LARGE_DISTANCE - likeness / 2.0,
            ..Self::new(
                filter,
                expected,
                super::redaction::without_tokens(actual).into(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::TimeDelta;

    use super::*;

    fn request() -> LoggedRequest {
        LoggedRequest {
            method: "PATCH".into(),
            path: "/users".into(),
            user: Some("john".into()),
            status: Some(201),
            body: Bytes::from_static(br#"{"users":[{"id":"john","set":{"status":"busy"}}]}"#),
            ..LoggedRequest::default()
        }
    }

    fn filter(conditions: FilterConditions<'_>) -> RequestFilter {
        RequestFilter::new(conditions, DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_difference_names_the_condition_and_both_values() {
        let request = request();
        let names = |conditions| {
            let differences = filter(conditions).differences(DateTime::UNIX_EPOCH, &request);
            differences
                .into_iter()
                .map(|d| format!("{}: {} / {}", d.filter, d.expected, d.actual))
                .collect::<Vec<_>>()
        };
        let matching = FilterConditions {
            method: Some("patch"),
            path: Some("/users*"),
            user: Some("jo*"),
            status: Some("2xx"),
            since: Some("0"),
            body: Some(r#".users[0].set.status == "busy""#),
        };
        assert_eq!(names(matching), [] as [&str; 0]);
        assert_eq!(
            names(FilterConditions {
                method: Some("POST"),
                path: Some("/channels"),
                user: Some("amy"),
                status: Some("404"),
                since: Some("1"),
                body: Some(".users[0].id == 7"),
            }),
            [
                r#"method: POST / "PATCH""#,
                r#"path: /channels / "/users""#,
                r#"user: amy / "john""#,
                "status: 404 / 201",
                r#"since: 1970-01-01T00:00:01Z / "1970-01-01T00:00:00Z""#,
                r#"body: .users[0].id == 7 / {"users":[{"id":"john","set":{"status":"busy"}}]}"#,
            ]
        );
    }

    #[test]
    fn an_invalid_condition_is_named() {
        let error = |conditions| {
            RequestFilter::new(conditions, DateTime::UNIX_EPOCH)
                .unwrap_err()
                .detail
        };
        for (status, expected) in [("4x", "status must be"), ("600", "status must be")] {
            let message = error(FilterConditions {
                status: Some(status),
                ..FilterConditions::default()
            });
            assert!(message.starts_with(expected), "{message}");
        }
        let message = error(FilterConditions {
            path: Some("users"),
            ..FilterConditions::default()
        });
        assert!(message.ends_with(": /users"), "{message}");
        let message = error(FilterConditions {
            body: Some(".["),
            ..FilterConditions::default()
        });
        assert!(message.starts_with("body "), "{message}");
    }

    #[test]
    fn entries_of_sockets_match_by_user_and_time_only() {
        let opened = TrafficEvent::Opened(crate::mock::traffic_log::SocketIdentity {
            connection: "c1".into(),
            user: "john".into(),
        });
        let matches = |conditions| filter(conditions).matches(DateTime::UNIX_EPOCH, &opened);
        let none = FilterConditions::default();
        assert!(matches(none));
        assert!(matches(FilterConditions {
            user: Some("j*"),
            ..none
        }));
        assert!(!matches(FilterConditions {
            user: Some("amy"),
            ..none
        }));
        assert!(!matches(FilterConditions {
            path: Some("*"),
            ..none
        }));
        let now = DateTime::UNIX_EPOCH + TimeDelta::hours(2);
        let recent = FilterConditions {
            since: Some("1h"),
            ..none
        };
        let recent = RequestFilter::new(recent, now).unwrap();
        assert!(!recent.matches(DateTime::UNIX_EPOCH, &opened));
    }
}
