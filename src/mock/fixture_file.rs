//! Parses a fixture from JSON.
//!
//! A fixture is checked by the rules that the running server has, so that a mistake is reported at the start, with its
//! place in the file.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Deserializer, Map, Value, json};

use super::engine::{RESERVED_USER_FIELDS, ServiceState};
use super::fixture::{Fixture, FixtureError};
use super::options::MockRules;

/// Fields that only the service sets in a running application, but that a fixture may set.
const FIXTURE_FIELDS: [&str; 4] = ["online", "last_active", "created_at", "deactivated_at"];

/// Maximum size of a fixture file. A million users with a few fields fit into it.
pub const FIXTURE_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Maximum size of a fixture that is sent to a running server, the same as of any control request.
pub const SENT_FIXTURE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A fixture, and what was left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FixtureFile {
    /// The users and channels.
    pub fixture: Fixture,
    /// The read-only fields of users that the file has and the fixture has not.
    pub dropped_fields: Vec<String>,
}

impl FixtureFile {
    /// What to say about the fields that were left out.
    pub fn warning(&self) -> Option<String> {
        (!self.dropped_fields.is_empty()).then(|| {
            format!(
                "the fixture's users have read-only fields, which are ignored: {}",
                self.dropped_fields.join(", ")
            )
        })
    }
}

/// Reads a fixture and checks it by the rules of the service.
///
/// # Errors
///
/// As [`parse_fixture`], or something in the fixture breaks a rule of the service; the message says where.
pub fn read_fixture(text: &str) -> Result<FixtureFile, FixtureError> {
    let read = parse_fixture(text)?;
    ServiceState::new(MockRules::default(), 0).load(&read.fixture, DateTime::UNIX_EPOCH)?;
    if let Some(demo) = &read.fixture.demo {
        for id in &demo.users {
            if !read
                .fixture
                .users
                .iter()
                .any(|user| user.get("id") == Some(&json!(id)))
            {
                return Err(FixtureError::new(
                    "demo.users",
                    format!("there is no user {id:?} in the fixture"),
                ));
            }
        }
    }
    Ok(read)
}

/// Reads a fixture: an object with `users`, `channels` and `demo`, each optional, in JSON or YAML; or users alone, as
/// `query-users` prints them: a JSON array, or one object a line. A byte order mark is ignored.
///
/// # Errors
///
/// The text is neither.
pub fn parse_fixture(text: &str) -> Result<FixtureFile, FixtureError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter().collect();
    let mut fixture = match json {
        Ok(documents) => match users_alone(&documents) {
            Some(users) => Fixture {
                users,
                ..Fixture::default()
            },
            // Read from the text again, for errors with their line and column.
            None => serde_json::from_str(text).map_err(|error| FixtureError::new("", error))?,
        },
        Err(error) => read_yaml(text, &error)?,
    };
    let mut dropped = BTreeSet::new();
    for user in &mut fixture.users {
        user.retain(|field, _| {
            let is_read_only = RESERVED_USER_FIELDS.contains(&field.as_str())
                && !FIXTURE_FIELDS.contains(&field.as_str());
            if is_read_only {
                dropped.insert(field.clone());
            }
            !is_read_only
        });
    }
    Ok(FixtureFile {
        fixture,
        dropped_fields: dropped.into_iter().collect(),
    })
}

/// The users of an output of `query-users`: an array, or objects with an `id`.
fn users_alone(documents: &[Value]) -> Option<Vec<Map<String, Value>>> {
    let users = match documents {
        [Value::Array(users)] => users,
        users => users,
    };
    let has_id = |user: &Map<String, Value>| user.contains_key("id");
    let users: Option<Vec<_>> = users.iter().map(|user| user.as_object().cloned()).collect();
    users.filter(|users| users.iter().all(has_id) && !documents.is_empty())
}

