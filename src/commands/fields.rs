//! `--set`, `--set-json` and `--unset`: changes of the fields of a user or channel.
//!
//! Other fields stay as they are. Dots in a name reach into nested objects, as in the service's partial updates. The
//! service decides which names exist and which may be changed.

use std::str::FromStr;

use serde_json::{Map, Value};

use crate::escape;
use crate::exit::{Code, Failure};

/// Flags that change fields.
#[derive(Debug, Default, clap::Args)]
pub struct FieldArgs {
    /// Set a field to a string (repeatable)
    #[arg(long, value_name = "K=TEXT")]
    pub set: Vec<TextField>,

    /// Set a field to a JSON value (repeatable)
    #[arg(long, value_name = "K=JSON")]
    pub set_json: Vec<JsonField>,

    /// Remove a field (repeatable)
    #[arg(long, value_name = "K", value_parser = parse_name)]
    pub unset: Vec<String>,
}

/// A field with a text, `name=text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextField(String, String);

/// A field with a JSON value, `name=JSON`.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonField(String, Value);

impl FromStr for TextField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = split(text)?;
        Ok(Self(name, value.to_owned()))
    }
}

impl FromStr for JsonField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = split(text)?;
        let value = serde_json::from_str(value).map_err(|error| {
            format!("the value of {name} is not JSON ({error}); for a text, use --set {name}=TEXT")
        })?;
        Ok(Self(name, value))
    }
}

fn split(text: &str) -> Result<(String, &str), String> {
    let (name, value) = split_assignment(text)?;
    Ok((parse_name(name)?, value))
}

