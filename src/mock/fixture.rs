//! A fixture: the users and channels that a mock starts with, read from a file or generated for the demonstration.
//!
//! A fixture is checked by the rules of the running server, so that a mistake is refused at the start, with its place
//! in the file.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The initial users and channels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fixture {
    /// User objects: `id`, and any fields that an upsert accepts. Also `created_at`, `last_active`, `deactivated_at`,
    /// and `online`, which connects the user at the start.
    pub users: Vec<Map<String, Value>>,
    /// Channel objects: `type`, `id`, `members`, `created_by_id`, and custom fields.
    pub channels: Vec<Map<String, Value>>,
    /// The activity of the demonstration, if any.
    pub demo: Option<Demo>,
}

/// A schedule by which users come and go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Demo {
    /// The same seed gives the same schedule.
    pub seed: u64,
    /// The shortest time between two changes, in milliseconds.
    pub min_ms: u64,
    /// The longest time between two changes, in milliseconds.
    pub max_ms: u64,
    /// The users who take part, most active first; empty for all.
    pub users: Vec<String>,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            seed: 1,
            min_ms: 700,
            max_ms: 1700,
            users: Vec::new(),
        }
    }
}

impl Demo {
    /// The shortest and the longest time between two changes.
    pub fn pace(&self) -> (Duration, Duration) {
        let (min, max) = (self.min_ms.max(1), self.max_ms.max(1));
        (
            Duration::from_millis(min.min(max)),
            Duration::from_millis(max.max(min)),
        )
    }
}

/// Why a fixture is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixtureError {
    place: String,
    reason: String,
}

impl FixtureError {
    pub(crate) fn new(place: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            place: place.into(),
            reason: reason.to_string(),
        }
    }
}

impl FixtureError {
    /// Where the mistake is, such as `users[1]`; empty if it is not known.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for FixtureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.place, self.reason)
        }
    }
}

impl std::error::Error for FixtureError {}

/// The demonstration fixture: a dozen users and two channels, with activity.
pub fn demo_fixture(now: DateTime<Utc>) -> Fixture {
    let people = [
        ("john", "John", Some("Eating a veggie burger...")),
        ("jack", "Jack", None),
        ("amy", "Amy", Some("In a meeting until noon")),
        ("bob", "Bob", None),
        ("carla", "Carla", Some("On call")),
        ("dmitri", "Dmitri", None),
        ("elena", "Elena", Some("Working from home")),
        ("farid", "Farid", None),
        ("grace", "Grace", Some("Out for a run")),
        ("hiro", "Hiro", None),
        ("ines", "Inês", Some("Deep work, back at 3")),
        ("support-bot", "Support Bot", None),
    ];
    let users = (0_i64..)
        .zip(people)
        .map(|(place, (id, name, status))| {
            let joined = now - TimeDelta::days(30) + TimeDelta::minutes(place);
            let mut user = Map::new();
            user.insert("id".into(), json!(id));
            user.insert("name".into(), json!(name));
            user.insert("created_at".into(), json!(joined));
            if let Some(status) = status {
                user.insert("status".into(), json!(status));
            }
            // The bot has never been online; everybody else has.
            if id != "support-bot" {
                let seen = now - TimeDelta::minutes(3 + 17 * place);
                user.insert("last_active".into(), json!(seen));
                user.insert("online".into(), json!(place % 3 == 1));
            }
            user
        })
        .collect();
    let channel = |value: Value| match value {
        Value::Object(channel) => channel,
        _ => Map::new(),
    };
    Fixture {
        users,
        channels: vec![
            channel(json!({
                "type": "messaging",
                "id": "my-conversation-123",
                "members": ["john", "jack"],
                "created_by_id": "john",
                "color": "green"
            })),
            channel(json!({
                "type": "messaging",
                "id": "team-lounge",
                "members": ["amy", "bob", "carla", "dmitri", "elena", "farid", "grace", "hiro"],
                "created_by_id": "amy",
                "name": "Team lounge",
                "color": "blue"
            })),
        ],
        demo: Some(Demo {
            users: [
                "john", "jack", "amy", "bob", "carla", "dmitri", "elena", "grace",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Demo::default()
        }),
    }
}
