//! `--sort`: sort keys for the service, and a local sort by the same keys for what the service cannot sort.

use std::cmp::Ordering;
use std::str::FromStr;

use chrono::DateTime;
use serde_json::{Map, Value};

use crate::api::Sort;
use crate::escape;

/// How many sort keys the service accepts.
const SORT_KEYS_MAX: usize = 5;

/// Fields that users or channels can be sorted by, although a result may lack them.
const KNOWN_FIELDS: [&str; 17] = [
    "banned",
    "cid",
    "created_at",
    "has_unread",
    "id",
    "last_active",
    "last_message_at",
    "last_updated",
    "member_count",
    "name",
    "pinned_at",
    "relevance",
    "role",
    "teams",
    "type",
    "unread_count",
    "updated_at",
];

/// Sort keys, `f,-g`: ascending by `f`, then descending by `g`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKeys(Vec<Sort>);

impl FromStr for SortKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let keys: Vec<Sort> = text
            .split(',')
            .map(|key| {
                let key = key.trim();
                let (field, direction) = match key.strip_prefix('-') {
                    Some(field) => (field, -1),
                    None => (key.strip_prefix('+').unwrap_or(key), 1),
                };
                if field.is_empty() || field.contains(char::is_whitespace) {
                    return Err(format!(
                        "`{}` is not a sort key; write FIELD, or -FIELD for descending",
                        escape::quote(key)
                    ));
                }
                Ok(Sort {
                    field: field.to_owned(),
                    direction,
                })
            })
            .collect::<Result<_, _>>()?;
        if keys.len() > SORT_KEYS_MAX {
            return Err(format!("the service sorts by at most {SORT_KEYS_MAX} keys"));
        }
        Ok(Self(keys))
    }
}

impl SortKeys {
    /// The keys in the service's format.
    pub fn keys(&self) -> &[Sort] {
        &self.0
    }

    /// The fields that are custom fields or typing errors.
    pub fn unknown_fields(&self) -> impl Iterator<Item = &str> {
        let fields = self.0.iter().map(|key| key.field.as_str());
        fields.filter(|field| !KNOWN_FIELDS.contains(field))
    }

    /// Compares two objects by the keys. Missing and `null` values come last in both directions. Times are compared as
    /// instants, because the service writes them with more or fewer digits.
    pub fn compare(&self, a: &Map<String, Value>, b: &Map<String, Value>) -> Ordering {
        self.0
            .iter()
            .map(|key| {
                let value = |object: &Map<String, Value>| at(object, &key.field).cloned();
                match (value(a), value(b)) {
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(_), None) => Ordering::Less,
                    (Some(a), Some(b)) if key.direction < 0 => compare(&b, &a),
                    (Some(a), Some(b)) => compare(&a, &b),
                }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

fn at<'o>(object: &'o Map<String, Value>, field: &str) -> Option<&'o Value> {
    let found = match field.split_once('.') {
        None => object.get(field),
        Some((first, rest)) => at(object.get(first)?.as_object()?, rest),
    };
    found.filter(|value| !value.is_null())
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
            match (time(a), time(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.cmp(b),
            }
        }
        (Value::Number(a), Value::Number(b)) => a
            .as_f64()
            .unwrap_or(f64::NAN)
            .total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_as_typed() {
        let keys: SortKeys = "name,-last_active, +id".parse().unwrap();
        let keys: Vec<_> = keys
            .keys()
            .iter()
            .map(|key| (key.field.as_str(), key.direction))
            .collect();
        assert_eq!(keys, [("name", 1), ("last_active", -1), ("id", 1)]);
        for wrong in ["", "a,,b", "-", "a b", "a,b,c,d,e,f"] {
            assert!(wrong.parse::<SortKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn our_order() {
        let order = |keys: &str, mut objects: Vec<Value>| {
            let keys: SortKeys = keys.parse().unwrap();
            objects.sort_by(|a, b| keys.compare(a.as_object().unwrap(), b.as_object().unwrap()));
            objects
                .iter()
                .map(|object| object["id"].as_str().unwrap().to_owned())
                .collect::<String>()
        };
        let objects = vec![
            json!({"id": "a", "n": 10, "t": "2026-01-01T00:00:00Z", "x": {"y": "q"}}),
            json!({"id": "b", "n": 9, "t": "2026-01-01T00:00:00.5Z", "x": {"y": "p"}}),
            json!({"id": "c", "t": null}),
        ];
        assert_eq!(order("n", objects.clone()), "bac");
        assert_eq!(order("-n", objects.clone()), "abc");
        assert_eq!(order("-t", objects.clone()), "bac", "half a second later");
        assert_eq!(order("x.y,id", objects.clone()), "bac");
        assert_eq!(order("-id", objects), "cba");
    }
}
