//! Matching: whether a request is a recorded one, and how it differs.
//!
//! Ignored is what differs in every session: connection ids, credentials, times, and generated ids. A pseudonym in the
//! recording stands for any text, because the recording does not know the text.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::bindings::Bindings;
use crate::mock::recording::{DROPPED, RecordedRequest, is_pseudonym, is_secret_name};
use crate::mock::redaction::hidden;
use crate::mock::url_path::path_segments;

/// Members and parameters that differ in every session.
const IGNORED_FIELDS: &[&str] = &[
    "connection_id",
    "client_id",
    "client_request_id",
    "user_agent",
];
/// How many characters of a value are shown in a difference.
const SHOWN_MAX_CHARS: usize = 60;
/// How many differences are shown.
const SHOWN_MAX_DIFFERENCES: usize = 3;
/// How many differences another method counts as, and another segment of the path.
const METHOD_WEIGHT: usize = 8;
const PATH_WEIGHT: usize = 4;

/// A request to a replaying mock.
#[derive(Debug, Clone)]
pub(crate) struct LiveRequest {
    /// The method.
    pub(crate) method: String,
    /// The path, percent-encoded.
    pub(crate) path: String,
    /// The query without credentials.
    pub(crate) query: Map<String, Value>,
    /// The user of the token.
    pub(crate) user: Option<String>,
    /// The JSON of the body.
    pub(crate) body: Option<Value>,
}

/// What a request is compared with: a recorded request, or the upgrade of a recorded socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a Map<String, Value>,
    pub(super) user: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
}

