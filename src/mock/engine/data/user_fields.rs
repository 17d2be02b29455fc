//! The settable fields of a user: their types, who may set them, and the three ways of writing.
//!
//! Connecting merges fields, an upsert replaces them, and a partial update reaches into nested objects. Each way takes
//! the fields as a value and returns new ones, so that a whole batch is checked before anything changes.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::error::Rejection;

/// The settable fields of a user.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserFields {
    pub(crate) role: String,
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) invisible: bool,
    /// All fields that are not built in, including the status text.
    pub(crate) custom: Option<Box<Map<String, Value>>>,
    rare: Option<Box<RareUserFields>>,
}

/// Rarely set fields. They are stored separately, so that a million users need little memory.
#[derive(Debug, Clone, Default, PartialEq)]
struct RareUserFields {
    language: String,
    teams: Vec<String>,
    teams_role: Option<Value>,
    privacy_settings: Option<Value>,
    revoke_tokens_issued_before: Option<DateTime<Utc>>,
}

/// Who sets the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldWriter {
    /// The application's server.
    Server,
    /// The user themself, over HTTP.
    Client,
    /// The user themself, in `user_details` of a connect. Fields that they may not set are ignored.
    Connect,
}

/// Fields that only the service sets.
pub(crate) const RESERVED_USER_FIELDS: &[&str] = &[
    "online",
    "last_active",
    "created_at",
    "updated_at",
    "deactivated_at",
    "deleted_at",
    "last_engaged_at",
    "avg_response_time",
    "ban_expires",
    "blocked_user_ids",
    "channel_mutes",
    "devices",
    "latest_hidden_channels",
    "mutes",
    "shadow_banned",
    "banned",
    "total_unread_count",
    "unread_channels",
    "unread_count",
    "unread_threads",
];

/// Fields that only the server side may change.
const SERVER_ONLY_FIELDS: &[&str] = &["role", "teams", "teams_role", "revoke_tokens_issued_before"];

/// Fields that clients send back as they received them. An unchanged copy is not an attempt to change them.
const ECHOED_FIELDS: &[&str] = &["banned", "shadow_banned", "role", "teams", "teams_role"];

