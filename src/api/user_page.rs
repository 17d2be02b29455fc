//! A page of users, kept as the JSON text that was received.
//!
//! Most of a list of users is copied to the output, and filters look at five fields only. Parsing every user completely
//! costs ten times as much as the copy. So the page is validated as JSON and split into users, and a user is parsed
//! only when needed.

use std::ops::Range;

use bytes::Bytes;

use crate::domain::event::EventUser;
use crate::json::scanner::{Json, Malformed};

/// The users of one response, in order.
#[derive(Debug, Clone, Default)]
pub struct UserPage {
    body: String,
    users: Vec<Range<usize>>,
}

impl UserPage {
    /// Splits a response of the form `{"users":[…]}`. `None` if it has another form, or if a user has no id.
    pub(super) fn cut(body: Bytes) -> Option<Self> {
        let body = String::from_utf8(body.into()).ok()?;
        let users = spans(&body).ok()??;
        let page = Self { body, users };
        let complete = page.iter().count() == page.len();
        complete.then_some(page)
    }

    /// The number of users.
    pub const fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are no users.
    pub const fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The id of the last user.
    pub fn last_id(&self) -> Option<String> {
        let last = self.users.last()?;
        Some(EventUser::parse(&self.body[last.clone()])?.id.into_owned())
    }

    /// The users.
    pub fn iter(&self) -> impl Iterator<Item = EventUser<'_>> {
        let texts = self.users.iter().map(|span| &self.body[span.clone()]);
        texts.filter_map(EventUser::parse)
    }
}

/// The positions of the users in the text; `null` counts as no users. `None` if there is no `users`.
fn spans(body: &str) -> Result<Option<Vec<Range<usize>>>, Malformed> {
    let json = Json::new(body);
    let mut users = Vec::new();
    let mut named = false;
    let end = json.object(json.blanks(0), |name, at| {
        if name != b"users" {
            return json.value(at);
        }
        named = true;
        users.clear();
        if json.peek(at) == Some(b'n') {
            return json.value(at);
        }
        json.array(at, |at| {
            let end = json.value(at)?;
            users.push(at..end);
            Ok(end)
        })
    })?;
    json.end(end)?;
    Ok(named.then_some(users))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &'static str) -> Option<Vec<String>> {
        let page = UserPage::cut(Bytes::from_static(text.as_bytes()))?;
        Some(page.iter().map(|user| user.raw.to_owned()).collect())
    }

    #[test]
    fn users_are_the_text_that_came() {
        let text = r#"{"duration":"1ms", "users" : [ {"id":"a","n":1.10} ,{"id":"b","x":[{}]}]}"#;
        assert_eq!(
            cut(text).unwrap(),
            [r#"{"id":"a","n":1.10}"#, r#"{"id":"b","x":[{}]}"#]
        );
        let page = UserPage::cut(text.into()).unwrap();
        assert_eq!(page.last_id().as_deref(), Some("b"));
    }

    #[test]
    fn an_empty_page_has_two_forms() {
        for text in [r#"{"users":null}"#, r#"{"users":[]}"#] {
            assert_eq!(cut(text), Some(Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_no_page_of_users_is_refused() {
        for text in [
            "",
            "[]",
            "<html>",
            "{}",
            r#"{"duration":"1ms","user":[{"id":"a"}]}"#,
            r#"{"users":{}}"#,
            r#"{"users":[1]}"#,
            r#"{"users":[{"name":"nobody"}]}"#,
            r#"{"users":[{"id":"a"}]"#,
            r#"{"users":[{"id":"a"},]}"#,
            r#"{"users":nope}"#,
        ] {
            assert_eq!(cut(text), None, "{text}");
        }
        assert!(UserPage::cut(Bytes::from_static(b"{\"users\":[{\"id\":\"\xff\"}]}")).is_none());
    }
}
