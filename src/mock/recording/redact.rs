//! Redaction: removes secrets from what is recorded, and replaces what people wrote or are by pseudonyms.
//!
//! The rule is an allow list. A string is kept only if the name of its field says that it is an id, a time, or a word
//! of the protocol such as the type of an event. Every other string becomes a pseudonym: a keyed hash with a random key
//! per recording, which nobody keeps. So the same text has the same pseudonym within a file, and guessing a text does
//! not confirm it. Whatever is or looks like a key or a token is dropped, wherever it stands.

use std::collections::BTreeSet;

use ring::hmac;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::field_class::{
    FieldClass, class_of, has_token, is_email, is_id, is_secret_name, is_time, is_vocabulary,
};
use super::format::IdHandling;
use crate::mock::url_path::path_segments;

/// What stands in place of a secret.
pub(crate) const DROPPED: &str = "(dropped)";

/// The start of a pseudonym for any text. Also valid as an id.
const PSEUDONYM_PREFIX: &str = "p-";
/// The host of pseudonyms for URLs and e-mail addresses. The domain `.invalid` never resolves.
const PSEUDONYM_HOST: &str = "pseudonym.invalid";
/// How many hexadecimal digits of a hash a pseudonym has.
const HASH_DIGITS: usize = 16;

/// Query parameters that say nothing about the session: names of clients, and numbers that differ in each request.
const DROPPED_PARAMETERS: &[&str] = &[
    "x-stream-client",
    "stream-auth-type",
    "client_request_id",
    "x-client-request-id",
    "request_id",
];

/// Words in the paths of the service. Every other segment of a path is an id.
const PATH_WORDS: &[&str] = &[
    "action",
    "api",
    "app",
    "ban",
    "batch",
    "block",
    "blocklists",
    "channel",
    "channels",
    "channeltypes",
    "chat",
    "commands",
    "connect",
    "deactivate",
    "delete",
    "delivered",
    "devices",
    "draft",
    "drafts",
    "event",
    "export",
    "feeds",
    "file",
    "flag",
    "guest",
    "hi",
    "hide",
    "history",
    "image",
    "live_locations",
    "longpoll",
    "member",
    "members",
    "message",
    "messages",
    "moderation",
    "mute",
    "options",
    "pin",
    "poll",
    "polls",
    "query",
    "query_banned_users",
    "rate_limits",
    "reaction",
    "reactions",
    "reactivate",
    "read",
    "reminders",
    "replies",
    "restore",
    "roles",
    "show",
    "stop-watching",
    "sync",
    "tasks",
    "threads",
    "translate",
    "truncate",
    "unban",
    "unblock",
    "undelete",
    "unflag",
    "unmute",
    "unread",
    "unread_batch",
    "usergroups",
    "users",
    "v1",
    "v2",
    "video",
    "vote",
    "votes",
];

/// Endings of URLs that stay in their pseudonyms, because clients look at them.
const KEPT_EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "gif", "webp", "svg", "mp4", "pdf"];

/// The shortest secret that is looked for inside other texts.
const SECRET_MIN_CHARS: usize = 8;
/// The shortest value of a field with a secret's name that is looked for everywhere else.
const LEARNED_MIN_CHARS: usize = 12;

/// What to do with which fields.
#[derive(Debug, Clone)]
pub struct RedactionOptions {
    /// What to do with ids.
    pub ids: IdHandling,
    /// The fields whose values stay.
    pub keep: BTreeSet<String>,
}

/// Removes secrets and people's data.
#[derive(Debug)]
pub struct RecordingRedactor {
    key: hmac::Key,
    options: RedactionOptions,
    /// The secrets that were seen, or are known from the start.
    secrets: BTreeSet<String>,
}

