//! Bindings: which value of the replaying session stands for which pseudonym or generated id of the recording.
//!
//! A recording has no texts, only their pseudonyms. Once a client has sent the text, responses and events that have the
//! pseudonym show the text again.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Pairs of a recorded value and the value that stands for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings {
    live: HashMap<String, String>,
    recorded: HashMap<String, String>,
}

impl Bindings {
    /// Whether a pair contradicts an earlier one.
    pub(super) fn contradicts(&self, recorded: &str, live: &str) -> bool {
        let is_other = |known: Option<&String>, value: &str| known.is_some_and(|k| k != value);
        is_other(self.live.get(recorded), live) || is_other(self.recorded.get(live), recorded)
    }

    /// Notes a pair. The latest value counts.
    pub(super) fn bind(&mut self, recorded: &str, live: &str) {
        self.live.insert(recorded.to_owned(), live.to_owned());
        self.recorded.insert(live.to_owned(), recorded.to_owned());
    }

    /// Replaces recorded values by those of this session.
    pub(super) fn apply(&self, value: &Value) -> Value {
        if self.live.is_empty() {
            return value.clone();
        }
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.apply(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (self.text(name), self.apply(value)))
                .collect::<Map<_, _>>()
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&self, text: &str) -> String {
        if let Some(live) = self.live.get(text) {
            return live.clone();
        }
        // The cid of a channel whose id has a pseudonym.
        match text.split_once(':') {
            Some((channel_type, id)) => match self.live.get(id) {
                Some(live) => format!("{channel_type}:{live}"),
                None => text.to_owned(),
            },
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bound_values_are_replaced_wherever_they_stand() {
        let mut bindings = Bindings::default();
        bindings.bind("p-1", "Amy");
        assert!(bindings.contradicts("p-1", "Bob"));
        assert!(bindings.contradicts("p-2", "Amy"));
        assert!(!bindings.contradicts("p-1", "Amy"));
        assert_eq!(
            bindings.apply(&json!({"p-1": ["p-1", "messaging:p-1", "p-2", 1]})),
            json!({"Amy": ["Amy", "messaging:Amy", "p-2", 1]})
        );
    }
}
