//! Everything about a user but his presence, as a number.
//!
//! A watcher must notice that a name or a custom field changed while nobody told it, for a hundred thousand users, and
//! cannot keep what they were. So it keeps a sum over the fields: two users who agree in all of them have the same one,
//! in whatever order and spelling the fields were sent. What differs cannot be told from it, only that something does.
//!
//! The service shows one user differently in events, in answers about users and in those about channels. Nothing that
//! one of these may leave out is part of the sum, nor what moves without anybody changing the user, nor what is empty.
//! The service may still grow a field that only some of them show; see [`FingerprintSample::delta_to`].
//!
//! The numbers outlive the program in files. Whoever changes what they are made of changes [`VERSION`], too.

use serde::{Deserialize, Serialize};

use super::event::EventUser;
use super::user::User;
use crate::json::scanner::{Json, Malformed, Text};

/// What the numbers are made of: those of another version say nothing to this one.
pub const VERSION: u32 = 1;

/// How deep an object within a user may be and still count with all that is in it.
const DEEPEST: u32 = 24;

/// The fields of a user object that are not his presence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The sum over the fields.
    fields: u32,
    /// When the user was changed last, likewise as a number; 0 where the object does not say.
    updated: u32,
}

/// Where a user object was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserOrigin {
    /// In an event.
    Event,
    /// In an answer about users.
    User,
    /// In an answer about a channel.
    Member,
}

/// The rest of a user as it was seen somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintSample {
    /// Where.
    pub view: UserOrigin,
    /// What was seen.
    #[serde(flatten)]
    pub rest: Fingerprint,
}

impl FingerprintSample {
    /// How far the sum has moved by a later sight; 0 when nothing did. Ways add up, so that there and back is 0.
    ///
    /// Objects from different places are compared only if they also say that the user was changed in between: a field
    /// that one of the places does not show would be a change of everybody otherwise.
    pub const fn delta_to(self, later: Self) -> u32 {
        let (before, after) = (self.rest, later.rest);
        let comparable = self.view as u8 == later.view as u8
            || (before.updated != after.updated && before.updated != 0 && after.updated != 0);
        if comparable {
            after.fields.wrapping_sub(before.fields)
        } else {
            0
        }
    }
}

impl FingerprintSample {
    /// What was seen before the sum moved so far.
    #[must_use]
    pub const fn before_delta(mut self, moved: u32) -> Self {
        if moved != 0 {
            self.rest.fields = self.rest.fields.wrapping_sub(moved);
            // Another time than now, whatever it was, so that the two can be compared wherever they are from.
            self.rest.updated = match self.rest.updated ^ 1 {
                0 => 2,
                other => other,
            };
        }
        self
    }
}

impl Fingerprint {
    /// The rest of a whole user object.
    pub fn of(user: &User) -> Self {
        let text = serde_json::to_string(user).expect("plain values always serialise to memory");
        EventUser::parse(&text).map_or_else(Self::default, |user| user.rest)
    }

    /// Passes the value of a field that is not about presence, and counts it.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        name: &[u8],
        json: Json<'_>,
        at: usize,
    ) -> Result<usize, Malformed> {
        if is_apart(name) {
            let end = json.value(at)?;
            if name == b"updated_at" {
                self.updated = hash(json.slice(at, end).as_bytes(), TEXT) as u32;
            }
            return Ok(end);
        }
        let (end, value) = match json.peek(at) {
            Some(b'"') => string(json, at)?,
            _ => value(json, at, 0)?,
        };
        if let Some(value) = value {
            self.fields = self.fields.wrapping_add(field(name, value) as u32);
        }
        Ok(end)
    }
}

/// Whether a field of the service is no part of the sum: it is not shown everywhere, or moves by itself. The lengths
/// come first since this runs for every field of every event.
fn is_apart(name: &[u8]) -> bool {
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

/// Passes a value. `None` for one that may as well be absent.
fn value(json: Json<'_>, at: usize, depth: u32) -> Result<(usize, Option<u64>), Malformed> {
    match json.peek(at) {
        Some(b'"') => string(json, at),
        Some(b'{' | b'[') if depth == DEEPEST => Ok((json.value(at)?, Some(ODD))),
        Some(b'{') => {
            let mut sum = 0_u64;
            let end = json.object(at, |name, at| {
                let (end, value) = value(json, at, depth + 1)?;
                sum = sum.wrapping_add(value.map_or(0, |value| field(name, value)));
                Ok(end)
            })?;
            Ok((end, (sum != 0).then(|| mix(sum ^ OBJECT))))
        }
        Some(b'[') => {
            let mut sum = None;
            let end = json.array(at, |at| {
                let (end, item) = value(json, at, depth + 1)?;
                sum = Some(mix(sum.unwrap_or(LIST) ^ item.unwrap_or(ODD)));
                Ok(end)
            })?;
            Ok((end, sum))
        }
        _ => {
            let end = json.value(at)?;
            Ok((end, scalar(json.slice(at, end))))
        }
    }
}

/// A string; an empty one may as well be absent.
#[inline]
fn string(json: Json<'_>, at: usize) -> Result<(usize, Option<u64>), Malformed> {
    let (end, text) = json.text(at)?;
    let text = text.and_then(Text::read).filter(|text| !text.is_empty());
    Ok((end, text.map(|text| hash(text.as_bytes(), TEXT))))
}

/// A number or a word.
fn scalar(text: &str) -> Option<u64> {
    match text.as_bytes() {
        b"null" => None,
        [b'-' | b'0'..=b'9', ..] => Some(number(text)),
        word => Some(hash(word, SCALAR)),
    }
}

/// A number, however it is written.
fn number(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let is_plain = bytes.len() < 19 && bytes.iter().all(u8::is_ascii_digit);
    if is_plain || text != "-0" && text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return hash(bytes, SCALAR);
    }
    // Fifteen digits come through any reader and writer of numbers.
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    hash(format!("{number:.14e}").as_bytes(), SCALAR)
}

