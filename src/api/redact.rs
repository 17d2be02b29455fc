//! Redaction: hides keys, tokens and secrets in everything that is shown of a call. No other file decides this.
//!
//! A value is hidden if the name of its field is a known secret name, if it equals a secret of this client, or if it
//! has the form of a token.

use serde_json::Value;

/// The replacement of a hidden value.
pub(super) const REDACTED: &str = "[redacted]";

/// Parts of field names whose values are secrets.
const SECRET_NAMES: [&str; 9] = [
    "token",
    "secret",
    "password",
    "authorization",
    "api_key",
    "apikey",
    "private_key",
    "credential",
    "cookie",
];

/// The first characters of every signed token: `{"`, encoded.
const TOKEN_PREFIX: &str = "eyJ";

/// Hides secrets in shown text.
#[derive(Debug, Default)]
pub(super) struct Redactor<'a> {
    secrets: Vec<&'a str>,
}

impl<'a> Redactor<'a> {
    /// Also hides these values, wherever they occur.
    pub(super) fn new(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            secrets: secrets
                .into_iter()
                .filter(|secret| !secret.is_empty())
                .collect(),
        }
    }

    /// The shown value of a header or query parameter.
    pub(super) fn named(&self, name: &str, value: &str) -> String {
        if is_secret_name(name) {
            REDACTED.to_owned()
        } else {
            self.body(value)
        }
    }

    /// The shown body: JSON with secret fields hidden, or any other text.
    pub(super) fn body(&self, text: &str) -> String {
        if text.starts_with(['{', '['])
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            self.json(&mut value);
            return value.to_string();
        }
        self.text(text)
    }

    fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    if is_secret_name(name) && !member.is_null() {
                        *member = Value::from(REDACTED);
                    } else {
                        self.json(member);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut shown = without_tokens(text);
        for secret in &self.secrets {
            shown = shown.replace(secret, REDACTED);
        }
        shown
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// A text with all signed tokens hidden.
fn without_tokens(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(TOKEN_PREFIX) {
        let (before, token) = rest.split_at(start);
        let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = token.find(|c| !is_inside(c)).unwrap_or(token.len());
        shown.push_str(before);
        if token[..end].contains('.') {
            shown.push_str(REDACTED);
        } else {
            shown.push_str(&token[..end]);
        }
        rest = &token[end..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_by_name_value_and_shape() {
        let redactor = Redactor::new(["s3cret", ""]);
        for (text, shown) in [
            ("plain", "plain"),
            ("x=s3cret&y", "x=[redacted]&y"),
            ("Bearer eyJh.eyJi.c-_d, eyJust", "Bearer [redacted], eyJust"),
            (
                r#"{"access_token":"x","user":{"id":"amy","api-key":1,"note":"s3cret!"},"token":null}"#,
                r#"{"access_token":"[redacted]","user":{"id":"amy","api-key":"[redacted]","note":"[redacted]!"},"token":null}"#,
            ),
            (r#"["eyJa.b.c"]"#, r#"["[redacted]"]"#),
            (r#"{"cut":"off s3cret"#, r#"{"cut":"off [redacted]"#),
        ] {
            assert_eq!(redactor.body(text), shown);
        }
        for name in [
            "Authorization",
            "api_key",
            "X-Stream-Token",
            "Set-Cookie",
            "client_secret",
        ] {
            assert_eq!(redactor.named(name, "x"), REDACTED, "{name}");
        }
        assert_eq!(redactor.named("x-stream-client", "x"), "x");
    }
}
