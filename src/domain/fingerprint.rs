//! A fingerprint of a user's non-presence fields, so that a watcher can detect changes to them without storing them.
//!
//! A watcher of a hundred thousand users must notice that a name or a custom field changed during a gap, and cannot
//! keep all objects. So it keeps a sum of hashes, one for each field. Two users whose fields are equal have the same
//! fingerprint, whatever the order and the spelling of the fields. A difference says that something changed, not what.
//!
//! The service shows the same user differently in events, in answers about users and in answers about channels. Left
//! out of the sum are fields that only some of these include, fields that the service updates by itself, and empty
//! values. The service may add a field that only some of them include; see [`FingerprintSample::delta_to`].
//!
//! The hash is XXH3, whose values are fixed by its specification, because cursor files store fingerprints. If
//! you change what is hashed, or how, also change [`VERSION`].

use std::io::Write;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::timestamp::parse_ticks;
use super::user::User;
use crate::json::scanner::{Json, Malformed, Text};

/// The version of the fingerprints in files. Fingerprints of another version cannot be compared with these.
///
/// 1 was a hash of our own; 2 is XXH3.
pub const VERSION: u32 = 2;

/// Up to this depth the content of nested objects and lists is part of the fingerprint.
const MAX_DEPTH: u32 = 24;

/// The fingerprint of one user object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The sum of the hashes of the fields.
    fields: u32,
    /// A hash of `updated_at`; 0 where the object has none.
    updated: u32,
}

/// The kind of message that a user object was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserOrigin {
    /// An event.
    Event,
    /// An answer about users.
    User,
    /// An answer about a channel.
    Member,
}

/// A fingerprint with the origin of its user object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintSample {
    /// Where the user object was.
    pub origin: UserOrigin,
    /// The fingerprint of the object.
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
}

impl FingerprintSample {
    /// The difference of the sums from this sample to a later one; 0 when nothing changed. Differences can be added: a
    /// change and its opposite make 0.
    ///
    /// Samples of different origins are compared only if their objects were updated at different times. Otherwise a
    /// field that one of the origins does not show would look like a change of every user.
    pub const fn delta_to(self, later: Self) -> u32 {
        let (before, after) = (self.fingerprint, later.fingerprint);
        let comparable = self.origin as u8 == later.origin as u8
            || (before.updated != after.updated && before.updated != 0 && after.updated != 0);
        if comparable {
            after.fields.wrapping_sub(before.fields)
        } else {
            0
        }
    }

    /// The sample before a change by `delta`.
    #[must_use]
    pub const fn before_delta(mut self, delta: u32) -> Self {
        if delta != 0 {
            self.fingerprint.fields = self.fingerprint.fields.wrapping_sub(delta);
            // Any other time, so that the two can be compared whatever their origins.
            self.fingerprint.updated = match self.fingerprint.updated ^ 1 {
                0 => 2,
                other => other,
            };
        }
        self
    }
}

impl Fingerprint {
    /// The fingerprint of a complete user object.
    pub fn of(user: &User) -> Self {
        let text = serde_json::to_string(user).expect("JSON values always serialise to memory");
        Self::of_text(&text)
    }

    /// The fingerprint of the text of a complete user object.
    pub(crate) fn of_text(text: &str) -> Self {
        Self::of_json(text).unwrap_or_default()
    }

    fn of_json(text: &str) -> Result<Self, Malformed> {
        let json = Json::new(text);
        let mut fingerprint = Self::default();
        json.object(json.blanks(0), |name, at| match name {
            b"id" | b"online" | b"invisible" | b"status" | b"last_active" => json.value(at),
            _ => fingerprint.add_field(name, json, at),
        })?;
        Ok(fingerprint)
    }

    /// The same with other text in `updated_at`, which is the JSON of the value.
    #[must_use]
    pub(crate) fn with_updated_at(self, updated_at: Option<&str>) -> Self {
        Self {
            updated: updated_at.map_or(0, hash_time),
            ..self
        }
    }

    /// Adds a field that is neither the id nor part of the presence. `at` is where its value begins; the result is
    /// where it ends.
    fn add_field(&mut self, name: &[u8], json: Json<'_>, at: usize) -> Result<usize, Malformed> {
        if is_ignored(name) {
            let end = json.value(at)?;
            if name == b"updated_at" {
                self.updated = hash_time(json.slice(at, end));
            }
            return Ok(end);
        }
        let (end, value) = match json.peek(at) {
            Some(b'"') => hash_string(json, at)?,
            _ => hash_value(json, at, 0)?,
        };
        if let Some(value) = value {
            self.fields = self.fields.wrapping_add(hash_field(name, value) as u32);
        }
        Ok(end)
    }
}

