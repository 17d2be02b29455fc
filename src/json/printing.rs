//! Results of jq expressions as text.

use jaq_json::{Num, Val, write};

use super::scanner::escape_controls;

/// How string results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringForm {
    /// As plain text, like `jq -r`.
    Raw,
    /// As JSON strings, in quotes.
    Quoted,
}

/// A result of an expression, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Printed {
    /// A string, unquoted.
    Text(String),
    /// Any value, as JSON on one line.
    Json(String),
}

/// A result as text.
pub(super) fn printed(value: Val, strings: StringForm) -> Printed {
    let value = representable(value);
    if let (Val::TStr(text), StringForm::Raw) = (&value, strings) {
        return Printed::Text(String::from_utf8_lossy(text).into_owned());
    }
    let mut line = Vec::new();
    write::write(&mut line, &write::Pp::default(), 0, &value)
        .expect("writing to memory does not fail");
    escape_controls(&mut line, 0);
    Printed::Json(String::from_utf8_lossy(&line).into_owned())
}

/// Replaces values that JSON cannot express, as `jq` does: NaN becomes null, infinity the largest number, bytes a
/// string.
fn representable(value: Val) -> Val {
    fn is_json(value: &Val) -> bool {
        match value {
            Val::Null | Val::Bool(_) => true,
            Val::Num(Num::Float(number)) => number.is_finite(),
            Val::Num(_) => true,
            Val::BStr(_) => false,
            Val::TStr(text) => std::str::from_utf8(text).is_ok(),
            Val::Arr(items) => items.iter().all(is_json),
            Val::Obj(fields) => fields
                .iter()
                .all(|(key, value)| matches!(key, Val::TStr(_)) && is_json(key) && is_json(value)),
        }
    }
    if is_json(&value) {
        return value;
    }
    match value {
        Val::Num(Num::Float(number)) if number.is_nan() => Val::Null,
        Val::Num(Num::Float(number)) => Val::from(number.clamp(f64::MIN, f64::MAX)),
        Val::BStr(bytes) | Val::TStr(bytes) => {
            Val::utf8_str(String::from_utf8_lossy(&bytes).into_owned())
        }
        Val::Arr(items) => items.iter().cloned().map(representable).collect(),
        Val::Obj(fields) => Val::obj(
            fields
                .iter()
                .map(|(key, value)| {
                    let key = match representable(key.clone()) {
                        key @ Val::TStr(_) => key,
                        other => Val::utf8_str(other.to_string()),
                    };
                    (key, representable(value.clone()))
                })
                .collect(),
        ),
        other @ (Val::Null | Val::Bool(_) | Val::Num(_)) => other,
    }
}
