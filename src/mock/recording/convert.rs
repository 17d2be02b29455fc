//! Makes a fixture or a scenario from a recording.
//!
//! The fixture has every user and channel that the server showed, as they were when they were seen first. The scenario
//! repeats what happened to the users afterwards: who came, who went, and what they changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::format::{FrameSender, TrafficRecording};
use super::redact::DROPPED;
use crate::domain::{ChannelId, ChannelType, UserId};
use crate::mock::engine::{RESERVED_CHANNEL_FIELDS, RESERVED_USER_FIELDS};
use crate::mock::fixture_file::read_fixture;

/// Fields under which a response or an event has a user.
const USER_FIELDS: &[&str] = &["user", "me", "own_user", "created_by", "target_user"];
/// Fields under which it has several.
const USER_LIST_FIELDS: &[&str] = &["users", "watchers"];
/// Fields that only the service sets, but that a fixture may have.
const SHOWN_FIELDS: &[&str] = &["online", "last_active", "created_at"];
/// Fields that only the service sets, but that name a channel in a fixture.
const CHANNEL_NAME_FIELDS: &[&str] = &["id", "type"];
/// Fields of channels in responses that a fixture does not take, beside those that only the service sets.
const DROPPED_CHANNEL_FIELDS: &[&str] = &[
    "truncated_by",
    "created_by",
    "members",
    "disabled",
    "hidden",
    "blocked",
    "auto_translation_enabled",
    "auto_translation_language",
    "muted",
    "membership",
];
/// The channel types that every application has.
const CHANNEL_TYPES: &[&str] = &["messaging", "livestream", "team", "gaming", "commerce"];

/// Why a recording has no fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionError(String);

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the recording does not make a valid fixture: {}", self.0)
    }
}

impl std::error::Error for ConversionError {}

/// A scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedScenario {
    /// The scenario as JSON, which YAML contains.
    pub scenario: Value,
    /// How many steps it has.
    pub steps: usize,
}

type ObservedFields = Map<String, Value>;

/// What a recording shows of users and channels.
#[derive(Debug, Default)]
struct ObservedWorld {
    users: BTreeMap<String, ObservedFields>,
    channels: BTreeMap<String, ObservedFields>,
    /// Members by the channel's cid.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl ObservedWorld {
    fn of(recording: &TrafficRecording) -> Self {
        let mut world = Self::default();
        let responses = recording
            .requests
            .iter()
            .filter(|request| request.status < 400)
            .filter_map(|request| {
                let at_ms = request.at_ms.saturating_add(request.took_ms);
                Some((at_ms, request.response.as_ref()?))
            });
        let frames = recording
            .sockets
            .iter()
            .flat_map(|socket| &socket.frames)
            .filter(|frame| frame.from == FrameSender::Server)
            .filter_map(|frame| Some((frame.at_ms, frame.data.as_ref()?)));
        let mut shown: Vec<_> = responses.chain(frames).collect();
        shown.sort_by_key(|(at_ms, _)| *at_ms);
        for (_, value) in shown {
            world.observe(value);
        }
        // Their own clients connect them.
        for socket in &recording.sockets {
            let user = socket.opening.user.as_ref();
            if let Some(user) = user.and_then(|user| world.users.get_mut(user)) {
                user.remove("online");
            }
        }
        world
    }