/// Splits `NAME=VALUE`.
pub(super) fn split_assignment(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

fn parse_name(name: &str) -> Result<String, String> {
    let well_formed = name
        .split('.')
        .all(|step| !step.is_empty() && !step.contains(char::is_whitespace));
    if well_formed {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{}` is not a field name: expected words without spaces, joined by dots for nested fields",
            escape::quote(name)
        ))
    }
}

/// Changes of fields: fields to set and fields to remove. Each field occurs once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldChanges {
    /// The fields to set, with their new values.
    pub set: Map<String, Value>,
    /// The fields to remove.
    pub unset: Vec<String>,
}

impl FieldChanges {
    /// Sets a field.
    ///
    /// # Errors
    ///
    /// The field is already in the changes.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Failure> {
        self.refuse_if_named(name)?;
        self.set.insert(name.to_owned(), value.into());
        Ok(())
    }

    /// Removes a field.
    ///
    /// # Errors
    ///
    /// The field is already in the changes.
    pub fn unset(&mut self, name: &str) -> Result<(), Failure> {
        self.refuse_if_named(name)?;
        self.unset.push(name.to_owned());
        Ok(())
    }

    /// Adds the changes of `--set`, `--set-json` and `--unset`.
    ///
    /// # Errors
    ///
    /// A field is named twice.
    pub fn add(&mut self, args: &FieldArgs) -> Result<(), Failure> {
        for TextField(name, value) in &args.set {
            self.set(name, value.as_str())?;
        }
        for JsonField(name, value) in &args.set_json {
            self.set(name, value.clone())?;
        }
        for name in &args.unset {
            if name.contains('=') {
                return Err(Failure::new(
                    Code::Usage,
                    format!(
                        "--unset takes the name of a field, not `{}`",
                        escape::quote(name)
                    ),
                )
                .hinted("to give it a value: --set NAME=VALUE"));
            }
            self.unset(name)?;
        }
        Ok(())
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.unset.is_empty()
    }

    /// The fields to set as a JSON object. Dotted names become nested objects.
    pub fn as_new(&self) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, value) in &self.set {
            insert(&mut object, name, value.clone());
        }
        object
    }

    /// Describes the first field of an object that does not have the changed value. `None` if all have it.
    pub fn difference(&self, object: &Map<String, Value>) -> Option<String> {
        for (name, wanted) in &self.set {
            match get(object, name) {
                Some(found) if is_same(found, wanted) => {}
                Some(found) => return Some(format!("`{name}` is {found}, expected {wanted}")),
                None => return Some(format!("`{name}` is missing, expected {wanted}")),
            }
        }
        self.unset.iter().find_map(|name| {
            get(object, name)
                .filter(|found| !found.is_null())
                .map(|found| format!("`{name}` is still {found}"))
        })
    }

    /// The part of an object that these changes are about: the named fields, and the objects around them.
    #[must_use]
    pub fn select(&self, object: &Map<String, Value>) -> Map<String, Value> {
        let mut selected = Map::new();
        for name in self.names() {
            select(object, name, &mut selected);
        }
        selected
    }

    /// The values of the named fields in an object, for people.
    pub fn describe(&self, object: &Map<String, Value>) -> String {
        let fields = self.names().map(|name| {
            let value = get(object, name).unwrap_or(&Value::Null);
            (name.clone(), value.clone())
        });
        Value::Object(fields.collect()).to_string()
    }

    /// The changes that undo these on an object that was like `before` and is like `now`, and the fields that are left
    /// alone because they do not have the value any more that these changes gave them. On an object that did not exist
    /// before, they remove what these changes set.
    #[must_use]
    pub fn undo(
        &self,
        before: Option<&Map<String, Value>>,
        now: &Map<String, Value>,
    ) -> (Self, Vec<&str>) {
        let known = |object: &Map<String, Value>, name: &str| {
            get(object, name).filter(|value| !value.is_null()).cloned()
        };
        let made_by_us = self.as_new();
        let mut undo = Self::default();
        let mut kept = Vec::new();
        for name in self.names() {
            let mut old = before.and_then(|object| known(object, name));
            let mut ours = self.set.get(name).filter(|value| !value.is_null()).cloned();
            let mut current = known(now, name);
            if name == "invisible" {
                // The service never lacks it for long.
                for value in [&mut old, &mut ours, &mut current] {
                    value.get_or_insert(Value::Bool(false));
                }
            }
            if is_same_option(current.as_ref(), old.as_ref()) {
                continue;
            }
            if !is_same_option(current.as_ref(), ours.as_ref()) {
                kept.push(name.as_str());
                continue;
            }
            match old {
                Some(old) => {
                    undo.set.insert(name.clone(), old);
                }
                // The service cannot unset a role.
                None if name == "role" => {}
                None => {
                    // The objects around a field are ours too, unless somebody has put something else in.
                    let around = first_missing(before, name);
                    let is_ours = is_same_option(get(now, around), get(&made_by_us, around));
                    let made = if is_ours { around } else { name };
                    if !undo.unset.iter().any(|unset| unset == made) {
                        undo.unset.push(made.to_owned());
                    }
                }
            }
        }
        (undo, kept)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.set.keys().chain(&self.unset)
    }

    fn refuse_if_named(&self, name: &str) -> Result<(), Failure> {
        let overlaps = |other: &str| {
            let below = |a: &str, b: &str| {
                a.strip_prefix(b)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            below(name, other) || below(other, name)
        };
        match self.names().find(|other| overlaps(other)) {
            None => Ok(()),
            Some(other) if other == name => Err(Failure::new(
                Code::Usage,
                format!("the field `{name}` is given twice"),
            )),
            Some(other) => Err(Failure::new(
                Code::Usage,
                format!("the fields `{other}` and `{name}` overlap"),
            )),
        }
    }
}

/// Whether two JSON values are equal. `1` and `1.0` are the same number.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn is_same_option(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => is_same(a, b),
        (a, b) => a == b,
    }
}

/// Copies a field by its dotted name, with the objects around it as far as they exist.
fn select(object: &Map<String, Value>, name: &str, into: &mut Map<String, Value>) {
    let (first, rest) = match name.split_once('.') {
        None => (name, None),
        Some((first, rest)) => (first, Some(rest)),
    };
    match (object.get(first), rest) {
        (None, _) => {}
        (Some(Value::Object(inner)), Some(rest)) => {
            let copy = into
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(copy) = copy {
                select(inner, rest, copy);
            }
        }
        (Some(value), _) => {
            into.insert(first.to_owned(), value.clone());
        }
    }
}

fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object
                .entry(first)
                .or_insert_with(|| Value::Object(Map::new()));
            // Names do not overlap, so this is always an object that an earlier name created.
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The shortest prefix of a dotted name that does not exist. Setting the whole name creates it.
fn first_missing<'n>(object: Option<&Map<String, Value>>, name: &'n str) -> &'n str {
    name.match_indices('.')
        .map(|(at, _)| &name[..at])
        .find(|part| object.is_none_or(|object| get(object, part).is_none()))
        .unwrap_or(name)
}

fn get<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o Value> {
    match name.split_once('.') {
        None => object.get(name),
        Some((first, rest)) => get(object.get(first)?.as_object()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(set: &[&str], set_json: &[&str], unset: &[&str]) -> Result<FieldChanges, Failure> {
        let args = FieldArgs {
            set: set.iter().map(|text| text.parse().unwrap()).collect(),
            set_json: set_json.iter().map(|text| text.parse().unwrap()).collect(),
            unset: unset.iter().map(|&name| name.to_owned()).collect(),
        };
        let mut changes = FieldChanges::default();
        changes.add(&args)?;
        Ok(changes)
    }

    #[test]
    fn names_and_values() {
        let changes = changes(
            &["color=green", "note=a=b", "empty="],
            &["level=3", "a.b={\"c\":[1]}"],
            &["old"],
        )
        .unwrap();
        assert_eq!(
            Value::Object(changes.as_new()),
            json!({"color": "green", "note": "a=b", "empty": "", "level": 3, "a": {"b": {"c": [1]}}})
        );
        assert_eq!(changes.unset, ["old"]);
        assert!("color".parse::<TextField>().is_err());
        assert!("a b=c".parse::<TextField>().is_err());
        assert!("=c".parse::<TextField>().is_err());
        assert!("a..b=1".parse::<JsonField>().is_err());
        assert!(
            "n=green"
                .parse::<JsonField>()
                .unwrap_err()
                .contains("--set n=TEXT")
        );
    }

    #[test]
    fn a_field_is_named_once() {
        assert!(changes(&["a=1", "a=2"], &[], &[]).is_err());
        assert!(changes(&["a=1"], &[], &["a"]).is_err());
        assert!(changes(&["a.b=1"], &["a={}"], &[]).is_err());
        assert!(changes(&["ab=1", "a=2", "a_b.c=3"], &[], &[]).is_ok());
    }

    #[test]
    fn what_was_there_comes_back_and_what_was_not_goes() {
        let changes = changes(
            &["status=x", "a.b=y", "new=1"],
            &["invisible=true"],
            &["old"],
        )
        .unwrap();
        let before = json!({"status": "was", "a": {"b": 1, "c": 2}, "old": [1], "other": 1});
        let before = changes.select(before.as_object().unwrap());
        assert_eq!(
            Value::Object(before.clone()),
            json!({"status": "was", "a": {"b": 1}, "old": [1]})
        );
        let now = |extra: Value| {
            let mut now = json!({"status": "x", "a": {"b": "y"}, "new": "1", "invisible": true});
            now.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            now
        };
        let undo = |before: Option<&Map<String, Value>>, now: &Value| {
            let (undo, kept) = changes.undo(before, now.as_object().unwrap());
            (
                Value::Object(undo.set),
                undo.unset.join(" "),
                kept.join(" "),
            )
        };
        assert_eq!(
            undo(Some(&before), &now(json!({}))),
            (
                json!({"status": "was", "a.b": 1, "invisible": false, "old": [1]}),
                "new".to_owned(),
                String::new()
            )
        );
        // `old` was not there either, so there is nothing to do about it.
        assert_eq!(
            undo(None, &now(json!({}))),
            (
                json!({"invisible": false}),
                "status a new".to_owned(),
                String::new()
            )
        );
        let changed =
            json!({"status": "theirs", "old": 2, "a": {"b": "y", "theirs": 1}, "new": null});
        assert_eq!(
            undo(None, &now(changed.clone())),
            (
                json!({"invisible": false}),
                "a.b".to_owned(),
                "status old".to_owned()
            )
        );
        assert_eq!(
            undo(Some(&before), &now(changed)),
            (
                json!({"a.b": 1, "invisible": false}),
                String::new(),
                "status old".to_owned()
            )
        );
    }

    #[test]
    fn differences_are_reported() {
        let changes = changes(&["status=x", "a.b=y"], &["n=1"], &["gone"]).unwrap();
        let difference = |object: Value| changes.difference(object.as_object().unwrap());
        let good = json!({"status": "x", "a": {"b": "y", "c": 1}, "n": 1.0, "gone": null});
        assert_eq!(difference(good), None);
        assert_eq!(
            difference(json!({"status": "z"})).unwrap(),
            r#"`status` is "z", expected "x""#
        );
        assert_eq!(
            difference(json!({"status": "x", "a": {}})).unwrap(),
            r#"`a.b` is missing, expected "y""#
        );
        assert_eq!(
            difference(json!({"status": "x", "a": {"b": "y"}, "n": 1, "gone": 0})).unwrap(),
            "`gone` is still 0"
        );
    }
}
