//! Entries of the traffic log and results of expectations as lines for a person.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::escape::{escape, truncate};
use crate::output::Column;
use crate::output::human_time;

/// The columns of a result of `mock expect`.
pub(super) const EXPECTATION_COLUMNS: [Column; 4] = [
    Column::plain("met"),
    Column::plain("expected"),
    Column::plain("matched"),
    Column::plain("compared"),
];

/// The width of a line where the terminal sets no limit, in cells.
const DEFAULT_LINE_WIDTH: usize = 200;
/// The longest value of a request that a line about a difference repeats, in cells.
const DIFFERENCE_VALUE_WIDTH: usize = 120;

/// An entry of the log as one line: the time, what happened, and to whom.
pub(super) fn entry(entry: &Value, width: Option<usize>) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let user = text("user");
    let what = match text("type") {
        "mock.request" => request(entry),
        "mock.socket.open" => format!("● {user} connected {}", text("connection_id")),
        "mock.socket.end" => format!("○ {user} disconnected: {}", text("reason")),
        "mock.frame.sent" => format!("→ {user} {}", frame(&entry["frame"])),
        "mock.frame.heard" => format!("← {user} {}", frame(&entry["frame"])),
        "mock.log.lost" => format!(
            "! {} entries were dropped before they were read",
            entry["count"]
        ),
        other => other.to_owned(),
    };
    let fault = match text("fault") {
        "" => String::new(),
        id => format!(" (fault {id})"),
    };
    let clock = human_time::clock_of(text("at"), false);
    let line = format!("{clock:8}  {what}{fault}");
    truncate(&escape(&line), width.unwrap_or(DEFAULT_LINE_WIDTH)).into_owned()
}

fn request(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let status = match entry["status"].as_u64() {
        Some(status) => status.to_string(),
        None => "no response".to_owned(),
    };
    let mut line = format!("{} {} {status}", text("method"), text("path"));
    if let Some(took) = entry["took_ms"].as_f64() {
        write!(line, " {took} ms").expect("writing to a String does not fail");
    }
    if let Some(user) = entry["user"].as_str() {
        write!(line, " {user}").expect("writing to a String does not fail");
    }
    if let Some(message) = entry["error"]["message"].as_str() {
        write!(line, ": {message}").expect("writing to a String does not fail");
    }
    line
}

/// The type of an event and its user, or the start of any other frame.
fn frame(frame: &Value) -> String {
    let Some(kind) = frame["type"].as_str() else {
        return frame.to_string();
    };
    let user = &frame["user"];
    let mut line = kind.to_owned();
    if let Some(id) = user["id"].as_str() {
        write!(line, " {id}").expect("writing to a String does not fail");
        match user["online"].as_bool() {
            Some(true) => line.push_str(" online"),
            Some(false) => line.push_str(" offline"),
            None => {}
        }
    }
    line
}

/// The requests that a failed expectation names, each as one line.
pub(super) fn requests_of_expectation(result: &Map<String, Value>) -> Vec<String> {
    let list = |name: &str| {
        result
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let unexpected = list("unexpected").map(|found| format!("unexpected: {}", request(found)));
    let nearest = list("nearest").map(|miss| {
        let differences = miss["differences"].as_array().into_iter().flatten();
        let differences: Vec<_> = differences.map(difference).collect();
        format!("nearest: {} ({})", request(miss), differences.join("; "))
    });
    unexpected.chain(nearest).collect()
}

/// How a request differs in one condition.
fn difference(difference: &Value) -> String {
    let text = |name: &str| difference[name].as_str().unwrap_or_default();
    let actual = match &difference["actual"] {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let actual = truncate(&actual, DIFFERENCE_VALUE_WIDTH).into_owned();
    let expected = text("expected");
    match (text("filter"), text("error")) {
        ("body", "") => format!("body: `{expected}` is not true for {actual}"),
        ("body", error) => format!("body: {error}"),
        (filter, _) => format!("{filter}: expected {expected}, got {actual}"),
    }
}

/// The state of a server as lines: a name and a value each.
pub(super) fn status(status: &Map<String, Value>) -> String {
    let value = |name: &str| match status.get(name) {
        Some(Value::String(text)) => escape(text).into_owned(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let rows = [
        ("clock", format!("{}, {}", value("now"), value("clock"))),
        (
            "users",
            format!("{}, {} online", value("users"), value("online")),
        ),
        (
            "channels",
            format!("{}, watched {} times", value("channels"), value("watches")),
        ),
        (
            "connections",
            format!(
                "{}, {} without a client",
                value("connections"),
                value("virtual")
            ),
        ),
        ("subscriptions", value("subscriptions")),
        ("faults", format!("{} active", value("faults"))),
        ("log", format!("{} entries so far", value("log"))),
    ];
    let lines = rows.map(|(name, value)| format!("{name:13}  {value}\n"));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_entry_is_a_line() {
        let lines = [
            json!({"type": "mock.request", "at": "x", "method": "GET", "path": "/users", "user": "john", "status": 200, "took_ms": 1.5}),
            json!({"type": "mock.request", "at": "x", "method": "POST", "path": "/users", "user": null, "status": null, "took_ms": 2.0, "fault": "f1"}),
            json!({"type": "mock.request", "at": "x", "method": "GET", "path": "/a\u{1b}", "user": null, "status": 404, "took_ms": 2.0, "error": {"message": "gone"}}),
            json!({"type": "mock.socket.open", "at": "x", "user": "john", "connection_id": "c1"}),
            json!({"type": "mock.socket.end", "at": "x", "user": "john", "connection_id": "c1", "reason": "lost"}),
            json!({"type": "mock.frame.sent", "at": "x", "user": "john", "frame": {"type": "user.presence.changed", "user": {"id": "amy", "online": true}}}),
            json!({"type": "mock.frame.heard", "at": "x", "user": "john", "frame": "hello"}),
            json!({"type": "mock.log.lost", "count": 3}),
        ];
        let text: Vec<_> = lines.iter().map(|line| entry(line, None)).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        x         GET /users 200 1.5 ms john
        x         POST /users no response 2 ms (fault f1)
        x         GET /a\u{1b} 404 2 ms: gone
        x         ● john connected c1
        x         ○ john disconnected: lost
        x         → john user.presence.changed amy online
        x         ← john "hello"
                  ! 3 entries were dropped before they were read
        "#);
        assert!(entry(&lines[0], Some(20)).ends_with('…'));
    }
}