    fn observe(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                self.observe_channel(members);
                for (name, member) in members {
                    if USER_FIELDS.contains(&name.as_str()) {
                        self.observe_user(member);
                    } else if USER_LIST_FIELDS.contains(&name.as_str()) {
                        match member {
                            Value::Array(users) => {
                                users.iter().for_each(|user| self.observe_user(user));
                            }
                            Value::Object(users) => {
                                users.values().for_each(|user| self.observe_user(user));
                            }
                            _ => {}
                        }
                    }
                    self.observe(member);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.observe(item)),
            _ => {}
        }
    }

    fn observe_user(&mut self, value: &Value) {
        let Some(fields) = value.as_object() else {
            return;
        };
        let Some(id) = user_id(fields.get("id")) else {
            return;
        };
        let known = self.users.entry(id).or_default();
        // A later object shows what has changed meanwhile. One with an id alone shows nothing.
        if known.len() > 1 {
            return;
        }
        for (name, value) in fields {
            let is_kept = SHOWN_FIELDS.contains(&name.as_str())
                || !RESERVED_USER_FIELDS.contains(&name.as_str());
            if is_kept && is_set(value) {
                known.insert(name.clone(), value.clone());
            }
        }
    }

    /// Notes the channel that an object is, or whose state it has.
    fn observe_channel(&mut self, fields: &ObservedFields) {
        let channel = fields.get("channel").and_then(Value::as_object);
        let channel = channel.unwrap_or(fields);
        let text = |name: &str| channel.get(name).and_then(Value::as_str);
        let (Some(channel_type), Some(id), Some(cid)) = (text("type"), text("id"), text("cid"))
        else {
            return;
        };
        let is_valid = CHANNEL_TYPES.contains(&channel_type)
            && channel_type.parse::<ChannelType>().is_ok()
            && id.parse::<ChannelId>().is_ok();
        if !is_valid || cid != format!("{channel_type}:{id}") {
            return;
        }
        let known = self.channels.entry(cid.to_owned()).or_default();
        for (name, value) in channel {
            if is_kept_of_channel(name) && is_set(value) && !known.contains_key(name) {
                known.insert(name.clone(), value.clone());
            }
        }
        let creator = channel.get("created_by").and_then(|user| user.get("id"));
        if let Some(creator) = user_id(creator) {
            known.insert("created_by_id".to_owned(), creator.into());
        }
        let lists = [fields.get("members"), channel.get("members")];
        for member in lists
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten()
        {
            let id = member.get("user_id").or_else(|| member.pointer("/user/id"));
            if let Some(id) = user_id(id) {
                self.members.entry(cid.to_owned()).or_default().insert(id);
            }
        }
    }

    /// The fixture.
    fn into_fixture(mut self) -> Value {
        let mentioned: Vec<String> = self
            .members
            .values()
            .flatten()
            .cloned()
            .chain(
                self.channels
                    .values()
                    .filter_map(|channel| user_id(channel.get("created_by_id"))),
            )
            .collect();
        for id in mentioned {
            let user = self.users.entry(id.clone()).or_default();
            user.insert("id".to_owned(), id.into());
        }
        let channels: Vec<Value> = self
            .channels
            .into_iter()
            .map(|(cid, mut channel)| {
                if let Some(members) = self.members.get(&cid) {
                    channel.insert("members".to_owned(), json!(members));
                }
                channel.into()
            })
            .collect();
        let users: Vec<Value> = self.users.into_values().map(Value::from).collect();
        json!({ "users": users, "channels": channels })
    }
}

/// Whether a fixture takes this field of a channel.
fn is_kept_of_channel(name: &str) -> bool {
    CHANNEL_NAME_FIELDS.contains(&name)
        || !(RESERVED_CHANNEL_FIELDS.contains(&name) || DROPPED_CHANNEL_FIELDS.contains(&name))
}

/// Whether a field has a value that can be set.
fn is_set(value: &Value) -> bool {
    !value.is_null() && value != DROPPED
}

fn user_id(value: Option<&Value>) -> Option<String> {
    let id = value?.as_str()?;
    id.parse::<UserId>().ok().map(|_| id.to_owned())
}

/// The users and channels of a recording as a fixture.
///
/// # Errors
///
/// They break a rule that fixtures obey.
pub fn fixture_of(recording: &TrafficRecording) -> Result<Value, ConversionError> {
    let fixture = ObservedWorld::of(recording).into_fixture();
    read_fixture(&fixture.to_string()).map_err(|error| ConversionError(error.to_string()))?;
    Ok(fixture)
}

