//! Lists of users as the command line writes them: `a,b,c`, `@file`, or `-` for standard input.
//!
//! Only the syntax is known here. Commands read the file when they need the list, a line at a time, so that a list may be
//! longer than memory.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

use super::id::{InvalidId, UserId};

/// A list, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdList {
    /// The ids themselves.
    Given(Vec<UserId>),
    /// A file with one id per line.
    File(PathBuf),
    /// Standard input, one id per line.
    Stdin,
}

impl FromStr for IdList {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        text.split(',')
            .map(|id| id.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self::Given)
    }
}

/// The id on a line of a list: the id itself, a JSON string, or a JSON object with an `id`. `None` for a blank line or a
/// comment that starts with `#`.
///
/// # Errors
///
/// The line is something else.
pub fn id_on_line(line: &str) -> Result<Option<UserId>, String> {
    let line = line.trim();
    let id = match line.chars().next() {
        None | Some('#') => return Ok(None),
        Some('"' | '{') => {
            let value: Value =
                serde_json::from_str(line).map_err(|error| format!("not valid JSON: {error}"))?;
            let id = match &value {
                Value::Object(object) => object.get("id").and_then(Value::as_str),
                value => value.as_str(),
            };
            id.ok_or("the object has no `id` that is a string")?.parse()
        }
        Some(_) => line.parse(),
    };
    id.map(Some).map_err(|error: InvalidId| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let ids = |ids: &[&str]| IdList::Given(ids.iter().map(|id| id.parse().unwrap()).collect());
        assert_eq!("a,b".parse(), Ok(ids(&["a", "b"])));
        assert_eq!("a, b".parse(), Ok(ids(&["a", "b"])));
        assert_eq!("-".parse(), Ok(IdList::Stdin));
        assert_eq!("@x/y.txt".parse(), Ok(IdList::File("x/y.txt".into())));
        assert_eq!("a,@b".parse(), Ok(ids(&["a", "@b"])));
        for wrong in ["", "a,", "a b", ",a"] {
            assert!(wrong.parse::<IdList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines() {
        assert_eq!(id_on_line(" john\r").unwrap().unwrap().as_str(), "john");
        assert_eq!(id_on_line("").unwrap(), None);
        assert_eq!(id_on_line("# the team").unwrap(), None);
        assert!(id_on_line("john doe").is_err());
    }
}
