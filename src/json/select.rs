//! Fields picked out of JSON text, by path, without building the rest.
//!
//! Values are handed on as the text they arrived as, so that a number or a key order survives whatever format it is
//! shown in. A path goes through objects by name and through arrays by number.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The JSON text at a path; `None` where there is nothing. An empty path is the whole text.
pub(crate) fn at<'j>(json: &'j str, path: &[String]) -> Option<&'j str> {
    let Some((first, rest)) = path.split_first() else {
        return Some(json);
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_any(Step(first)).ok().flatten()?;
    at(found.get(), rest)
}

/// What a JSON text says to a reader: a string without its quotes, nothing for `null`, anything else as it is.
pub(crate) fn plain(json: &str) -> Cow<'_, str> {
    if json == "null" {
        return Cow::Borrowed("");
    }
    if json.starts_with('"') {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        // Half a surrogate pair is JSON and no text; then the escapes are shown.
        return serde_json::from_str::<Text<'_>>(json).map_or(Cow::Borrowed(json), |text| text.0);
    }
    Cow::Borrowed(json)
}

/// The fields of an object in their order, values as text. `None` when it is no object.
pub(crate) fn fields(json: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    serde_json::Deserializer::from_str(json)
        .deserialize_map(All)
        .ok()
}

/// The items of an array, as text. Empty when it is no array.
pub(crate) fn items(json: &str) -> Vec<&str> {
    serde_json::from_str::<Vec<&RawValue>>(json)
        .map(|items| items.into_iter().map(RawValue::get).collect())
        .unwrap_or_default()
}

/// One step of a path into an object or array.
struct Step<'p>(&'p str);

impl<'j> Visitor<'j> for Step<'_> {
    type Value = Option<&'j RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(KeyIs(self.0))? {
            if wanted {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted: Option<usize> = self.0.parse().ok();
        let mut found = None;
        let mut index = 0;
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if Some(index) == wanted {
                found = Some(item);
            }
            index += 1;
        }
        Ok(found)
    }
}

/// Reads a key and says whether it is the one, without keeping it.
struct KeyIs<'p>(&'p str);

impl<'j> DeserializeSeed<'j> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

struct All;

impl<'j> Visitor<'j> for All {
    type Value = Vec<(Cow<'j, str>, &'j str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut fields = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'j>, &'j RawValue>()? {
            fields.push((key, value.get()));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick<'j>(json: &'j str, path: &str) -> Option<&'j str> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        at(json, &path)
    }

    #[test]
    fn values_keep_their_text() {
        let json = r#"{"a":{"n":1.10,"k\"q":[10,{"id":"x"}]},"big":123456789012345678901234567890,"z":null}"#;
        assert_eq!(pick(json, "a.n"), Some("1.10"));
        assert_eq!(pick(json, "a.k\"q.1.id"), Some("\"x\""));
        assert_eq!(pick(json, "big"), Some("123456789012345678901234567890"));
        assert_eq!(pick(json, "z"), Some("null"));
        for nothing in ["b", "a.n.x", "a.k\"q.2", "a.k\"q.id", "z.z"] {
            assert_eq!(pick(json, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn plain_text_of_values() {
        assert_eq!(plain("null"), "");
        assert_eq!(plain(r#""a\tb\u00e9""#), "a\tbé");
        assert_eq!(plain("true"), "true");
        assert_eq!(plain("[1, 2]"), "[1, 2]");
        assert_eq!(plain(r#""\ud800""#), r#""\ud800""#);
    }

    #[test]
    fn fields_in_order() {
        assert_eq!(
            fields(r#"{"b":1,"a":"x\n"}"#).unwrap(),
            [(Cow::from("b"), "1"), (Cow::from("a"), r#""x\n""#)]
        );
        assert!(fields("[1]").is_none());
    }
}