fn field(name: &[u8], value: u64) -> u64 {
    mix(hash(name, NAME) ^ value)
}

// Any numbers do, as long as they stay the same and have about as many ones as zeros.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const NAME: u64 = 0x243f_6a88_85a3_08d3;
const TEXT: u64 = 0x1319_8a2e_0370_7344;
const SCALAR: u64 = 0xa409_3822_299f_31d0;
const OBJECT: u64 = 0x082e_fa98_ec4e_6c89;
const LIST: u64 = 0x4528_21e6_38d0_1377;
const ODD: u64 = 0xbe54_66cf_34e9_0c6c;

/// Eight bytes at a time, and the last eight, which may overlap those before them.
fn hash(bytes: &[u8], kind: u64) -> u64 {
    let mut sum = kind ^ bytes.len() as u64;
    let last = match (bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk()) {
        (Some(last), _, _) => {
            let (words, _) = bytes[..bytes.len() - 1].as_chunks();
            for word in words {
                sum = mix(sum ^ u64::from_le_bytes(*word));
            }
            u64::from_le_bytes(*last)
        }
        (None, Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    mix(sum ^ last)
}

const fn mix(number: u64) -> u64 {
    let wide = (number ^ NAME) as u128 * FACTOR as u128;
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn rest(text: &str) -> Fingerprint {
        EventUser::parse(text).unwrap().rest
    }

    fn fields(text: &str) -> u32 {
        rest(text).fields
    }

    #[test]
    fn the_numbers_are_those_that_files_hold() {
        let text = r#"{"id":"amy","online":true,"role":"user","name":"Amy Aylin Yılmaz","age":36,"size":1.75,"vip":true,
            "address":{"city":"Ankara","zip":"06100"},"tags":["a","b"],"updated_at":"2026-01-05T10:00:00.123456Z"}"#;
        let rest = rest(text);
        assert_eq!(
            (rest.fields, rest.updated, VERSION),
            (2_104_423_516, 889_888_434, 1),
            "whoever changes the numbers changes the version"
        );
    }

    #[test]
    fn order_and_spelling_do_not_count() {
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
    fn what_not_everybody_shows_or_nobody_changed_does_not_count() {
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
    fn every_other_difference_counts() {
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
    fn places_are_compared_only_if_the_user_was_changed() {
        let sight = |view, name: &str, updated: &str| FingerprintSample {
            view,
            rest: rest(&json!({"id": "a", "name": name, "updated_at": updated}).to_string()),
        };
        let before = sight(UserOrigin::User, "A", "1");
        assert_eq!(before.delta_to(sight(UserOrigin::User, "A", "2")), 0);
        assert_ne!(before.delta_to(sight(UserOrigin::User, "B", "1")), 0);
        assert_eq!(before.delta_to(sight(UserOrigin::Event, "B", "1")), 0);
        let after = sight(UserOrigin::Event, "B", "2");
        let (there, back) = (before.delta_to(after), after.delta_to(before));
        assert_ne!(there, 0);
        assert_eq!(there.wrapping_add(back), 0);
        let silent = FingerprintSample {
            view: UserOrigin::Event,
            rest: rest(r#"{"id":"a","name":"B"}"#),
        };
        assert_eq!(before.delta_to(silent), 0);
    }

    #[test]
    fn depth_has_no_limit_and_counts_to_some_depth() {
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
    fn otherwise(value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                let mut lead = "{ ";
                for (name, value) in fields.iter().rev() {
                    out.push_str(lead);
                    otherwise(&Value::from(name.as_str()), out);
                    out.push_str(" : ");
                    otherwise(value, out);
                    lead = " , ";
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
            Value::Array(items) => {
                let mut lead = "[ ";
                for item in items {
                    out.push_str(lead);
                    otherwise(item, out);
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
        fn however_a_user_is_written_the_number_is_the_same(value in value(), name in ".{0,12}") {
            let user = json!({"id": "a", "name": "A", name: value});
            let mut text = String::new();
            otherwise(&user, &mut text);
            prop_assume!(user["id"] == "a");
            prop_assert_eq!(rest(&text), rest(&user.to_string()));
            let user: User = serde_json::from_value(user).unwrap();
            prop_assert_eq!(rest(&text), Fingerprint::of(&user));
        }
    }

    #[test]
    fn what_moved_can_be_moved_back_and_is_news_again() {
        let seen = |view| FingerprintSample {
            view,
            rest: Fingerprint {
                fields: 7,
                updated: 1,
            },
        };
        for view in [UserOrigin::Event, UserOrigin::User] {
            let before = seen(UserOrigin::Event).before_delta(9);
            assert_eq!(before.delta_to(seen(view)), 9, "{view:?}");
        }
        assert_eq!(
            seen(UserOrigin::Event).before_delta(0),
            seen(UserOrigin::Event)
        );
    }
}