/// Whether a field is left out of the fingerprint: not every response includes it, or the service updates it by itself.
/// Lengths are compared first, because this runs for every field of every event.
fn is_ignored(name: &[u8]) -> bool {
    match name.len() {
        4 => name == b"anon",
        5 => name == b"mutes" || name == b"roles" || name == b"teams",
        6 => name == b"banned",
        7 => name == b"devices",
        10 => {
            name == b"updated_at"
                || name == b"created_at"
                || name == b"deleted_at"
                || name == b"teams_role"
        }
        11 => name == b"ban_expires",
        12 => name == b"unread_count",
        13 => name == b"channel_mutes" || name == b"shadow_banned",
        14 => name == b"deactivated_at" || name == b"unread_threads",
        15 => name == b"last_engaged_at" || name == b"unread_channels",
        16 => {
            name == b"blocked_user_ids"
                || name == b"privacy_settings"
                || name == b"push_preferences"
        }
        17 => name == b"avg_response_time" || name == b"bypass_moderation",
        18 => name == b"push_notifications" || name == b"total_unread_count",
        22 => name == b"latest_hidden_channels",
        26 => name == b"total_unread_count_by_team",
        27 => name == b"revoke_tokens_issued_before",
        _ => false,
    }
}

/// The hash of an instant given as JSON. The same instant has the same hash whatever its number of digits.
fn hash_time(text: &str) -> u32 {
    let time = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(parse_ticks);
    let hash = match time {
        Some(ticks) => xxh3_64_with_seed(&ticks.to_le_bytes(), STRING_SEED),
        None => xxh3_64_with_seed(text.as_bytes(), STRING_SEED),
    };
    // 0 stands for an object without the field.
    (hash as u32).max(1)
}

/// Hashes a value and returns where it ends. `None` for an empty value, which counts as absent.
fn hash_value(json: Json<'_>, at: usize, depth: u32) -> Result<(usize, Option<u64>), Malformed> {
    match json.peek(at) {
        Some(b'"') => hash_string(json, at),
        Some(b'{' | b'[') if depth == MAX_DEPTH => Ok((json.value(at)?, Some(PLACEHOLDER))),
        Some(b'{') => {
            let mut sum = 0_u64;
            let end = json.object(at, |name, at| {
                let (end, value) = hash_value(json, at, depth + 1)?;
                sum = sum.wrapping_add(value.map_or(0, |value| hash_field(name, value)));
                Ok(end)
            })?;
            let hash = xxh3_64_with_seed(&sum.to_le_bytes(), OBJECT_SEED);
            Ok((end, (sum != 0).then_some(hash)))
        }
        Some(b'[') => {
            let mut hash = None;
            let end = json.array(at, |at| {
                let (end, item) = hash_value(json, at, depth + 1)?;
                let item = item.unwrap_or(PLACEHOLDER).to_le_bytes();
                hash = Some(xxh3_64_with_seed(&item, hash.unwrap_or(LIST_SEED)));
                Ok(end)
            })?;
            Ok((end, hash))
        }
        _ => {
            let end = json.value(at)?;
            Ok((end, hash_scalar(json.slice(at, end))))
        }
    }
}

#[inline]
fn hash_string(json: Json<'_>, at: usize) -> Result<(usize, Option<u64>), Malformed> {
    let (end, text) = json.text(at)?;
    let text = text.and_then(Text::read).filter(|text| !text.is_empty());
    Ok((
        end,
        text.map(|text| xxh3_64_with_seed(text.as_bytes(), STRING_SEED)),
    ))
}

/// The hash of a number, a boolean or `null`.
fn hash_scalar(text: &str) -> Option<u64> {
    match text.as_bytes() {
        b"null" => None,
        [b'-' | b'0'..=b'9', ..] => Some(hash_number(text)),
        word => Some(xxh3_64_with_seed(word, SCALAR_SEED)),
    }
}

/// The hash of a number, however it is written.
fn hash_number(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_plain = bytes.len() < 19 && bytes.iter().all(u8::is_ascii_digit);
    if is_plain || text != "-0" && text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return xxh3_64_with_seed(bytes, SCALAR_SEED);
    }
    // Every reader and writer of numbers preserves fifteen digits.
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    let mut digits = [0; 32];
    let mut rest = &mut digits[..];
    let _ = write!(rest, "{number:.14e}");
    let unused = rest.len();
    xxh3_64_with_seed(&digits[..digits.len() - unused], SCALAR_SEED)
}

