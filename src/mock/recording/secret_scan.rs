//! The last check of a recording: does anything in it look like a secret?
//!
//! Redaction has removed secrets already. This check knows nothing of how it works, and looks at the result only: for
//! tokens, for the credentials that were in use, for keys of known forms, and for long random strings in fields whose
//! names say that they may hold a secret.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde_json::Value;

use super::field_class::has_token;
use super::redact::{DROPPED, is_pseudonym};

/// Parts of the names of fields that may hold a secret. More than redaction drops: a false alarm here costs a look.
const SUSPICIOUS_NAMES: &[&str] = &[
    "key",
    "token",
    "secret",
    "pass",
    "auth",
    "credential",
    "cookie",
    "session",
    "signature",
    "private",
    "bearer",
    "jwt",
    "hash",
    "code",
];

/// How secrets of well-known services begin.
const KNOWN_BEGINNINGS: &[&str] = &[
    "-----BEGIN ",
    "AKIA",
    "ASIA",
    "AIza",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "sk_live_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "ya29.",
];
/// The shortest secret that begins in a known way.
const KNOWN_MIN_CHARS: usize = 16;
/// The shortest random string that is taken for a secret.
const RANDOM_MIN_CHARS: usize = 20;
/// How many bits a character of a random string carries at least. English text has about 4 in long texts, but 20
/// different characters of hexadecimal or base64 have more than words have.
const RANDOM_MIN_BITS_PER_CHAR: f64 = 3.0;

/// Something in a recording that looks like a secret. It does not contain the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectedSecret {
    /// The number of the line.
    pub line: usize,
    /// The field, as a path of names and indexes.
    pub field: String,
    /// What it looks like.
    pub reason: &'static str,
}

impl fmt::Display for SuspectedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            field,
            reason,
        } = self;
        write!(f, "line {line}, field {field}: {reason}")
    }
}

impl std::error::Error for SuspectedSecret {}

/// Looks at a line.
///
/// # Errors
///
/// The first thing in it that looks like a secret.
pub fn scan_line(
    line: usize,
    value: &Value,
    secrets: &BTreeSet<String>,
) -> Result<(), SuspectedSecret> {
    let mut scan = SecretScan {
        secrets,
        path: Vec::new(),
    };
    scan.value("", value).map_err(|reason| SuspectedSecret {
        line,
        field: scan.path.join("."),
        reason,
    })
}

struct SecretScan<'a> {
    secrets: &'a BTreeSet<String>,
    path: Vec<String>,
}

impl SecretScan<'_> {
    fn value(&mut self, name: &str, value: &Value) -> Result<(), &'static str> {
        match value {
            Value::Object(members) => {
                for (member, value) in members {
                    // A name that is a secret must not be shown.
                    let place = self.path.len();
                    self.path.push("(a name)".to_owned());
                    self.text("", member)?;
                    self.path[place].clone_from(member);
                    self.value(member, value)?;
                    self.path.pop();
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.path.push(place.to_string());
                    self.value(name, item)?;
                    self.path.pop();
                }
            }
            Value::String(text) => self.text(name, text)?,
            Value::Number(number) => self.text(name, &number.to_string())?,
            Value::Null | Value::Bool(_) => {}
        }
        Ok(())
    }

    fn text(&self, name: &str, text: &str) -> Result<(), &'static str> {
        if text == DROPPED {
            return Ok(());
        }
        if has_token(text) {
            return Err("it has the form of a token");
        }
        if self.secrets.iter().any(|secret| text.contains(secret)) {
            return Err("it contains a credential that was used in this session");
        }
        if text.len() >= KNOWN_MIN_CHARS
            && KNOWN_BEGINNINGS
                .iter()
                .any(|beginning| text.starts_with(beginning))
        {
            return Err("it begins like the key of a known service");
        }
        if is_suspicious_name(name) && !is_pseudonym(text) && text.split_whitespace().any(is_random)
        {
            return Err("it is a long random string, and the name may be that of a secret");
        }
        Ok(())
    }
}

fn is_suspicious_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SUSPICIOUS_NAMES.iter().any(|part| name.contains(part))
}

/// Whether a word is long and its characters are spread as by chance.
fn is_random(word: &str) -> bool {
    let length = word.chars().count();
    if length < RANDOM_MIN_CHARS || word.starts_with("https://") || word.starts_with("http://") {
        return false;
    }
    let mut counts: HashMap<char, u32> = HashMap::new();
    for c in word.chars() {
        *counts.entry(c).or_default() += 1;
    }
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = word.bytes().any(|byte| byte.is_ascii_alphabetic());
    let entropy: f64 = counts
        .values()
        .map(|&count| {
            let share = f64::from(count) / length as f64;
            -share * share.log2()
        })
        .sum();
    has_digit && has_letter && entropy >= RANDOM_MIN_BITS_PER_CHAR
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scan(value: &Value) -> Result<(), String> {
        let secrets = BTreeSet::from(["a-secret-in-use".to_owned()]);
        scan_line(3, value, &secrets).map_err(|found| found.to_string())
    }

    #[test]
    fn what_looks_like_a_secret_is_named_by_its_place_and_never_shown() {
        for (value, reason) in [
            (
                json!({"response": {"users": [{"note": "x eyJhbGciOi.eyJ1c2VyIjo.c2ln"}]}}),
                "line 3, field response.users.0.note: it has the form of a token",
            ),
            (
                json!({"path": "/users/a-secret-in-use"}),
                "line 3, field path: it contains a credential that was used in this session",
            ),
            (
                json!({"a": {"a-secret-in-use": 1}}),
                "line 3, field a.(a name): it contains a credential that was used in this session",
            ),
            (
                json!({"text": "AKIAIOSFODNN7EXAMPLE"}),
                "line 3, field text: it begins like the key of a known service",
            ),
            (
                json!({"session_key": "9f86d081884c7d659a2feaa0c55ad015"}),
                "line 3, field session_key: it is a long random string, and the name may be that of a secret",
            ),
        ] {
            assert_eq!(scan(&value).unwrap_err(), reason);
        }
    }

    #[test]
    fn ordinary_values_pass() {
        for value in [
            json!({"id": "9f86d081884c7d659a2feaa0c55ad015", "access_token": "(dropped)"}),
            json!({"session_key": "p-9f86d081884c7d65", "code": 16, "keyword": "an ordinary text of many words"}),
            json!({"created_at": "2026-01-05T10:00:00.000000000Z", "auth_provider": "the-provider-of-logins"}),
        ] {
            assert_eq!(scan(&value), Ok(()), "{value}");
        }
    }
}