static NO_CUSTOM_FIELDS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl UserFields {
    /// A user with nothing but a role.
    pub(crate) fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            name: None,
            image: None,
            invisible: false,
            custom: None,
            rare: None,
        }
    }

    pub(crate) fn custom(&self) -> &Map<String, Value> {
        self.custom.as_deref().unwrap_or(&NO_CUSTOM_FIELDS)
    }

    pub(crate) fn language(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| &rare.language)
    }

    pub(crate) fn teams(&self) -> &[String] {
        self.rare.as_ref().map_or(&[], |rare| &rare.teams)
    }

    pub(crate) fn teams_role(&self) -> Option<&Value> {
        self.rare.as_ref()?.teams_role.as_ref()
    }

    pub(crate) fn privacy_settings(&self) -> Option<&Value> {
        self.rare.as_ref()?.privacy_settings.as_ref()
    }

    pub(crate) fn revoke_tokens_issued_before(&self) -> Option<DateTime<Utc>> {
        self.rare.as_ref()?.revoke_tokens_issued_before
    }

    fn rare(&mut self) -> &mut RareUserFields {
        self.rare.get_or_insert_default()
    }

    /// The settable fields as JSON, so that dotted paths can reach into them.
    fn value(&self, field: &str) -> Option<Value> {
        match field {
            "name" => self.name.clone().map(Value::from),
            "image" => self.image.clone().map(Value::from),
            "role" => Some(self.role.clone().into()),
            "invisible" => Some(self.invisible.into()),
            "language" => Some(self.language().into()),
            "teams" => Some(self.teams().into()),
            "teams_role" => self.teams_role().cloned(),
            "privacy_settings" => self.privacy_settings().cloned(),
            "banned" | "shadow_banned" => Some(false.into()),
            _ => self.custom().get(field).cloned(),
        }
    }

    /// The fields after a connect with `details`: given fields are set, the others stay.
    pub(crate) fn connected(
        &self,
        details: &Map<String, Value>,
        limit: usize,
    ) -> Result<Self, Rejection> {
        let mut next = self.clone();
        for (field, value) in details {
            if field == "id" || field == "anon" {
                continue;
            }
            next.write(
                field,
                value.clone(),
                FieldWriter::Connect,
                &format!("user_details.{field}"),
            )?;
        }
        next.check_size(limit)?;
        Ok(next)
    }

    /// The fields after an upsert of `data`: custom data, name and image are replaced.
    pub(crate) fn replaced(
        &self,
        id: &str,
        data: &Map<String, Value>,
        writer: FieldWriter,
        merge: bool,
        limit: usize,
    ) -> Result<Self, Rejection> {
        let mut next = self.clone();
        if !merge {
            next.name = None;
            next.image = None;
            next.custom = None;
        }
        for (field, value) in data {
            // Clients send back what they have read, so read-only fields are ignored. Only `online` is known to be
            // rejected.
            let is_echo = RESERVED_USER_FIELDS.contains(&field.as_str()) && field != "online";
            if field != "id" && !is_echo {
                next.write(
                    field,
                    value.clone(),
                    writer,
                    &format!("users[{id}].{field}"),
                )?;
            }
        }
        next.check_size(limit)?;
        Ok(next)
    }

    /// The fields after a partial update.
    pub(crate) fn patched(
        &self,
        id: &str,
        set: &Map<String, Value>,
        unset: &[String],
        writer: FieldWriter,
        limit: usize,
    ) -> Result<Self, Rejection> {
        let mut next = self.clone();
        for path in unset {
            if set.contains_key(path) {
                return Err(Rejection::field(
                    format!("users[{id}].{path}"),
                    "cannot be set and unset in the same call",
                ));
            }
        }
        for (path, value) in set {
            let (field, rest) = split(path, id)?;
            let value = match (rest, field) {
                (Some(rest), _) => placed(next.value(field), rest, value.clone(), id, path)?,
                (None, "privacy_settings") => merged(next.value(field), value),
                (None, _) => value.clone(),
            };
            next.write(field, value, writer, &format!("users[{id}].{path}"))?;
        }
        for path in unset {
            let (field, rest) = split(path, id)?;
            let value = match rest {
                Some(rest) => {
                    let Some(mut value) = next.value(field) else {
                        continue;
                    };
                    remove(&mut value, rest);
                    value
                }
                None => Value::Null,
            };
            let whole = rest.is_none();
            if whole && !is_built_in(field) && !RESERVED_USER_FIELDS.contains(&field) {
                next.forget(field);
            } else {
                next.write(field, value, writer, &format!("users[{id}].{path}"))?;
            }
        }
        next.check_size(limit)?;
        Ok(next)
    }

    fn forget(&mut self, field: &str) {
        if let Some(custom) = &mut self.custom {
            custom.shift_remove(field);
            if custom.is_empty() {
                self.custom = None;
            }
        }
    }

    fn write(
        &mut self,
        field: &str,
        value: Value,
        writer: FieldWriter,
        name: &str,
    ) -> Result<(), Rejection> {
        let reserved = RESERVED_USER_FIELDS.contains(&field);
        let denied = writer != FieldWriter::Server && SERVER_ONLY_FIELDS.contains(&field);
        if reserved || denied {
            let echo = ECHOED_FIELDS.contains(&field) && self.value(field).as_ref() == Some(&value);
            return if writer == FieldWriter::Connect || echo {
                Ok(())
            } else if reserved {
                Err(Rejection::field(name, "is a reserved field"))
            } else {
                Err(Rejection::forbidden(format!(
                    "{name} can only be set server side"
                )))
            };
        }
        let wrong = |what: &str| Rejection::field(name, &format!("must be {what}"));
        match field {
            "name" => self.name = text(value).map_err(|()| wrong("a string"))?,
            "image" => self.image = text(value).map_err(|()| wrong("a string"))?,
            "invisible" => {
                self.invisible = match value {
                    Value::Bool(flag) => flag,
                    Value::Null => false,
                    _ => return Err(wrong("a boolean")),
                }
            }
            "role" => match value {
                Value::String(role) if !role.is_empty() => self.role = role,
                Value::String(_) => {}
                Value::Null => "user".clone_into(&mut self.role),
                _ => return Err(wrong("a non-empty string")),
            },
            "language" => {
                self.rare().language = text(value)
                    .map_err(|()| wrong("a string"))?
                    .unwrap_or_default();
            }
            "teams" => {
                self.rare().teams = match value {
                    Value::Null => Vec::new(),
                    other => {
                        serde_json::from_value(other).map_err(|_| wrong("a list of strings"))?
                    }
                }
            }
            "teams_role" => {
                self.rare().teams_role = object(value).map_err(|()| wrong("an object"))?;
            }
            "privacy_settings" => {
                self.rare().privacy_settings = object(value).map_err(|()| wrong("an object"))?;
            }
            "revoke_tokens_issued_before" => {
                self.rare().revoke_tokens_issued_before = match value {
                    Value::Null => None,
                    Value::String(time) if time.is_empty() => None,
                    Value::String(time) => Some(
                        DateTime::parse_from_rfc3339(&time)
                            .map_err(|_| wrong("a time"))?
                            .to_utc(),
                    ),
                    _ => return Err(wrong("a time")),
                }
            }
            _ => {
                // A map that grows by itself has room for four fields. Most users have one, and there may be a million.
                self.custom
                    .get_or_insert_with(|| Box::new(Map::with_capacity(1)))
                    .insert(field.to_owned(), value);
            }
        }
        Ok(())
    }

    fn check_size(&self, limit: usize) -> Result<(), Rejection> {
        let Some(custom) = &self.custom else {
            return Ok(());
        };
        let size = serde_json::to_string(custom).map_or(0, |text| text.len());
        if size > limit {
            return Err(Rejection::input(format!(
                "custom data of the user is {size} bytes, and at most {limit} are allowed"
            )));
        }
        Ok(())
    }
}