/// What happened to the users of a recording, as a scenario that starts with its fixture.
///
/// # Errors
///
/// As [`fixture_of`].
pub fn scenario_of(recording: &TrafficRecording) -> Result<RecordedScenario, ConversionError> {
    let fixture = fixture_of(recording)?;
    let mut known: BTreeMap<String, ObservedFields> = BTreeMap::new();
    for user in fixture["users"].as_array().into_iter().flatten() {
        if let (Some(id), Some(fields)) = (user["id"].as_str(), user.as_object()) {
            known.insert(id.to_owned(), fields.clone());
        }
    }
    let mut frames: Vec<_> = recording
        .sockets
        .iter()
        .flat_map(|socket| &socket.frames)
        .filter(|frame| frame.from == FrameSender::Server)
        .collect();
    frames.sort_by_key(|frame| frame.at_ms);
    let mut steps = Vec::new();
    for frame in frames {
        let Some(event) = &frame.data else { continue };
        let is_presence = event["type"] == "user.presence.changed";
        if !is_presence && event["type"] != "user.updated" {
            continue;
        }
        let Some(fields) = event["user"].as_object() else {
            continue;
        };
        let user = fields.get("id").and_then(Value::as_str);
        let Some((id, known)) = user.and_then(|id| Some((id, known.get_mut(id)?))) else {
            continue;
        };
        let at = at_text(frame.at_ms);
        let changed = changed_fields(known, fields);
        if !changed.is_empty() {
            steps.push(json!({ "at": at, "user": { "id": id, "set": changed } }));
        }
        let is_online = fields.get("online").and_then(Value::as_bool);
        let was_online = known
            .get("online")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        if let Some(online) = is_online.filter(|online| is_presence && *online != was_online) {
            known.insert("online".to_owned(), online.into());
            let what = if online { "connect" } else { "disconnect" };
            steps.push(json!({ "at": at, "user": { "id": id, what: true } }));
        }
    }
    let count = steps.len();
    let scenario = json!({
        "fixture": fixture,
        "clock": { "freeze": recording.start.recorded_at },
        "steps": steps,
    });
    Ok(RecordedScenario {
        scenario,
        steps: count,
    })
}

/// The fields that differ from the known ones, which are then known.
fn changed_fields(known: &mut ObservedFields, fields: &ObservedFields) -> ObservedFields {
    let mut changed = ObservedFields::new();
    for (name, value) in fields {
        let is_own = name != "id" && !RESERVED_USER_FIELDS.contains(&name.as_str());
        if is_own && is_set(value) && known.get(name) != Some(value) {
            known.insert(name.clone(), value.clone());
            changed.insert(name.clone(), value.clone());
        }
    }
    changed
}

fn at_text(at_ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(at_ms))
        .to_string()
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::recording::RecordingReader;

    fn session() -> TrafficRecording {
        RecordingReader::read(include_str!(
            "../../../tests/corpus/recordings/session.ndjson"
        ))
        .unwrap()
    }

    #[test]
    fn a_fixture_has_the_users_and_channels_as_they_were_at_first() {
        let fixture = fixture_of(&session()).unwrap();
        assert_eq!(
            fixture,
            json!({
                "users": [
                    {"id": "amy", "name": "p-0011223344556677"},
                    {"id": "bob", "name": "p-8899aabbccddeeff", "online": false},
                ],
                "channels": [
                    {"id": "room", "type": "messaging", "created_by_id": "amy", "members": ["amy", "bob"]},
                ],
            })
        );
    }

    #[test]
    fn a_scenario_repeats_who_came_and_went() {
        let scenario = scenario_of(&session()).unwrap();
        assert_eq!(scenario.steps, 3);
        assert_eq!(
            scenario.scenario["clock"],
            json!({"freeze": "2026-01-05T10:00:00.000Z"})
        );
        assert_eq!(
            scenario.scenario["steps"],
            json!([
                {"at": "950ms", "user": {"id": "bob", "set": {"status": "busy"}}},
                {"at": "950ms", "user": {"id": "bob", "connect": true}},
                {"at": "2s", "user": {"id": "bob", "disconnect": true}},
            ])
        );
    }

    #[test]
    fn times_are_written_as_durations() {
        assert_eq!(at_text(0), "0s");
        assert_eq!(at_text(61_250), "1m1s250ms");
    }
}
