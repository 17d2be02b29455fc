//! Selects values from JSON text by path.
//!
//! A value is returned as the text that was received, so that numbers and the order of keys stay unchanged in every
//! output format.

use std::borrow::Cow;

use super::path;
use super::scanner::{Json, Text};

/// The JSON text of the value at a path, through objects by name and arrays by index; `None` if there is none. The
/// empty path is the whole text.
pub(crate) fn at<'j>(json: &'j str, path: &[String]) -> Option<&'j str> {
    path::find(Json::new(json), path).ok()?.value()
}

/// A JSON value as plain text: a string without quotes, nothing for `null`, other values unchanged.
pub(crate) fn plain_text(json: &str) -> Cow<'_, str> {
    if json == "null" {
        return Cow::Borrowed("");
    }
    let text = match Json::new(json).text(0) {
        Ok((_, text)) => text,
        Err(_) => None,
    };
    // Half a surrogate pair is valid JSON but not text, so the escapes are shown.
    text.and_then(Text::read).unwrap_or(Cow::Borrowed(json))
}

/// The items of an array as JSON text. Empty if the value is not an array.
pub(crate) fn items(json: &str) -> Vec<&str> {
    let text = Json::new(json);
    let mut items = Vec::new();
    let end = text.array(text.blanks(0), |at| {
        let end = text.value(at)?;
        items.push(text.slice(at, end));
        Ok(end)
    });
    if end.is_err() {
        items.clear();
    }
    items
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
        assert_eq!(plain_text("null"), "");
        assert_eq!(plain_text(r#""a\tb\u00e9""#), "a\tbé");
        assert_eq!(plain_text("true"), "true");
        assert_eq!(plain_text("[1, 2]"), "[1, 2]");
        assert_eq!(plain_text(r#""\ud800""#), r#""\ud800""#);
    }

    #[test]
    fn items_in_order() {
        assert_eq!(
            items(r#" [1, {"a":[2]} ,"x"] "#),
            ["1", r#"{"a":[2]}"#, r#""x""#]
        );
        assert_eq!(items("{}"), [""; 0]);
        assert_eq!(items("[1,"), [""; 0]);
    }
}