fn is_built_in(field: &str) -> bool {
    matches!(
        field,
        "name" | "image" | "invisible" | "language" | "privacy_settings"
    ) || SERVER_ONLY_FIELDS.contains(&field)
}

fn text(value: Value) -> Result<Option<String>, ()> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err(()),
    }
}

fn object(value: Value) -> Result<Option<Value>, ()> {
    match value {
        Value::Object(_) => Ok(Some(value)),
        Value::Null => Ok(None),
        _ => Err(()),
    }
}

/// The field of a dotted path, and the rest of the path.
fn split<'a>(path: &'a str, id: &str) -> Result<(&'a str, Option<&'a str>), Rejection> {
    let (field, rest) = match path.split_once('.') {
        Some((field, rest)) => (field, Some(rest)),
        None => (path, None),
    };
    if field.is_empty() || rest.is_some_and(|rest| rest.split('.').any(str::is_empty)) {
        return Err(Rejection::input(format!(
            "users[{id}] has an invalid path {path:?}"
        )));
    }
    if field == "id" {
        return Err(Rejection::field(
            format!("users[{id}].id"),
            "is a reserved field",
        ));
    }
    Ok((field, rest))
}

/// Sets `value` at `path` in `base`. Missing objects on the path are created; other values on the path are an error.
fn placed(
    base: Option<Value>,
    path: &str,
    value: Value,
    id: &str,
    whole: &str,
) -> Result<Value, Rejection> {
    let mut base = base.unwrap_or_else(|| Value::Object(Map::new()));
    let mut place = &mut base;
    for step in path.split('.') {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(fields) = place else {
            return Err(Rejection::field(
                format!("users[{id}].{whole}"),
                "leads through a value that is no object",
            ));
        };
        place = fields.entry(step).or_insert(Value::Null);
    }
    *place = value;
    Ok(base)
}

fn remove(base: &mut Value, path: &str) {
    let mut place = base;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        let Value::Object(fields) = place else {
            return;
        };
        if steps.peek().is_none() {
            fields.shift_remove(step);
            return;
        }
        let Some(next) = fields.get_mut(step) else {
            return;
        };
        place = next;
    }
}

