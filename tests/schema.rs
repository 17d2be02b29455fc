//! `schema`: the published shapes are sound, cover what streams print, and are told by the command. That every line of
//! every other test obeys them is seen to where the tests run processes.

use std::panic::catch_unwind;

use boon::{Compiler, Schemas};
use presencectl::commands::schema::RECORDS;
use serde_json::{Value, json};

use crate::support::Presencectl;
use crate::support::contract::Contract;

fn schema(line: &str) -> Value {
    let text = Presencectl::line(line).run().stdout_of_success();
    serde_json::from_str(&text).unwrap()
}

/// A line of a stream with the fields that every one has.
fn line(kind: &str, own: Value) -> Value {
    let mut line = json!({"type": kind, "seq": 1, "received_at": "2026-01-05T10:00:00.000Z", "source": "local"});
    let Value::Object(own) = own else {
        panic!("an object")
    };
    line.as_object_mut().unwrap().extend(own);
    line
}

fn user() -> Value {
    json!({"id": "john", "online": true, "status": null, "last_active": null, "invisible": null, "color": "green"})
}

#[test]
fn every_record_has_a_schema_of_its_own() {
    for record in RECORDS {
        let printed = schema(&format!("schema {}", record.name));
        assert_eq!(printed, record.schema());
        assert_eq!(
            printed["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
    }
    let run = Presencectl::line("schema presence.gapp")
        .run()
        .ended_with(2);
    assert!(run.stderr.contains("presence.gap"), "{run}");
}

#[test]
fn every_line_of_a_stream_matches_exactly_one_schema() {
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    let mut schemas = Schemas::new();
    compiler
        .add_resource("https://presencectl.test/line", schema("schema"))
        .unwrap();
    let any = compiler
        .compile("https://presencectl.test/line", &mut schemas)
        .unwrap_or_else(|error| panic!("{error:#}"));
    let good = [
        line("presence.snapshot", json!({"user": user()})),
        line(
            "user.presence.changed",
            json!({"user": user(), "changed": ["online"], "previous": {"online": false}}),
        ),
        line("custom.event", json!({"anything": 1})),
        line(
            "connection.changed",
            json!({"online": false, "reason": "x", "attempt": 0}),
        ),
        line("connection.recovered", json!({})),
        line(
            "presence.gap",
            json!({"from": "2026-01-05T10:00:00Z", "to": "2026-01-05T10:00:01Z", "repaired": [], "note": "x"}),
        ),
        line(
            "presence.coverage",
            json!({"requested": 1, "subscribed": 1, "missing": [], "missing_reasons": {}}),
        ),
        line(
            "stream.end",
            json!({"reason": "count", "events": 1, "gaps": 0, "reconnects": 0, "exit_code": 0}),
        ),
        line(
            "presence.gap",
            json!({"from": "2026-01-05T10:00:00Z", "to": "2026-01-05T10:00:01Z", "repaired": [], "note": "x", "added_later": 1}),
        ),
    ];
    for value in &good {
        if let Err(error) = schemas.validate(value, any) {
            panic!("{error:#}\n{value}");
        }
    }
    let bad = [
        line("presence.snapshot", json!({"user": {"id": "john"}})),
        line("user.presence.changed", json!({"user": user()})),
        line(
            "user.presence.changed",
            json!({"user": user(), "changed": ["name"], "previous": {}}),
        ),
        line(
            "presence.gap",
            json!({"from": "yesterday", "to": "2026-01-05T10:00:01Z", "repaired": [], "note": "x"}),
        ),
        line(
            "stream.end",
            json!({"reason": "count", "events": 1, "gaps": 0, "reconnects": 0, "exit_code": 14}),
        ),
        json!({"type": "stream.end"}),
    ];
    for value in &bad {
        assert!(schemas.validate(value, any).is_err(), "{value}");
    }
}

#[test]
fn an_invalid_record_is_noticed() {
    let contract = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Contract::of(&words)
    };
    let refused = |words: &[&str], line: &Value| {
        let (contract, line) = (contract(words), line.to_string());
        catch_unwind(|| contract.check(&line)).is_err()
    };
    let users = ["query-users", "--all"];
    assert!(!refused(&users, &user()));
    assert!(refused(&users, &json!({"id": "john"})));
    assert!(refused(&["profile", "list"], &json!({"name": "prod"})));
    let request = json!({"method": "PATCH", "path": "/users", "endpoint": null, "body": {}});
    assert!(refused(&["set-user", "john"], &request));
    assert!(!refused(&["set-user", "john", "--dry-run"], &request));
    let mut unnamed = line("connection.recovered", json!({}));
    assert!(!refused(&users, &unnamed));
    unnamed["surprise"] = json!(1);
    assert!(refused(&users, &unnamed), "a field that no schema names");
    assert!(!refused(
        &["query-users", "--jq", "{a:1}"],
        &json!({"a": 1})
    ));
}
