//! `-F` and `-f`: a JSON object put together from words, `name=value`, `name[key]=value`, `name[]=value`.
//!
//! Dots are no path here, unlike in `--set`: in the service's own bodies a name with a dot in it means something.

use std::io::Read;

use serde_json::{Map, Value};

/// A field as typed, its value read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    path: Vec<Step>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    /// `[]`: one more item.
    Item,
}

/// Reads `name=text`, the value a text whatever it looks like.
pub(super) fn parse_text(word: &str) -> Result<Field, String> {
    let (path, value) = split(word)?;
    Ok(Field {
        path,
        value: Value::from(value),
    })
}

/// Reads `name=value`, the value JSON where it is JSON, the content of a file where it starts with `@`, else a text.
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

fn split(word: &str) -> Result<(Vec<Step>, &str), String> {
    let wrong = || "write NAME=VALUE, NAME[KEY]=VALUE or NAME[]=VALUE".to_owned();
    let (name, value) = word.split_once('=').ok_or_else(wrong)?;
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    if first.is_empty() || first.contains(']') {
        return Err(wrong());
    }
    let mut path = vec![Step::Key(first.to_owned())];
    while !rest.is_empty() {
        let (step, after) = rest
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or_else(wrong)?;
        path.push(if step.is_empty() {
            Step::Item
        } else {
            Step::Key(step.to_owned())
        });
        rest = after;
    }
    Ok((path, value))
}

impl Field {
    /// Puts the field where it belongs.
    ///
    /// # Errors
    ///
    /// Something of another kind is there already.
    pub(super) fn put(self, object: &mut Map<String, Value>) -> Result<(), String> {
        let name = self.name();
        let mut path = self.path.into_iter();
        let Some(Step::Key(first)) = path.next() else {
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
                (0, Step::Key(key)) => key.clone(),
                (_, Step::Key(key)) => format!("[{key}]"),
                (_, Step::Item) => "[]".to_owned(),
            })
            .collect()
    }
}

fn put(place: &mut Value, path: &[Step], value: Value) -> Result<(), ()> {
    match path.split_first() {
        None if place.is_null() => {
            *place = value;
            Ok(())
        }
        None => Err(()),
        Some((Step::Key(key), rest)) => {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let object = place.as_object_mut().ok_or(())?;
            put(object.entry(key).or_insert(Value::Null), rest, value)
        }
        Some((Step::Item, rest)) => {
            if place.is_null() {
                *place = Value::Array(Vec::new());
            }
            let items = place.as_array_mut().ok_or(())?;
            // A key goes into the last item while there is room for it, so that objects can be listed.
            if let [Step::Key(key), ..] = rest
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