/// Merges two objects key by key, at all levels.
fn merged(base: Option<Value>, change: &Value) -> Value {
    match (base, change) {
        (Some(Value::Object(mut base)), Value::Object(change)) => {
            for (key, value) in change {
                let value = merged(base.get(key).cloned(), value);
                base.insert(key.clone(), value);
            }
            Value::Object(base)
        }
        (_, change) => change.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn profile(value: Value) -> UserFields {
        UserFields::new("user")
            .replaced("u", &fields(value), FieldWriter::Server, false, 5000)
            .unwrap()
    }

    #[test]
    fn upsert_replaces_custom_data_and_keeps_the_rest() {
        let before =
            profile(json!({"name": "A", "color": "red", "invisible": true, "role": "admin"}));
        let after = before
            .replaced(
                "u",
                &fields(json!({"id": "u", "size": 1})),
                FieldWriter::Server,
                false,
                5000,
            )
            .unwrap();
        assert_eq!(after.name, None);
        assert_eq!(Value::from(after.custom().clone()), json!({"size": 1}));
        assert!(after.invisible);
        assert_eq!(after.role, "admin");
    }

    #[test]
    fn partial_update_reaches_into_objects_and_leaves_siblings() {
        let before = profile(json!({"a": {"b": 1, "c": {"d": 2, "e": 3}}, "gone": 1}));
        let after = before
            .patched(
                "u",
                &fields(json!({"a.c.d": 9, "new.deep": true})),
                &["a.b".into(), "gone".into(), "never.there".into()],
                FieldWriter::Client,
                5000,
            )
            .unwrap();
        assert_eq!(
            Value::from(after.custom().clone()),
            json!({"a": {"c": {"d": 9, "e": 3}}, "new": {"deep": true}})
        );
    }

    #[test]
    fn privacy_settings_are_stored_as_sent_and_merged_by_patch() {
        let sent = json!({"read_receipts": {"enabled": false}});
        let before = UserFields::new("user")
            .connected(&fields(json!({"id": "u", "privacy_settings": sent})), 5000)
            .unwrap();
        assert_eq!(before.privacy_settings(), Some(&sent));
        let set = fields(json!({"privacy_settings": {"typing_indicators": {"enabled": true}}}));
        let after = before
            .patched("u", &set, &[], FieldWriter::Client, 5000)
            .unwrap();
        assert_eq!(
            after.privacy_settings(),
            Some(
                &json!({"read_receipts": {"enabled": false}, "typing_indicators": {"enabled": true}})
            )
        );
    }

    #[test]
    fn what_a_connect_may_not_set_has_no_effect() {
        let details = json!({"id": "u", "role": "admin", "banned": true, "teams": ["x"], "online": false, "name": "N"});
        let after = UserFields::new("user")
            .connected(&fields(details), 5000)
            .unwrap();
        assert_eq!(after.role, "user");
        assert!(after.teams().is_empty());
        assert_eq!(after.name.as_deref(), Some("N"));
    }

    #[test]
    fn reserved_and_server_only_fields() {
        let user = UserFields::new("user");
        let write = |data: Value, writer| user.replaced("u", &fields(data), writer, false, 5000);
        let reject = write(json!({"online": true}), FieldWriter::Server).unwrap_err();
        assert_eq!((reject.status, reject.code), (400, 4));
        assert_eq!(reject.detail, "users[u].online is a reserved field");
        assert_eq!(
            reject.exception_fields.keys().next().unwrap(),
            "users[u].online"
        );
        let reject = write(json!({"role": "admin"}), FieldWriter::Client).unwrap_err();
        assert_eq!((reject.status, reject.code), (403, 17));
        assert!(
            write(
                json!({"role": "user", "banned": false, "teams": []}),
                FieldWriter::Client
            )
            .is_ok()
        );
        assert!(write(json!({"role": "admin"}), FieldWriter::Server).is_ok());
    }

    #[test]
    fn wrong_types_and_too_much_are_refused() {
        let user = UserFields::new("user");
        for data in [
            json!({"invisible": "yes"}),
            json!({"name": 1}),
            json!({"teams": [1]}),
            json!({"privacy_settings": []}),
            json!({"big": "x".repeat(6000)}),
        ] {
            let reject = user
                .replaced("u", &fields(data), FieldWriter::Server, false, 5 * 1024)
                .unwrap_err();
            assert_eq!(reject.code, 4);
        }
        let both = user.patched(
            "u",
            &fields(json!({"a": 1})),
            &["a".into()],
            FieldWriter::Server,
            5000,
        );
        assert_eq!(both.unwrap_err().code, 4);
    }
}