/// Reads YAML, which a text that is not JSON may be. What begins like JSON is reported as JSON.
fn read_yaml(text: &str, json_error: &serde_json::Error) -> Result<Fixture, FixtureError> {
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    let value = match serde_saphyr::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => value,
        Ok(list @ Value::Array(_)) => json!({ "users": list }),
        Ok(_) => {
            return Err(FixtureError::new(
                "",
                "expected an object with users and channels, in JSON or YAML",
            ));
        }
        Err(_) if looks_like_json => return Err(FixtureError::new("", json_error)),
        Err(error) => return Err(FixtureError::new("", error)),
    };
    serde_json::from_value(value).map_err(|error| FixtureError::new("", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::{self, FuzzTarget};
    use crate::mock::fixture::demo_fixture;

    #[test]
    fn the_demonstration_obeys_the_rules() {
        let fixture = demo_fixture(DateTime::from_timestamp(1_767_610_800, 0).unwrap());
        let mut state = ServiceState::new(MockRules::default(), 0);
        state.load(&fixture, DateTime::UNIX_EPOCH).unwrap();
        let (users, channels, connections) = state.counts();
        assert_eq!((users, channels), (12, 2));
        assert!(connections > 0);
    }

    #[test]
    fn fuzz_fixtures() {
        const FIELDS: &[(&str, &str)] = &[
            (
                "users",
                r#"[{"id":"amy","online":true},{"id":"bob","invisible":true,"status":"x"}]"#,
            ),
            (
                "users",
                r#"[{"id":"amy","last_active":"2026-01-05T10:00:00Z","teams":["a"]}]"#,
            ),
            (
                "channels",
                r#"[{"type":"messaging","id":"a","members":["amy"],"created_by_id":"amy"}]"#,
            ),
            (
                "channels",
                r#"[{"type":"team","id":"b","created_at":"2026-01-05T10:00:00Z"}]"#,
            ),
            (
                "demo",
                r#"{"seed":1,"min_ms":1,"max_ms":2,"users":["amy"]}"#,
            ),
        ];
        const WORDS: &[&str] = &[
            "users",
            "channels",
            "demo",
            "id",
            "type",
            "members",
            "online",
            "invisible",
            "last_active",
            "created_at",
            "updated_at",
            "teams",
            "role",
            "user_id",
            "amy",
            "messaging",
            "frozen",
            "invited",
            "banned",
        ];
        let target = FuzzTarget {
            name: "fixtures",
            inputs: 1500,
            generate: |rng| fuzz::object(rng, WORDS, FIELDS),
            words: WORDS,
        };
        target.run(|text| {
            if let Err(error) = read_fixture(text) {
                assert!(!error.to_string().is_empty());
            }
        });
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = |text: &str| read_fixture(text).unwrap_err().to_string();
        assert!(error("{").contains("line 1"));
        assert!(error(r#"{"user": []}"#).contains("unknown field `user`"));
        assert_eq!(
            error(r#"{"users": [{"id": "a"}, {"id": "b c"}]}"#),
            "users[1]: `b c` is not a user id: it takes letters, digits, `@`, `_` and `-`, at most 255 of them"
        );
        assert!(error(r#"{"users": [{"name": "x"}]}"#).starts_with("users[0]: "));
        assert!(error(r#"{"users": [{"id": "a"}, {"id": "a"}]}"#).starts_with("users[1]: "));
        assert!(
            error(r#"{"channels": [{"type": "messaging", "id": "x", "members": ["ghost"]}]}"#)
                .starts_with("channels[0]: ")
        );
        assert!(error(r#"{"demo": {"users": ["ghost"]}}"#).starts_with("demo.users: "));
        assert!(read_fixture("{}").is_ok());
    }

    #[test]
    fn users_may_come_alone_in_yaml_and_behind_a_byte_order_mark() {
        let ids = |text: &str| {
            let read = read_fixture(text).unwrap();
            let users = read.fixture.users.into_iter();
            users
                .map(|user| user["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for text in [
            r#"[{"id":"a"},{"id":"b"}]"#,
            "{\"id\":\"a\"}\n{\"id\":\"b\"}\n",
            "\u{feff}{\"users\":[{\"id\":\"a\"},{\"id\":\"b\"}]}",
            "users:\n- id: a\n- {id: b, status: 'at lunch'}\n",
            "\u{feff}users: [{id: a}, {id: b}]",
            "{users: [{id: a}, {id: b}]}",
        ] {
            assert_eq!(ids(text), ["a", "b"], "{text}");
        }
        let error = read_fixture("users: [{id: a}\n").unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
    }
}
