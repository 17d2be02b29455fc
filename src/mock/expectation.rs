//! Expectations: how many requests match a filter, judged at once or as soon as the answer is certain.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use super::error::Rejection;
use super::request_filter::{Difference, FilterConditions, RequestFilter};
use super::traffic_log::{LoggedRequest, TrafficEvent, TrafficLog};
use crate::domain::time::parse_duration;
use crate::timer::sleep_until;

/// How many of the nearest requests a failed expectation names.
const NEAREST_MAX: usize = 3;
/// Entries of the log that are read at once.
const ENTRIES_PER_READ: usize = 1000;

/// An expectation as JSON or YAML: conditions that requests meet, and how many requests must meet them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExpectationSpec {
    /// The HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// A glob that the path matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// A glob that the user's id matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// A status such as `404`, or a class such as `4xx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<StatusSpec>,
    /// Only requests since this time on the mock's clock: RFC 3339, unix seconds, or a duration ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// A jq expression that is true for the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// Exactly this many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// At least this many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<u64>,
    /// No request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) never: Option<bool>,
    /// How long to wait, in real time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<String>,
}

/// A status as a number, or a class of statuses as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StatusSpec {
    /// A status, such as 404.
    Number(u16),
    /// A status or a class, such as `4xx`.
    Text(String),
}

/// How many requests must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedCount {
    Exactly(u64),
    AtLeast(u64),
}

/// An expectation that can be judged.
#[derive(Debug)]
pub(crate) struct Expectation {
    filter: RequestFilter,
    expected: ExpectedCount,
    within: Option<Duration>,
}

/// The outcome of an expectation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ExpectationResult {
    r#type: &'static str,
    /// Whether the expectation is met.
    pub(crate) met: bool,
    /// The expectation in words.
    expected: String,
    /// How many requests matched.
    matched: u64,
    /// How many requests were compared.
    compared: u64,
    /// How many entries the log had dropped before they could be compared.
    lost: u64,
    /// The last matching requests, if there were too many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unexpected: Vec<Value>,
    /// The requests that came nearest, if there were too few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<Value>,
}

/// What was compared so far.
#[derive(Debug, Default)]
struct Tally {
    matched: u64,
    compared: u64,
    lost: u64,
    /// The last matching requests, oldest first.
    matching: Vec<Value>,
    /// The nearest requests that do not match, nearest first.
    nearest: Vec<NearMiss>,
}

/// A request that does not match.
#[derive(Debug)]
struct NearMiss {
    distance: f64,
    request: Value,
    differences: Vec<Difference>,
}

impl ExpectationSpec {
    /// Checks and compiles the expectation. Durations ago count back from `now`.
    ///
    /// # Errors
    ///
    /// A condition is invalid, or the counts exclude each other.
    pub(crate) fn compile(&self, now: DateTime<Utc>) -> Result<Expectation, Rejection> {
        let counts = [
            self.count.map(ExpectedCount::Exactly),
            self.at_least.map(ExpectedCount::AtLeast),
            (self.never == Some(true)).then_some(ExpectedCount::Exactly(0)),
        ];
        let mut counts = counts.into_iter().flatten();
        let expected = counts.next().unwrap_or(ExpectedCount::AtLeast(1));
        if counts.next().is_some() {
            return Err(Rejection::input(
                "only one of count, at_least and never can be set",
            ));
        }
        if expected == ExpectedCount::AtLeast(0) {
            return Err(Rejection::field("at_least", "must be greater than zero"));
        }
        let status = self.status.as_ref().map(|status| match status {
            StatusSpec::Number(status) => status.to_string(),
            StatusSpec::Text(text) => text.clone(),
        });
        let conditions = FilterConditions {
            method: self.method.as_deref(),
            path: self.path.as_deref(),
            user: self.user.as_deref(),
            status: status.as_deref(),
            since: self.since.as_deref(),
            body: self.body.as_deref(),
        };
        Ok(Expectation {
            filter: RequestFilter::new(conditions, now)?,
            expected,
            within: self
                .within
                .as_deref()
                .map(parse_duration)
                .transpose()
                .map_err(|why| Rejection::field("within", &format!("is invalid: {why}")))?,
        })
    }
}

