//! How long single functions take, and how often they allocate: `cargo bench --bench functions`.
//!
//! For what a user waits for see the table (`cargo bench --bench table`); this is where a step of it is looked at alone.

use std::hint::black_box;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use presencectl::domain::event::Event;
use presencectl::json::expression::Expr;
use presencectl::json::printing::StringForm;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Events as the service sends them, long and short.
const EVENTS: [(&str, &str); 3] = [
    (
        "presence",
        r#"{"type":"user.presence.changed","user":{"id":"user-000017","role":"user","created_at":"2025-11-02T09:12:44.68335Z","updated_at":"2026-01-05T10:00:00.12Z","last_active":"2026-01-05T10:00:00.215772568Z","banned":false,"online":true,"name":"Amelia Example","image":"https://example.com/images/amelia.png","status":"at lunch until two","color":"green"},"created_at":"2026-01-05T10:00:00.215772568Z"}"#,
    ),
    (
        "watching",
        r#"{"type":"user.watching.start","cid":"messaging:fun","channel_type":"messaging","channel_id":"fun","watcher_count":3,"user":{"id":"amy","role":"user","online":true,"teams":["a","b"],"privacy_settings":{"typing_indicators":{"enabled":true}}},"created_at":"2026-01-05T10:00:00.2Z"}"#,
    ),
    (
        "heartbeat",
        r#"{"type":"health.check","connection_id":"6a4b3c2d-0000-4000-8000-000000000001","cid":"*","created_at":"2026-01-05T10:00:00.2Z"}"#,
    ),
];

fn names() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().map(|(name, _)| *name)
}

fn text(name: &str) -> &'static str {
    EVENTS
        .iter()
        .find_map(|(own, text)| (*own == name).then_some(*text))
        .expect("benches are named after events")
}

#[divan::bench(args = names())]
fn event_parse(bencher: Bencher<'_, '_>, name: &str) {
    let text = text(name);
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| Event::parse(black_box(text)));
}

/// What a general parser costs that only checks the text.
#[divan::bench(args = names())]
fn serde_check(bencher: Bencher<'_, '_>, name: &str) {
    let text = text(name);
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| serde_json::from_str::<serde::de::IgnoredAny>(black_box(text)));
}

/// What a general parser costs that builds the value.
#[divan::bench(args = names())]
fn serde_value(bencher: Bencher<'_, '_>, name: &str) {
    let text = text(name);
    bencher
        .counter(BytesCount::of_str(text))
        .bench(|| serde_json::from_str::<serde_json::Value>(black_box(text)));
}

/// Expressions that read a field, some fields, and the whole record.
const EXPRESSIONS: [&str; 4] = [
    ".user.id",
    "{id: .user.id, online: .user.online}",
    r#"select(.user.online) | "\(.user.id): \(.user.status // "-")""#,
    "to_entries | length",
];

#[divan::bench(args = EXPRESSIONS)]
fn expression_compile(source: &str) -> Expr {
    Expr::compile(black_box(source)).expect("it is an expression")
}

#[divan::bench(args = EXPRESSIONS)]
fn expression_results(bencher: Bencher<'_, '_>, source: &str) {
    let expression = Expr::compile(source).expect("it is an expression");
    let record = text("presence").as_bytes();
    bencher.bench(|| {
        expression
            .results(black_box(record), StringForm::Raw)
            .count()
    });
}