impl<'a> From<&'a RecordedRequest> for Recorded<'a> {
    fn from(request: &'a RecordedRequest) -> Self {
        Self {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            user: request.user.as_deref(),
            body: request.body.as_ref(),
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    differences: Vec<String>,
    /// How much the requests differ.
    pub(super) weight: usize,
    /// The pairs of a pseudonym and a value that make the requests equal.
    pub(super) pairs: Vec<(String, String)>,
    /// How many of the pairs contradict earlier ones.
    pub(super) contradictions: usize,
}

impl Comparison {
    /// Compares a recorded request with one of this session.
    pub(super) fn of(recorded: Recorded<'_>, live: &LiveRequest, bindings: &Bindings) -> Self {
        let mut comparison = Self::default();
        if recorded.method != live.method {
            let difference = format!("method: recorded {}, got {}", recorded.method, live.method);
            comparison.differ(METHOD_WEIGHT, difference);
        }
        comparison.compare_paths(recorded.path, &live.path);
        comparison.compare_objects("query", recorded.query, &live.query);
        match (recorded.user, &live.user) {
            (Some(user), Some(live)) => comparison.compare_texts("user", user, live),
            (None, None) => {}
            (user, live) => {
                let name = |user: Option<&str>| user.unwrap_or("none").to_owned();
                let difference = format!(
                    "user of the token: recorded {}, got {}",
                    name(user),
                    name(live.as_deref())
                );
                comparison.differ(1, difference);
            }
        }
        let nothing = Value::Null;
        comparison.compare(
            "body",
            recorded.body.unwrap_or(&nothing),
            live.body.as_ref().unwrap_or(&nothing),
        );
        comparison.contradictions = comparison
            .pairs
            .iter()
            .filter(|(recorded, live)| bindings.contradicts(recorded, live))
            .count();
        comparison
    }

    /// Whether the request is the recorded one.
    pub(super) const fn is_match(&self) -> bool {
        self.weight == 0
    }

    /// The differences for a person.
    pub(super) fn describe(&self) -> String {
        let shown = &self.differences[..self.differences.len().min(SHOWN_MAX_DIFFERENCES)];
        let text = shown.join("; ");
        match self.differences.len() - shown.len() {
            0 => text,
            more => format!("{text}; and {more} more"),
        }
    }

    fn differ(&mut self, weight: usize, difference: String) {
        self.weight += weight;
        self.differences.push(difference);
    }

    fn compare_paths(&mut self, recorded: &str, live: &str) {
        let segments = |path: &str| path_segments(path).unwrap_or_default();
        let (left, right) = (segments(recorded), segments(live));
        let before = self.weight;
        if left.len() == right.len() {
            for (left, right) in left.iter().zip(&right) {
                if !self.match_texts(left, right) {
                    self.weight += PATH_WEIGHT;
                }
            }
        } else {
            self.weight += PATH_WEIGHT * left.len().max(right.len());
        }
        if self.weight > before {
            self.differences.push(format!(
                "path: recorded {}, got {}",
                shown("", &recorded.into()),
                shown("", &live.into())
            ));
        }
    }

    fn compare(&mut self, place: &str, recorded: &Value, live: &Value) {
        match (recorded, live) {
            (Value::Object(recorded), Value::Object(live)) => {
                self.compare_objects(place, recorded, live);
            }
            (Value::Array(recorded), Value::Array(live)) if recorded.len() == live.len() => {
                for (index, (recorded, live)) in recorded.iter().zip(live).enumerate() {
                    self.compare(&format!("{place}[{index}]"), recorded, live);
                }
            }
            (Value::String(recorded), Value::String(live)) => {
                self.compare_texts(place, recorded, live);
            }
            (recorded, _) if *recorded == DROPPED => {}
            (recorded, live) if recorded == live || is_equal_number(recorded, live) => {}
            (recorded, live) => self.differ_at(place, recorded, live),
        }
    }

    fn differ_at(&mut self, place: &str, recorded: &Value, live: &Value) {
        let name = place.rsplit('.').next().unwrap_or_default();
        let difference = match (recorded, live) {
            (Value::Null, live) => format!("{place}: not recorded, got {}", shown(name, live)),
            (recorded, Value::Null) => {
                format!("{place}: recorded {}, missing", shown(name, recorded))
            }
            _ => format!(
                "{place}: recorded {}, got {}",
                shown(name, recorded),
                shown(name, live)
            ),
        };
        self.differ(1, difference);
    }

    fn compare_objects(
        &mut self,
        place: &str,
        recorded: &Map<String, Value>,
        live: &Map<String, Value>,
    ) {
        let is_message = place.ends_with(".message");
        let is_ignored = |name: &str| {
            IGNORED_FIELDS.contains(&name) || is_secret_name(name) || (is_message && name == "id")
        };
        if is_message
            && let (Some(Value::String(recorded)), Some(Value::String(live))) =
                (recorded.get("id"), live.get("id"))
            && recorded != live
        {
            self.pairs.push((recorded.clone(), live.clone()));
        }
        let mut unknown = Vec::new();
        for (name, value) in recorded.iter().filter(|(name, _)| !is_ignored(name)) {
            match live.get(name) {
                Some(live) => self.compare(&format!("{place}.{name}"), value, live),
                None if value.is_null() => {}
                None => unknown.push((name, value)),
            }
        }
        let mut others: Vec<_> = live
            .iter()
            .filter(|(name, value)| {
                !is_ignored(name) && !value.is_null() && !recorded.contains_key(*name)
            })
            .collect();
        // Names that are pseudonyms or generated ids: the first one that fits.
        for (name, value) in unknown {
            let fits = others
                .iter()
                .position(|(other, _)| name != *other && can_stand_for(name, other));
            match fits {
                Some(index) => {
                    let (other, live) = others.remove(index);
                    self.pairs.push((name.clone(), other.clone()));
                    self.compare(&format!("{place}.{other}"), value, live);
                }
                None => self.differ_at(&format!("{place}.{name}"), value, &Value::Null),
            }
        }
        for (name, value) in others {
            self.differ_at(&format!("{place}.{name}"), &Value::Null, value);
        }
    }

    fn compare_texts(&mut self, place: &str, recorded: &str, live: &str) {
        if !self.match_texts(recorded, live) {
            self.differ_at(place, &recorded.into(), &live.into());
        }
    }

    /// Whether a text can be the recorded one. Notes the pair if that is not certain.
    fn match_texts(&mut self, recorded: &str, live: &str) -> bool {
        if recorded == live || recorded == DROPPED || recorded == "dropped" {
            return true;
        }
        if can_stand_for(recorded, live) {
            self.pairs.push((recorded.to_owned(), live.to_owned()));
            return true;
        }
        // The cid of a channel whose id has a pseudonym.
        if let (Some((left_type, left)), Some((right_type, right))) =
            (recorded.split_once(':'), live.split_once(':'))
            && left_type == right_type
            && can_stand_for(left, right)
        {
            self.pairs.push((left.to_owned(), right.to_owned()));
            return true;
        }
        is_time(recorded) && is_time(live)
    }
}

/// Whether a recorded text is a pseudonym, or both texts are equal but for generated parts.
fn can_stand_for(recorded: &str, live: &str) -> bool {
    (is_pseudonym(recorded) && !live.is_empty())
        || without_uuids(recorded)
            .is_some_and(|rest| without_uuids(live).is_some_and(|other| rest == other))
}

/// A text with each UUID replaced by a mark, if it has any.
fn without_uuids(text: &str) -> Option<String> {
    const UUID_LENGTH: usize = 36;
    let mut rest = String::new();
    let mut at = 0;
    let mut found = false;
    while at < text.len() {
        let candidate = text.get(at..at + UUID_LENGTH);
        if candidate.is_some_and(|part| Uuid::try_parse(part).is_ok()) {
            rest.push('\u{0}');
            at += UUID_LENGTH;
            found = true;
        } else {
            let next = text[at..].chars().next()?;
            rest.push(next);
            at += next.len_utf8();
        }
    }
    found.then_some(rest)
}

fn is_time(text: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// Whether both are the same number, such as 1 and 1.0.
fn is_equal_number(left: &Value, right: &Value) -> bool {
    left.is_number() && right.is_number() && left.as_f64() == right.as_f64()
}

/// A value in a difference: without secrets, and not too long.
fn shown(name: &str, value: &Value) -> String {
    let text = hidden(name, value.clone()).to_string();
    if text.chars().count() <= SHOWN_MAX_CHARS {
        return text;
    }
    let start: String = text.chars().take(SHOWN_MAX_CHARS).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PSEUDONYM: &str = "p-0011223344556677";

    fn compare(recorded: &Value, live: &Value) -> Comparison {
        let object = |value: &Value| value["query"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
        let query = object(recorded);
        let live = LiveRequest {
            method: text(live, "method").unwrap_or_else(|| "GET".to_owned()),
            path: text(live, "path").unwrap_or_else(|| "/users".to_owned()),
            query: object(live),
            user: text(live, "user"),
            body: live.get("body").cloned(),
        };
        let user = text(recorded, "user");
        let recorded = Recorded {
            method: recorded["method"].as_str().unwrap_or("GET"),
            path: recorded["path"].as_str().unwrap_or("/users"),
            query: &query,
            user: user.as_deref(),
            body: recorded.get("body"),
        };
        Comparison::of(recorded, &live, &Bindings::default())
    }

    #[test]
    fn what_differs_in_every_session_is_ignored() {
        for (recorded, live) in [
            (json!({}), json!({})),
            (
                json!({"query": {"connection_id": "a", "user_id": "amy"}}),
                json!({"query": {"connection_id": "b", "user_id": "amy"}}),
            ),
            (
                json!({"body": {"message": {"id": "m1", "text": PSEUDONYM}}}),
                json!({"body": {"message": {"id": "m2", "text": "Hello"}}}),
            ),
            (
                json!({"path": "/messages/amy-6ba7b810-9dad-11d1-80b4-00c04fd430c8"}),
                json!({"path": "/messages/amy-7ba7b810-9dad-11d1-80b4-00c04fd430c8"}),
            ),
            (
                json!({"body": {"since": "2026-01-05T10:00:00Z", "token": "(dropped)"}}),
                json!({"body": {"since": "2027-01-05T10:00:00Z", "token": "hush"}}),
            ),
            (
                json!({"body": {"a": 1, "b": null}}),
                json!({"body": {"a": 1.0}}),
            ),
            (
                json!({"body": {"users": {PSEUDONYM: {"id": PSEUDONYM}}, "cid": format!("messaging:{PSEUDONYM}")}}),
                json!({"body": {"users": {"amy": {"id": "amy"}}, "cid": "messaging:amy"}}),
            ),
        ] {
            let comparison = compare(&recorded, &live);
            assert!(comparison.is_match(), "{live}: {}", comparison.describe());
        }
    }

    #[test]
    fn differences_are_named_without_secrets() {
        for (recorded, live, difference) in [
            (
                json!({"path": "/users/amy"}),
                json!({"path": "/users/bob", "method": "DELETE"}),
                r#"method: recorded GET, got DELETE; path: recorded "/users/amy", got "/users/bob""#,
            ),
            (
                json!({"query": {"limit": "30"}}),
                json!({"query": {"limit": "10", "offset": "5"}}),
                r#"query.limit: recorded "30", got "10"; query.offset: not recorded, got "5""#,
            ),
            (
                json!({"user": "amy", "body": {"set": {"color": "green"}}}),
                json!({"body": {"set": {}}}),
                r#"user of the token: recorded amy, got none; body.set.color: recorded "green", missing"#,
            ),
            (
                json!({"body": {"note": "eyJhbGciOiJ9.eyJ1IjoxfQ.c2ln"}}),
                json!({"body": {"note": 1}}),
                r#"body.note: recorded "(hidden)", got 1"#,
            ),
            (
                json!({"body": [1]}),
                json!({"body": [1, 2]}),
                "body: recorded [1], got [1,2]",
            ),
        ] {
            assert_eq!(compare(&recorded, &live).describe(), difference);
        }
    }
}
