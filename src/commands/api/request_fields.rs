//! `-F` and `-f`: fields of a JSON body, written as `name=value`, `name[key]=value` or `name[]=value`.
//!
//! Unlike in `--set`, dots do not nest, because some names in the service's bodies contain dots.

use std::io::Read;

use serde_json::{Map, Value};

/// A field: a path and a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    path: Vec<PathStep>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PathStep {
    Key(String),
    /// `[]`: adds an item to an array.
    Item,
}

/// Parses `name=text`. The value is always a string.
pub(super) fn parse_text(word: &str) -> Result<Field, String> {
    let (path, value) = split(word)?;
    Ok(Field {
        path,
        value: Value::from(value),
    })
}

/// Parses `name=value`. The value is JSON if it parses, the content of a file if it starts with `@`, else a string.
pub(super) fn parse_typed(word: &str) -> Result<Field, String> {
    let (path, value) = split(word)?;
    let value = match value.strip_prefix('@') {
        Some(file) => Value::from(read_text(file)?),
        None => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    };
    Ok(Field { path, value })
}

fn read_text(file: &str) -> Result<String, String> {
    if file == "-" {
        let mut text = String::new();
        return std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map(|_| text)
            .map_err(|error| format!("cannot read standard input: {error}"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))
}

fn split(word: &str) -> Result<(Vec<PathStep>, &str), String> {
    let wrong = || "expected NAME=VALUE, NAME[KEY]=VALUE or NAME[]=VALUE".to_owned();
    let (name, value) = word.split_once('=').ok_or_else(wrong)?;
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    if first.is_empty() || first.contains(']') {
        return Err(wrong());
    }
    let mut path = vec![PathStep::Key(first.to_owned())];
    while !rest.is_empty() {
        let (step, after) = rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(wrong)?;
        path.push(if step.is_empty() {
            PathStep::Item
        } else {
            PathStep::Key(step.to_owned())
        });
        rest = after;
    }
    Ok((path, value))
}

impl Field {
    /// Inserts the field into an object.
    ///
    /// # Errors
    ///
    /// The path already has a value, or leads through a value of another type.
    pub(super) fn put(self, object: &mut Map<String, Value>) -> Result<(), String> {
        let name = self.name();
        let mut path = self.path.into_iter();
        let Some(PathStep::Key(first)) = path.next() else {
            return Err(format!("`{name}` has no name"));
        };
        let place = object.entry(first).or_insert(Value::Null);
        put(place, path.as_slice(), self.value)
            .map_err(|()| format!("`{name}` is given twice, or once as a value and once as a list"))
    }

    fn name(&self) -> String {
        self.path
            .iter()
            .enumerate()
            .map(|(index, step)| match (index, step) {
                (0, PathStep::Key(key)) => key.clone(),
                (_, PathStep::Key(key)) => format!("[{key}]"),
                (_, PathStep::Item) => "[]".to_owned(),
            })
            .collect()
    }
}

fn put(place: &mut Value, path: &[PathStep], value: Value) -> Result<(), ()> {
    match path.split_first() {
        None if place.is_null() => {
            *place = value;
            Ok(())
        }
        None => Err(()),
        Some((PathStep::Key(key), rest)) => {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let object = place.as_object_mut().ok_or(())?;
            put(object.entry(key).or_insert(Value::Null), rest, value)
        }
        Some((PathStep::Item, rest)) => {
            if place.is_null() {
                *place = Value::Array(Vec::new());
            }
            let items = place.as_array_mut().ok_or(())?;
            // A key belongs to the last item unless that item already has it. So objects in an array can be written one
            // after the other.
            if let [PathStep::Key(key), ..] = rest
                && let Some(Value::Object(last)) = items.last_mut()
                && !last.contains_key(key)
            {
                return put(items.last_mut().ok_or(())?, rest, value);
            }
            items.push(Value::Null);
            put(items.last_mut().ok_or(())?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(fields: &[(&str, bool)]) -> Result<Value, String> {
        let mut object = Map::new();
        for (word, typed) in fields {
            let field = if *typed {
                parse_typed(word)?
            } else {
                parse_text(word)?
            };
            field.put(&mut object)?;
        }
        Ok(Value::Object(object))
    }

    #[test]
    fn values_are_typed_or_texts() {
        assert_eq!(
            object(&[
                ("n=1", true),
                ("t=true", true),
                ("z=null", true),
                ("o={\"a\":[1]}", true),
                ("s=plain text", true),
                ("u=1", false),
                ("e=", false),
                ("q=a=b", false),
            ])
            .unwrap(),
            json!({"n": 1, "t": true, "z": null, "o": {"a": [1]}, "s": "plain text", "u": "1", "e": "", "q": "a=b"})
        );
    }

    #[test]
    fn brackets_make_objects_and_lists() {
        assert_eq!(
            object(&[
                ("filter_conditions[id][$in][]=john", false),
                ("filter_conditions[id][$in][]=jack", false),
                ("sort[][field]=id", false),
                ("sort[][direction]=-1", true),
                ("sort[][field]=name", false),
                ("set.a=x", false),
            ])
            .unwrap(),
            json!({
                "filter_conditions": {"id": {"$in": ["john", "jack"]}},
                "sort": [{"field": "id", "direction": -1}, {"field": "name"}],
                "set.a": "x",
            })
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(object(&[("a=1", true), ("a=2", true)]).is_err());
        assert!(object(&[("a[b]=1", true), ("a=2", true)]).is_err());
        assert!(
            object(&[("a[]=1", true), ("a[b]=2", true)])
                .unwrap_err()
                .contains("a[b]")
        );
        for word in ["a", "=1", "[a]=1", "a[=1", "a]b=1", "a[b]c=1"] {
            assert!(parse_text(word).is_err(), "{word}");
        }
    }
}
