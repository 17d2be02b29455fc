//! Redaction: hides tokens and secrets in everything that the traffic log shows.
//!
//! A value is hidden if its name says that it is a secret, wherever it stands: a member of JSON, a parameter of a URL
//! inside a text, or a member of JSON that was cut off. A text that has the form of a token is hidden anywhere.

use serde_json::Value;

const REDACTED: &str = "(hidden)";

/// The starts of an encoded token header, which is a JSON object: `{"`, `{ `, `{\n` and `{\r`.
const TOKEN_STARTS: [&str; 4] = ["eyJ", "eyA", "ewo", "ew0"];

/// JSON in a text, or the text.
pub(super) fn json_in(text: &str) -> Value {
    if text.starts_with(['{', '[']) {
        serde_json::from_str(text).unwrap_or_else(|_| text.into())
    } else {
        text.into()
    }
}

/// A named value without tokens and secrets.
pub(super) fn hidden(name: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = hidden(&name, value);
                (without_tokens(&name), value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| hidden(name, item)).collect(),
        Value::String(text) if names_a_secret(name) && !text.is_empty() => REDACTED.into(),
        Value::String(text) => without_tokens(&text).into(),
        other => other,
    }
}

fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("token")
        || name.ends_with("tokens")
        || ["authorization", "secret", "password"]
            .iter()
            .any(|word| name.contains(word))
}

/// A text in which no token can be read.
pub(super) fn without_tokens(text: &str) -> String {
    hide_members(&hide_parameters(&hide_encoded(text)))
}

/// Hides whatever has the form of a signed token, also where it is percent-encoded.
fn hide_encoded(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.=+/%".contains(c);
    let mut kept = String::new();
    let mut rest = text;
    loop {
        let start = TOKEN_STARTS
            .iter()
            .filter_map(|start| find_token(rest, start, is_part))
            .min();
        let Some((at, end)) = start else {
            kept.push_str(rest);
            return kept;
        };
        kept.push_str(&rest[..at]);
        kept.push_str(REDACTED);
        rest = &rest[end..];
    }
}

/// Where the first token with this start is. All starts but the usual one are so short that the two dots must be there.
fn find_token(text: &str, start: &str, is_part: impl Fn(char) -> bool) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text[from..].find(start) {
        let at = from + found;
        let end = text[at..]
            .find(|c| !is_part(c))
            .map_or(text.len(), |length| at + length);
        if start == TOKEN_STARTS[0] || text[at..end].matches('.').count() >= 2 {
            return Some((at, end));
        }
        from = at + start.len();
    }
    None
}

/// Hides the values of parameters that are named like secrets, in URLs and forms inside a text.
fn hide_parameters(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        kept.push_str(before);
        let name = before[..at]
            .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)))
            .next()
            .unwrap_or_default();
        let end = after
            .find(|c: char| c.is_whitespace() || "&#;\"'<>\\".contains(c))
            .unwrap_or(after.len());
        rest = if names_a_secret(name) && end > 0 {
            kept.push_str(REDACTED);
            &after[end..]
        } else {
            after
        };
    }
    kept.push_str(rest);
    kept
}

/// Hides the values of members that are named like secrets, in JSON that does not parse because it was cut off.
fn hide_members(text: &str) -> String {
    if !text.starts_with(['{', '[']) {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut rest = text;
    let mut name = String::new();
    while let Some(open) = rest.find('"') {
        let (before, quoted) = rest.split_at(open);
        let length = quoted_length(quoted);
        let is_value = before.trim() == ":";
        kept.push_str(before);
        if is_value && names_a_secret(&name) {
            kept.push('"');
            kept.push_str(REDACTED);
            kept.push('"');
        } else {
            kept.push_str(&quoted[..length]);
        }
        name = quoted[..length].trim_matches('"').to_owned();
        rest = &quoted[length..];
    }
    kept.push_str(rest);
    kept
}

/// The length of the quoted string at the start of a text, or of the whole text where the string does not end.
fn quoted_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return at + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hidden_wherever_they_stand() {
        for (text, shown) in [
            ("a eyJhbGciOiJ9.eyJ1IjoxfQ.c2ln b", "a (hidden) b"),
            ("/users/eyJhbGciOiJ9%2EeyJ1Ijox%2Ec2ln/x", "/users/(hidden)"),
            ("eyAiYWxnIjoi.eyAidSI6.c2ln", "(hidden)"),
            ("they are away", "they are away"),
            (
                "https://cdn.example/a.png?w=1&token=hush&h=2",
                "https://cdn.example/a.png?w=1&token=(hidden)&h=2",
            ),
            (
                "see https://x/?access_token=hush#top",
                "see https://x/?access_token=(hidden)#top",
            ),
            (
                r#"{"a":"b","user_token" : "hu\"sh","c":"d","e":"cut o"#,
                r#"{"a":"b","user_token" : "(hidden)","c":"d","e":"cut o"#,
            ),
            (r#"{"password":"hus"#, r#"{"password":"(hidden)""#),
        ] {
            assert_eq!(without_tokens(text), shown);
        }
    }
}