fn hash_field(name: &[u8], value: u64) -> u64 {
    xxh3_64_with_seed(name, value)
}

// Seeds tell values of different types apart that have the same text, such as `1` and `"1"`.
const STRING_SEED: u64 = 1;
const SCALAR_SEED: u64 = 2;
const OBJECT_SEED: u64 = 3;
const LIST_SEED: u64 = 4;
/// Stands for an empty value within a list, and for what is nested too deeply.
const PLACEHOLDER: u64 = 5;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of_json(text: &str) -> Fingerprint {
        Fingerprint::of_json(text).unwrap()
    }

    fn fields(text: &str) -> u32 {
        of_json(text).fields
    }

    #[test]
    fn the_numbers_are_those_in_cursor_files() {
        let text = r#"{"id":"amy","online":true,"role":"user","name":"Amy Aylin Yılmaz","age":36,"size":1.75,"vip":true,
            "address":{"city":"Ankara","zip":"06100"},"tags":["a","b"],"updated_at":"2026-01-05T10:00:00.123456Z"}"#;
        let fingerprint = of_json(text);
        assert_eq!(
            (fingerprint.fields, fingerprint.updated, VERSION),
            (2_877_488_858, 1_434_607_828, 2),
            "a change of the numbers needs another version"
        );
    }

    #[test]
    fn the_same_update_time_in_another_form_is_the_same_time() {
        let updated = |time: &str| of_json(&json!({"id": "a", "updated_at": time}).to_string());
        let known = updated("2026-01-05T10:00:00.123Z");
        assert_eq!(known, updated("2026-01-05T10:00:00.123000000Z"));
        assert_ne!(known, updated("2026-01-05T10:00:00.123000001Z"));
    }

    #[test]
    fn order_and_spelling_do_not_matter() {
        let plain = fields(
            r#"{"id":"a","name":"é/","x":{"b":[1,2],"c":1.5},"big":1000000000000000000000}"#,
        );
        for same in [
            r#"{"x":{"c":15e-1,"b":[ 1 , 2 ]},"big":1e21,"name":"\u00e9\/","id":"a"}"#,
            r#"{"id":"a","n\u0061me":"é/","x":{"c":1.50,"b":[1,2],"d":null},"big":1.0e+21}"#,
        ] {
            assert_eq!(fields(same), plain, "{same}");
        }
    }

    #[test]
    fn ignored_and_empty_fields_do_not_matter() {
        let user = fields(r#"{"id":"a","name":"A"}"#);
        for more in [
            "anon",
            "mutes",
            "roles",
            "teams",
            "banned",
            "devices",
            "updated_at",
            "created_at",
            "deleted_at",
            "teams_role",
            "ban_expires",
            "unread_count",
            "channel_mutes",
            "shadow_banned",
            "deactivated_at",
            "unread_threads",
            "last_engaged_at",
            "unread_channels",
            "blocked_user_ids",
            "privacy_settings",
            "push_preferences",
            "avg_response_time",
            "bypass_moderation",
            "push_notifications",
            "total_unread_count",
            "latest_hidden_channels",
            "total_unread_count_by_team",
            "revoke_tokens_issued_before",
            "online",
            "status",
            "invisible",
            "last_active",
        ] {
            let text = format!(r#"{{"id":"a","name":"A","{more}":7}}"#);
            assert_eq!(fields(&text), user, "{more}");
        }
        for empty in [r#""""#, "null", "[]", "{}", r#"{"a":null}"#] {
            let text = format!(r#"{{"id":"a","name":"A","x":{empty}}}"#);
            assert_eq!(fields(&text), user, "{empty}");
        }
    }

    #[test]
    fn every_other_difference_matters() {
        let texts = [
            r#"{"id":"a"}"#,
            r#"{"id":"a","name":"A"}"#,
            r#"{"id":"a","name":"B"}"#,
            r#"{"id":"a","nama":"B"}"#,
            r#"{"id":"a","name":"A","image":"B"}"#,
            r#"{"id":"a","name":"B","image":"A"}"#,
            r#"{"id":"a","role":"admin"}"#,
            r#"{"id":"a","language":"tr"}"#,
            r#"{"id":"a","x":0}"#,
            r#"{"id":"a","x":-0}"#,
            r#"{"id":"a","x":1}"#,
            r#"{"id":"a","x":"1"}"#,
            r#"{"id":"a","x":1.5}"#,
            r#"{"id":"a","x":9007199254740993}"#,
            r#"{"id":"a","x":9007199254740992}"#,
            r#"{"id":"a","x":18446744073709551615}"#,
            r#"{"id":"a","x":18446744073709551614}"#,
            r#"{"id":"a","x":52.520008}"#,
            r#"{"id":"a","x":52.520009}"#,
            r#"{"id":"a","x":true}"#,
            r#"{"id":"a","x":false}"#,
            r#"{"id":"a","x":[1]}"#,
            r#"{"id":"a","x":[[1]]}"#,
            r#"{"id":"a","x":[1,2]}"#,
            r#"{"id":"a","x":[2,1]}"#,
            r#"{"id":"a","x":[null]}"#,
            r#"{"id":"a","x":[null,null]}"#,
            r#"{"id":"a","x":{"y":1}}"#,
            r#"{"id":"a","x":{"y":{"z":1}}}"#,
            r#"{"id":"a","x":{"y":1},"z":1}"#,
        ];
        for (place, a) in texts.iter().enumerate() {
            for b in &texts[..place] {
                assert_ne!(fields(a), fields(b), "{a} {b}");
            }
        }
    }

    #[test]
    fn origins_are_compared_only_if_the_user_was_updated() {
        let sample = |origin, name: &str, updated: &str| FingerprintSample {
            origin,
            fingerprint: of_json(
                &json!({"id": "a", "name": name, "updated_at": updated}).to_string(),
            ),
        };
        let before = sample(UserOrigin::User, "A", "1");
        assert_eq!(before.delta_to(sample(UserOrigin::User, "A", "2")), 0);
        assert_ne!(before.delta_to(sample(UserOrigin::User, "B", "1")), 0);
        assert_eq!(before.delta_to(sample(UserOrigin::Event, "B", "1")), 0);
        let after = sample(UserOrigin::Event, "B", "2");
        let (forward, backward) = (before.delta_to(after), after.delta_to(before));
        assert_ne!(forward, 0);
        assert_eq!(forward.wrapping_add(backward), 0);
        let without_time = FingerprintSample {
            origin: UserOrigin::Event,
            fingerprint: of_json(r#"{"id":"a","name":"B"}"#),
        };
        assert_eq!(before.delta_to(without_time), 0);
    }

    #[test]
    fn any_depth_is_read_and_hashed_up_to_a_limit() {
        let deep = |levels: usize, leaf: &str| {
            let text = format!(
                r#"{{"id":"a","x":{}{leaf}{}}}"#,
                "[".repeat(levels),
                "]".repeat(levels)
            );
            fields(&text)
        };
        assert_ne!(deep(20, "1"), deep(20, "2"));
        assert_eq!(deep(100_000, "1"), deep(100_000, "2"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,24}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec((".{0,12}", inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    /// The same value, written with blanks, escapes, and every object from its end.
    fn respell(value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                let mut lead = "{ ";
                for (name, value) in fields.iter().rev() {
                    out.push_str(lead);
                    respell(&Value::from(name.as_str()), out);
                    out.push_str(" : ");
                    respell(value, out);
                    lead = " , ";
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
            Value::Array(items) => {
                let mut lead = "[ ";
                for item in items {
                    out.push_str(lead);
                    respell(item, out);
                    lead = " , ";
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Value::String(text) => {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
                out.push('"');
                out.extend(units);
                out.push('"');
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        }
    }

    proptest! {
        #[test]
        fn however_a_user_is_written_the_fingerprint_is_the_same(value in value(), name in ".{0,12}") {
            let user = json!({"id": "a", "name": "A", name: value});
            let mut text = String::new();
            respell(&user, &mut text);
            prop_assume!(user["id"] == "a");
            prop_assert_eq!(of_json(&text), of_json(&user.to_string()));
            let user: User = serde_json::from_value(user).unwrap();
            prop_assert_eq!(of_json(&text), Fingerprint::of(&user));
        }
    }

    #[test]
    fn a_change_can_be_reverted_and_is_found_again() {
        let seen = |origin| FingerprintSample {
            origin,
            fingerprint: Fingerprint {
                fields: 7,
                updated: 1,
            },
        };
        for origin in [UserOrigin::Event, UserOrigin::User] {
            let before = seen(UserOrigin::Event).before_delta(9);
            assert_eq!(before.delta_to(seen(origin)), 9, "{origin:?}");
        }
        assert_eq!(
            seen(UserOrigin::Event).before_delta(0),
            seen(UserOrigin::Event)
        );
    }
}
