//! Environment variables as people mean them: white space around a value is not part of it, and an empty variable is
//! not set.
//!
//! Values come from `.env` files with Windows line ends, and from CI systems that pass an empty text where a secret is
//! not available.

use std::env;
use std::ffi::OsStr;

use clap::Arg;

/// The value of a variable, trimmed. `None` if it is unset, empty, or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().and_then(|value| meaning(&value))
}

/// The first of these variables that has a value, with its name.
pub fn first_variable<'a>(names: &[&'a str]) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

/// Whether a variable exists but has no value.
pub fn is_empty(name: &str) -> bool {
    env::var_os(name).is_some() && variable(name).is_none()
}

/// Makes a flag read its variable by the rules of this module. The parser's own reading takes the text as it is.
pub(crate) fn read_variable_of(argument: Arg) -> Arg {
    let Some(name) = argument.get_env().map(OsStr::to_owned) else {
        return argument;
    };
    let Some(raw) = env::var_os(&name) else {
        return argument;
    };
    // What is not text is left to the parser, which says so.
    let Some(text) = raw.to_str() else {
        return argument;
    };
    match meaning(text) {
        None => argument.env(None::<&'static str>),
        Some(value) if argument.get_id() == "mock" => match value.as_str() {
            "1" | "true" => replace(argument, ""),
            "0" | "false" => argument.env(None::<&'static str>),
            fixture => replace(argument, fixture),
        },
        Some(value) if value == text => argument,
        Some(value) => replace(argument, &value),
    }
}

/// Gives a flag a value in place of its variable's. The parser has no other way to a value that was not typed.
fn replace(argument: Arg, value: &str) -> Arg {
    let takes_value = argument.get_action().takes_values();
    argument
        .env(None::<&'static str>)
        .default_value(value.to_owned())
        .hide_default_value(takes_value)
}

fn meaning(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_no_value() {
        assert_eq!(meaning("secret\r\n").as_deref(), Some("secret"));
        assert_eq!(meaning(" \r\n"), None);
        assert_eq!(meaning(""), None);
    }
}
