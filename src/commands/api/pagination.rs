//! `--paginate`: finds the request for the next page in a response.
//!
//! The service pages in two ways: newer queries return a cursor `next`, older ones take an `offset`.

use serde_json::{Map, Value};

/// The position in a sequence of pages.
#[derive(Debug, Default)]
pub(super) struct Pagination {
    /// The length of the previous page.
    length: Option<usize>,
}

impl Pagination {
    /// Changes the request to ask for the next page. Returns `false` after the last page.
    pub(super) fn turn(
        &mut self,
        answer: &Map<String, Value>,
        request: &mut Map<String, Value>,
        path: &str,
    ) -> bool {
        if let Some(next) = answer.get("next") {
            let more = next.as_str().is_some_and(|next| !next.is_empty());
            if more {
                request.insert("next".to_owned(), next.clone());
            }
            return more;
        }
        let length = items(answer, path);
        let limit = request
            .get("limit")
            .and_then(Value::as_u64)
            .and_then(|limit| usize::try_from(limit).ok());
        // Without a limit, the service's default applies: a page shorter than the previous one is the last.
        let full = limit.or(self.length).is_none_or(|full| length >= full);
        self.length = Some(length);
        if length == 0 || !full {
            return false;
        }
        let offset = request.get("offset").and_then(Value::as_u64).unwrap_or(0);
        let next = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        request.insert("offset".to_owned(), Value::from(next));
        true
    }
}

/// The number of items on a page: the length of the list named like the path, else of the first list.
fn items(answer: &Map<String, Value>, path: &str) -> usize {
    let last = path.rsplit('/').next().unwrap_or(path);
    answer
        .get(last)
        .and_then(Value::as_array)
        .or_else(|| answer.values().find_map(Value::as_array))
        .map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tests read better without a thousand ampersands"
    )]
    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn next_wins_over_offset() {
        let (mut pages, mut request) = (Pagination::default(), Map::new());
        let answer = map(json!({"results": [1], "next": "abc"}));
        assert!(pages.turn(&answer, &mut request, "search"));
        assert_eq!(request, map(json!({"next": "abc"})));
        assert!(!pages.turn(
            &map(json!({"results": [1], "next": ""})),
            &mut request,
            "search"
        ));
        assert!(!pages.turn(
            &map(json!({"results": [1], "next": null})),
            &mut request,
            "search"
        ));
    }

    #[test]
    fn offsets_grow_by_what_came() {
        let (mut pages, mut request) = (Pagination::default(), map(json!({"offset": 10})));
        let page = |users: usize| map(json!({"also": [], "users": vec![0; users]}));
        assert!(pages.turn(&page(30), &mut request, "users"));
        assert_eq!(request["offset"], 40);
        assert!(pages.turn(&page(30), &mut request, "users"));
        assert_eq!(request["offset"], 70);
        assert!(!pages.turn(&page(29), &mut request, "users"));
        let (mut pages, mut request) = (Pagination::default(), map(json!({"limit": 100})));
        assert!(!pages.turn(&page(30), &mut request, "users"));
        assert!(!Pagination::default().turn(&page(0), &mut Map::new(), "users"));
    }
}