impl Expectation {
    /// Compares the entries of a log after a number, and waits for more until the answer is certain or the time is over.
    ///
    /// Without a time, the entries so far decide. `None` if the log ends first, because the server stops.
    pub(crate) async fn judge(&self, log: &TrafficLog, after: u64) -> Option<ExpectationResult> {
        let deadline = self.within.map(|within| Instant::now() + within);
        let mut since = after;
        let mut tally = Tally::default();
        loop {
            // Read before the entries, so that what arrives in time counts.
            let is_over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            let page = log.entries_after(since, ENTRIES_PER_READ);
            since = page.next;
            tally.lost += page.lost;
            for entry in &page.entries {
                if let TrafficEvent::Request(request) = &entry.event {
                    tally.add(&self.filter, entry.at, entry.number, request);
                }
            }
            if since < log.last() {
                continue;
            }
            if let Some(met) = self.verdict(tally.matched, is_over) {
                return Some(self.result(met, tally));
            }
            if log.is_closed() {
                return None;
            }
            tokio::select! {
                () = log.wait_after(since) => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Whether the expectation is met, once that is certain.
    const fn verdict(&self, matched: u64, is_over: bool) -> Option<bool> {
        match self.expected {
            ExpectedCount::AtLeast(count) if matched >= count => Some(true),
            ExpectedCount::Exactly(count) if matched > count => Some(false),
            // That no request comes is certain only at the end.
            ExpectedCount::Exactly(count) if matched == count && (count > 0 || is_over) => {
                Some(true)
            }
            ExpectedCount::AtLeast(_) | ExpectedCount::Exactly(_) if is_over => Some(false),
            ExpectedCount::AtLeast(_) | ExpectedCount::Exactly(_) => None,
        }
    }

    fn result(&self, met: bool, tally: Tally) -> ExpectationResult {
        let is_excess =
            matches!(self.expected, ExpectedCount::Exactly(count) if tally.matched > count);
        let nearest = tally.nearest.into_iter().map(|miss| {
            let mut request = miss.request;
            request["differences"] = json!(miss.differences);
            request
        });
        ExpectationResult {
            r#type: "mock.expectation",
            met,
            expected: self.describe(),
            matched: tally.matched,
            compared: tally.compared,
            lost: tally.lost,
            unexpected: if is_excess {
                tally.matching
            } else {
                Vec::new()
            },
            nearest: if met || is_excess {
                Vec::new()
            } else {
                nearest.collect()
            },
        }
    }

    /// Makes the requests so far decide.
    pub(crate) const fn decide_at_once(&mut self) {
        self.within = None;
    }

    /// The expectation in words: `exactly 2 requests PATCH /users*`.
    pub(crate) fn describe(&self) -> String {
        let (count, plural) = match self.expected {
            ExpectedCount::Exactly(0) => ("no".to_owned(), false),
            ExpectedCount::Exactly(count) => (format!("exactly {count}"), count != 1),
            ExpectedCount::AtLeast(count) => (format!("at least {count}"), count != 1),
        };
        let noun = if plural { "requests" } else { "request" };
        let filter = self.filter.describe();
        let text = format!("{count} {noun} {filter}");
        text.trim_end().to_owned()
    }
}

impl ExpectationResult {
    /// What is wrong, in one line.
    pub(crate) fn failure(&self) -> String {
        format!(
            "expected {}; {} of {} requests match",
            self.expected, self.matched, self.compared
        )
    }
}

impl Tally {
    fn add(
        &mut self,
        filter: &RequestFilter,
        at: DateTime<Utc>,
        number: u64,
        request: &LoggedRequest,
    ) {
        self.compared += 1;
        let shown = || {
            json!({
                "number": number,
                "at": super::engine::Rfc3339(at),
                "method": request.method,
                "path": super::redaction::without_tokens(&request.path),
                "user": request.user.as_deref().map(super::redaction::without_tokens),
                "status": request.status,
            })
        };
        let differences = filter.differences(at, request);
        if differences.is_empty() {
            self.matched += 1;
            if self.matching.len() == NEAREST_MAX {
                self.matching.remove(0);
            }
            self.matching.push(shown());
            return;
        }
        let distance = differences
            .iter()
            .map(|difference| difference.distance)
            .sum();
        // Of two that are equally near, the later one is named first.
        let rank = self
            .nearest
            .partition_point(|other| other.distance < distance);
        if rank < NEAREST_MAX {
            self.nearest.truncate(NEAREST_MAX - 1);
            let request = shown();
            self.nearest.insert(
                rank,
                NearMiss {
                    distance,
                    request,
                    differences,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn request(method: &str, path: &str) -> TrafficEvent {
        TrafficEvent::Request(Box::new(LoggedRequest {
            method: method.into(),
            path: path.into(),
            status: Some(200),
            ..LoggedRequest::default()
        }))
    }

    fn log(requests: &[(&str, &str)]) -> TrafficLog {
        let log = TrafficLog::default();
        for (method, path) in requests {
            log.record(DateTime::UNIX_EPOCH, request(method, path));
        }
        log
    }

    fn expectation(text: Value) -> Expectation {
        let spec: ExpectationSpec = serde_json::from_value(text).unwrap();
        spec.compile(DateTime::UNIX_EPOCH).unwrap()
    }

    async fn judged(log: &TrafficLog, text: Value) -> ExpectationResult {
        expectation(text).judge(log, 0).await.unwrap()
    }

    #[tokio::test]
    async fn counts_decide_at_once_without_a_time() {
        let log = log(&[("GET", "/users"), ("GET", "/users"), ("PATCH", "/users")]);
        for (text, met) in [
            (json!({"path": "/users"}), true),
            (json!({"method": "GET", "count": 2}), true),
            (json!({"method": "GET", "count": 1}), false),
            (json!({"method": "GET", "count": 3}), false),
            (json!({"method": "GET", "at_least": 2}), true),
            (json!({"method": "GET", "at_least": 3}), false),
            (json!({"method": "DELETE", "never": true}), true),
            (json!({"method": "PATCH", "never": true}), false),
        ] {
            assert_eq!(judged(&log, text.clone()).await.met, met, "{text}");
        }
    }

    #[tokio::test]
    async fn a_failure_names_the_nearest_requests() {
        let log = log(&[
            ("GET", "/channels"),
            ("POST", "/users"),
            ("PATCH", "/user"),
            ("PATCH", "/users/x"),
            ("DELETE", "/channels"),
        ]);
        let result = judged(&log, json!({"method": "PATCH", "path": "/users"})).await;
        let nearest: Vec<_> = result.nearest.iter().map(|near| &near["path"]).collect();
        assert_eq!(nearest, ["/user", "/users/x", "/users"]);
        assert_eq!(
            result.nearest[0]["differences"],
            json!([{"filter": "path", "expected": "/users", "actual": "/user"}])
        );
        assert_eq!(result.expected, "at least 1 request PATCH /users");
        let result = judged(&log, json!({"path": "/channels", "never": true})).await;
        assert_eq!(result.expected, "no request /channels");
        assert_eq!((result.unexpected.len(), result.nearest.len()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_as_soon_as_the_answer_is_certain() {
        let log = Arc::new(log(&[("GET", "/users")]));
        let start = Instant::now();
        let wait = |text: Value| {
            let log = log.clone();
            tokio::spawn(async move { judged(&log, text).await.met })
        };
        let never = wait(json!({"path": "/channels", "never": true, "within": "9s"}));
        let twice = wait(json!({"path": "/users", "count": 2, "within": "1h"}));
        let too_few = wait(json!({"path": "/users", "count": 3, "within": "10s"}));
        tokio::time::sleep(Duration::from_secs(5)).await;
        log.record(DateTime::UNIX_EPOCH, request("GET", "/users"));
        assert!(twice.await.unwrap());
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        assert!(never.await.unwrap());
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        assert!(!too_few.await.unwrap());
        let forever = tokio::spawn(async move {
            log.close();
            expectation(json!({"path": "/x", "within": "1h"}))
                .judge(&log, 0)
                .await
        });
        assert_eq!(forever.await.unwrap(), None);
    }

    #[test]
    fn counts_exclude_each_other() {
        let spec: ExpectationSpec =
            serde_json::from_value(json!({"count": 1, "never": true})).unwrap();
        let error = spec.compile(DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            error.detail,
            "only one of count, at_least and never can be set"
        );
    }
}