impl RecordingRedactor {
    /// A redactor with a random key.
    pub fn new(key: &[u8; 32], options: RedactionOptions) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            options,
            secrets: BTreeSet::new(),
        }
    }

    /// The secrets that are known by now.
    pub const fn secrets(&self) -> &BTreeSet<String> {
        &self.secrets
    }

    /// Learns a secret, which then appears in no output. Short texts are ordinary words too often.
    pub fn learn(&mut self, secret: &str) {
        let secret = secret.trim();
        let secret = secret.strip_prefix("Bearer ").unwrap_or(secret);
        if secret.chars().count() >= SECRET_MIN_CHARS && !secret.contains(DROPPED) {
            self.secrets.insert(secret.to_owned());
        }
    }

    /// Learns the secrets in a query: before anything of it is redacted.
    pub fn learn_query(&mut self, query: &str) {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match embedded_json(&value) {
                Some(json) => self.learn_json(&name, &json),
                None if is_secret_name(&name) => self.learn(&value),
                None => {}
            }
        }
    }

    /// Learns the secrets in JSON: before anything of it is redacted.
    pub fn learn_json(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                if let (true, Some(id)) = (is_device(members), members.get("id")) {
                    self.learn(id.as_str().unwrap_or_default());
                }
                for (member, value) in members {
                    let name = if is_secret_name(name) { name } else { member };
                    self.learn_json(name, value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_json(name, item)),
            Value::String(text)
                if is_secret_name(name) && text.chars().count() >= LEARNED_MIN_CHARS =>
            {
                self.learn(text);
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A path without secrets and e-mail addresses, and with `--pseudonymize-ids` without ids.
    pub fn path(&self, path: &str) -> String {
        let segments = path_segments(path).unwrap_or_default();
        let mut kept = String::new();
        let mut before = "";
        for segment in &segments {
            let replaced = if self.contains_secret(segment) {
                "dropped".to_owned()
            } else if is_email(segment) {
                self.pseudonym(segment)
            } else if self.options.ids == IdHandling::Pseudonyms
                && before != "channels"
                && !PATH_WORDS.contains(&segment.as_str())
            {
                self.id(segment)
            } else {
                segment.clone()
            };
            kept.push('/');
            kept.push_str(&encode_segment(&replaced));
            before = segment;
        }
        kept
    }

    /// The parameters of the query of a request with this path, without credentials.
    pub fn query(&self, path: &str, query: &str) -> Map<String, Value> {
        query_object(path, query)
            .iter()
            .map(|(name, value)| {
                let redacted = match value {
                    Value::String(text) if is_plain_scalar(text) => value.clone(),
                    value => self.value(name, value),
                };
                (self.member_name(name, &Value::Null), redacted)
            })
            .collect()
    }

    /// The user of a request.
    pub fn user(&self, id: &str) -> String {
        self.string("id", id)
    }

    /// JSON without secrets, and with pseudonyms.
    pub fn json(&self, value: &Value) -> Value {
        self.value("", value)
    }

    /// The value of a field.
    fn value(&self, name: &str, value: &Value) -> Value {
        if class_of(name) == FieldClass::Secret {
            return match value {
                Value::Null | Value::Bool(_) => value.clone(),
                _ => DROPPED.into(),
            };
        }
        match value {
            Value::Object(members) => members
                .iter()
                .map(|(member, value)| {
                    // `{"name": {"$eq": "Amy"}}` says something about the name.
                    let named = if member.starts_with('$') {
                        name
                    } else {
                        member
                    };
                    (self.member_name(member, value), self.value(named, value))
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.value(name, item)).collect(),
            Value::String(text) => self.string(name, text).into(),
            Value::Number(_) if self.contains_secret(&value.to_string()) => DROPPED.into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// The name of a member. In a map of users it is an id.
    fn member_name(&self, name: &str, value: &Value) -> String {
        if self.contains_secret(name) {
            return self.pseudonym(name);
        }
        if value.get("id").and_then(Value::as_str) == Some(name) {
            return self.string("id", name);
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_$.-:!".contains(c);
        if is_email(name) || name.len() > 64 || !name.chars().all(is_word) {
            self.pseudonym(name)
        } else {
            name.to_owned()
        }
    }

    fn string(&self, name: &str, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        if self.contains_secret(text) {
            return DROPPED.to_owned();
        }
        if self.options.keep.contains(name) {
            return text.to_owned();
        }
        match class_of(name) {
            FieldClass::Secret => DROPPED.to_owned(),
            FieldClass::Id if !is_email(text) && is_id(text) => match self.options.ids {
                IdHandling::Kept => text.to_owned(),
                IdHandling::Pseudonyms => self.id(text),
            },
            FieldClass::Time if is_time(text) => text.to_owned(),
            FieldClass::Vocabulary if is_vocabulary(text) => text.to_owned(),
            _ => self.pseudonym(text),
        }
    }

    /// The pseudonym of an id. The type of a channel's cid stays.
    fn id(&self, id: &str) -> String {
        match id.split_once(':') {
            Some((channel_type, id)) => format!("{channel_type}:{}", self.pseudonym(id)),
            None => self.pseudonym(id),
        }
    }

    /// The pseudonym of a text. That of a URL is a URL, and that of an e-mail address is one.
    fn pseudonym(&self, text: &str) -> String {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let hash: String = tag.as_ref()[..HASH_DIGITS / 2]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if text.starts_with("https://") || text.starts_with("http://") {
            let path = text.split(['?', '#']).next().unwrap_or_default();
            let extension = path
                .rsplit_once('.')
                .map(|(_, extension)| extension.to_ascii_lowercase())
                .filter(|extension| KEPT_EXTENSIONS.contains(&extension.as_str()))
                .map_or_else(String::new, |extension| format!(".{extension}"));
            return format!("https://{PSEUDONYM_HOST}/{hash}{extension}");
        }
        if is_email(text) {
            return format!("{hash}@{PSEUDONYM_HOST}");
        }
        format!("{PSEUDONYM_PREFIX}{hash}")
    }

    fn contains_secret(&self, text: &str) -> bool {
        has_token(text) || self.secrets.iter().any(|secret| text.contains(secret))
    }
}

/// The parameters of a request with this path that say something about the session: without credentials, with JSON as JSON. A parameter
/// that occurs several times is an array.
pub(crate) fn query_object(path: &str, query: &str) -> Map<String, Value> {
    let is_about_devices = path.trim_end_matches('/').ends_with("/devices");
    let mut parameters = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let is_dropped = is_secret_name(&name)
            // The id of a device is a token of a push service.
            || (is_about_devices && name == "id")
            || DROPPED_PARAMETERS.contains(&name.to_ascii_lowercase().as_str());
        if is_dropped {
            continue;
        }
        let value = embedded_json(&value).unwrap_or_else(|| value.into());
        match parameters.get_mut(&*name) {
            None => drop(parameters.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    parameters
}

/// Whether an object is a device for push notifications.
fn is_device(members: &Map<String, Value>) -> bool {
    members.contains_key("push_provider")
}

/// Whether a text is a pseudonym.
pub(crate) fn is_pseudonym(text: &str) -> bool {
    let is_hash = |text: &str| {
        text.len() == HASH_DIGITS
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(hash) = text.strip_prefix(PSEUDONYM_PREFIX) {
        return is_hash(hash);
    }
    if let Some((hash, host)) = text.split_once('@') {
        return host == PSEUDONYM_HOST && is_hash(hash);
    }
    let path = text
        .strip_prefix("https://")
        .and_then(|rest| rest.strip_prefix(PSEUDONYM_HOST))
        .and_then(|rest| rest.strip_prefix('/'));
    path.is_some_and(|path| is_hash(path.split('.').next().unwrap_or_default()))
}

/// Whether a parameter is a number or a boolean.
fn is_plain_scalar(text: &str) -> bool {
    text.is_empty()
        || matches!(text, "true" | "false" | "null")
        || (text.len() <= 12 && text.parse::<f64>().is_ok())
}

/// The JSON object or array in a parameter.
fn embedded_json(text: &str) -> Option<Value> {
    text.trim_start()
        .starts_with(['{', '['])
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// A path segment with percent encoding.
fn encode_segment(segment: &str) -> String {
    segment
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~!@:$&'()*+,;=".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mock::recording::scan_line;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiYW15In0.c2lnbmF0dXJl";

    fn redactor(ids: IdHandling, keep: &[&str]) -> RecordingRedactor {
        let keep = keep.iter().map(|&field| field.to_owned()).collect();
        RecordingRedactor::new(&[7; 32], RedactionOptions { ids, keep })
    }

    #[test]
    fn ids_times_and_protocol_words_stay_and_everything_else_becomes_a_pseudonym() {
        let redacted = redactor(IdHandling::Kept, &[]).json(&json!({
            "type": "user.updated",
            "cid": "messaging:room",
            "online": true,
            "count": 3,
            "created_at": "2026-01-05T10:00:00Z",
            "user": {
                "id": "amy",
                "role": "admin",
                "name": "Amy Doe",
                "nickname": "Amy Doe",
                "image": "https://cdn.example/amy.PNG?size=1",
                "email": "amy@example.com",
                "born": "1990-01-01T00:00:00Z",
                "status": "",
                "custom": {"list": ["Amy Doe", 1, null]},
                "access_token": "hush",
                "tokens": {"a": "hush"},
            },
        }));
        let name = redacted["user"]["name"].as_str().unwrap();
        assert!(is_pseudonym(name));
        let hash_of = |text: &str| redactor(IdHandling::Kept, &[]).pseudonym(text);
        let mut shown = serde_json::to_string_pretty(&redacted).unwrap();
        for (text, number) in [
            ("Amy Doe", "p-1"),
            ("1990-01-01T00:00:00Z", "p-2"),
            (
                "https://cdn.example/amy.PNG?size=1",
                "https://pseudonym.invalid/3.png",
            ),
            ("amy@example.com", "4@pseudonym.invalid"),
        ] {
            shown = shown.replace(&hash_of(text), number);
        }
        insta::assert_snapshot!(
            shown,
            @r#"
        {
          "type": "user.updated",
          "cid": "messaging:room",
          "online": true,
          "count": 3,
          "created_at": "2026-01-05T10:00:00Z",
          "user": {
            "id": "amy",
            "role": "admin",
            "name": "p-1",
            "nickname": "p-1",
            "image": "https://pseudonym.invalid/3.png",
            "email": "4@pseudonym.invalid",
            "born": "p-2",
            "status": "",
            "custom": {
              "list": [
                "p-1",
                1,
                null
              ]
            },
            "access_token": "(dropped)",
            "tokens": "(dropped)"
          }
        }
        "#
        );
    }

    #[test]
    fn queries_lose_credentials_and_keep_what_was_asked() {
        let mut redactor = redactor(IdHandling::Kept, &["color"]);
        let query = "api_key=a-key-of-12&user_id=amy&connection_id=c1&X-Stream-Client=js&limit=25\
                     &authorization=hush-hush-hush&stream-auth-type=jwt&q=Amy\
                     &payload=%7B%22filter%22%3A%7B%22name%22%3A%7B%22%24eq%22%3A%22Amy%22%7D%2C%22color%22%3A%22green%22%7D%7D";
        redactor.learn_query(query);
        let kept = Value::from(redactor.query("/users", query));
        assert_eq!(kept["user_id"], "amy");
        assert_eq!(kept["limit"], "25");
        let name = &kept["payload"]["filter"]["name"]["$eq"];
        assert!(is_pseudonym(name.as_str().unwrap()), "{kept}");
        assert_eq!(kept["q"], *name, "the same text has the same pseudonym");
        assert_eq!(kept["payload"]["filter"]["color"], "green");
        let names: Vec<_> = kept.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["user_id", "connection_id", "limit", "q", "payload"]);
        // The key is dropped where it stands as something else.
        assert_eq!(redactor.json(&json!({"id": "a-key-of-12"}))["id"], DROPPED);
    }

    #[test]
    fn ids_become_pseudonyms_on_request() {
        let redactor = redactor(IdHandling::Pseudonyms, &[]);
        let path = redactor.path("/channels/messaging/room%201/query");
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!(parts[..3], ["", "channels", "messaging"]);
        assert!(is_pseudonym(parts[3]) && parts[4] == "query", "{path}");
        let body = redactor.json(&json!({
            "users": {"amy": {"id": "amy"}},
            "filter": {"id": {"$in": ["amy"]}},
            "cid": "messaging:room 1",
            "members": ["amy", {"user_id": "amy"}],
        }));
        let amy = body["filter"]["id"]["$in"][0].as_str().unwrap();
        assert!(is_pseudonym(amy));
        assert_eq!(body["users"][amy]["id"], amy);
        assert_eq!(body["members"], json!([amy, {"user_id": amy}]));
        assert!(!body.to_string().contains("amy"), "{body}");
    }

    #[test]
    fn every_word_of_a_path_of_the_mock_is_known() {
        let words = crate::mock::engine::OPERATIONS
            .iter()
            .flat_map(|operation| operation.path.split('/'))
            .filter(|word| !word.starts_with('{'));
        for word in words {
            assert!(PATH_WORDS.contains(&word), "{word}");
        }
    }

    #[test]
    fn paths_lose_addresses_and_tokens() {
        let redactor = redactor(IdHandling::Kept, &[]);
        assert_eq!(redactor.path("/users/amy"), "/users/amy");
        let path = redactor.path("/users/amy%40example.com");
        assert!(path.ends_with("@pseudonym.invalid"), "{path}");
        assert_eq!(redactor.path(&format!("/guest/{TOKEN}")), "/guest/dropped");
    }

    #[test]
    fn the_tokens_of_push_services_are_dropped() {
        let mut redactor = redactor(IdHandling::Kept, &[]);
        let device = json!({"id": "a-device-of-amy", "push_provider": "firebase"});
        redactor.learn_json("", &device);
        let redacted = redactor.json(&device);
        assert_eq!(
            redacted,
            json!({"id": DROPPED, "push_provider": "firebase"})
        );
        assert_eq!(redactor.json(&json!("a-device-of-amy")), DROPPED);
        let kept = redactor.query("/devices", "id=another-device&user_id=amy");
        assert_eq!(Value::from(kept), json!({"user_id": "amy"}));
    }

    #[test]
    fn words_that_begin_like_a_token_are_none() {
        for text in [
            "heyJude.live",
            "HeyJude",
            "eyJ",
            "a=b",
            "https://x.example/?w=1",
        ] {
            assert!(!has_token(text), "{text}");
        }
        for text in [
            TOKEN,
            "see eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoiYW15In0",
            "eyJhbGciOiJ9%2EeyJ1Ijox%2Ec2ln",
            "https://x.example/?a=1&access_token=hush",
        ] {
            assert!(has_token(text), "{text}");
        }
    }

    #[test]
    fn another_key_gives_other_pseudonyms() {
        let other = RecordingRedactor::new(
            &[8; 32],
            RedactionOptions {
                ids: IdHandling::Kept,
                keep: BTreeSet::new(),
            },
        );
        let name = json!({"name": "Amy"});
        assert_ne!(
            redactor(IdHandling::Kept, &[]).json(&name),
            other.json(&name)
        );
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(vec![
                "id",
                "user_id",
                "name",
                "type",
                "role",
                "status",
                "text",
                "token",
                "secret",
                "created_at",
                "$in",
                "users",
                "cid",
                "image",
                "custom",
                "password",
                "kept",
            ])
            .prop_map(str::to_owned),
            ".{0,8}",
        ]
    }

    /// Puts a text at every place where a string or a name can stand, one after the other.
    fn plant(value: &Value, planted: &str) -> Vec<Value> {
        let mut all = vec![Value::from(planted)];
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    for changed in plant(member, planted) {
                        let mut copy = members.clone();
                        copy.insert(name.clone(), changed);
                        all.push(copy.into());
                    }
                    let mut copy = members.clone();
                    copy.insert(planted.to_owned(), member.clone());
                    all.push(copy.into());
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    for changed in plant(item, planted) {
                        let mut copy = items.clone();
                        copy[place] = changed;
                        all.push(copy.into());
                    }
                }
            }
            _ => {}
        }
        all
    }

    proptest! {
        #[test]
        fn a_secret_is_nowhere_in_the_output(value in json_value(), around in "[a-z ]{0,4}") {
            let secret = "the-secret-of-the-application";
            for (planted, hidden) in [(TOKEN, "c2lnbmF0dXJl"), (secret, secret)] {
                for ids in [IdHandling::Kept, IdHandling::Pseudonyms] {
                    let mut redactor = redactor(ids, &["kept"]);
                    redactor.learn(secret);
                    for value in plant(&value, &format!("{around}{planted}{around}")) {
                        let redacted = redactor.json(&value);
                        prop_assert!(!redacted.to_string().contains(hidden), "{redacted}");
                        prop_assert!(scan_line(1, &redacted, redactor.secrets()).is_ok());
                    }
                    let encoded: String =
                        form_urlencoded::byte_serialize(planted.as_bytes()).collect();
                    let path = redactor.path(&format!("/users/{around}{encoded}"));
                    prop_assert!(!path.contains(hidden), "{path}");
                    let query = Value::from(redactor.query("/users", &format!("id={encoded}&{encoded}=1")));
                    prop_assert!(!query.to_string().contains(hidden), "{query}");
                }
            }
        }

        #[test]
        fn an_address_and_a_name_are_nowhere_in_the_output(value in json_value()) {
            for ids in [IdHandling::Kept, IdHandling::Pseudonyms] {
                let redactor = redactor(ids, &[]);
                for value in plant(&value, "amy.doe@example.com") {
                    let redacted = redactor.json(&value);
                    prop_assert!(!redacted.to_string().contains("amy.doe"), "{redacted}");
                }
                let redacted = redactor.json(&json!({"user": {"id": "a", "name": "Amy Döe", "x": value}}));
                prop_assert!(!redacted.to_string().contains("Döe"), "{redacted}");
            }
        }
    }
}
