//! Fuzzing of the operations: no request makes the engine panic, and every refusal is the caller's mistake.

use std::cell::Cell;

use chrono::TimeDelta;
use rand::seq::IndexedRandom;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{OPERATIONS, OperationRequest};
use crate::fuzz::{self, FuzzTarget};
use crate::mock::engine::data::requests::Caller;
use crate::mock::engine::data::state::Signal;
use crate::mock::engine::test_support::{TestState, user};

const FIELDS: &[(&str, &str)] = &[
    (
        "users",
        r#"{"amy":{"id":"amy","name":"A"},"bob":{"id":"bob","invisible":true}}"#,
    ),
    (
        "users",
        r#"[{"id":"amy","set":{"status":"busy","a.b":1},"unset":["name","a"]}]"#,
    ),
    ("user_ids", r#"["amy","bob"]"#),
    ("user_id", r#""amy""#),
    ("user", r#"{"id":"amy"}"#),
    (
        "data",
        r#"{"created_by_id":"amy","members":["amy","bob"],"color":"green"}"#,
    ),
    ("members", r#"{"limit":2,"offset":1}"#),
    ("members", r#"["bob"]"#),
    (
        "add_members",
        r#"[{"user_id":"bob","channel_role":"channel_moderator"}]"#,
    ),
    ("remove_members", r#"["bob"]"#),
    ("set", r#"{"color":"red","a.b.c":[]}"#),
    ("unset", r#"["color"]"#),
    ("filter_conditions", r#"{"id":{"$in":["amy","bob"]}}"#),
    (
        "filter_conditions",
        r#"{"members":{"$in":["amy"]},"type":"messaging"}"#,
    ),
    (
        "sort",
        r#"[{"field":"last_active","direction":-1},{"field":"id","direction":1}]"#,
    ),
    ("limit", "2"),
    ("offset", "1"),
    ("state", "true"),
    ("presence", "true"),
    ("event", r#"{"type":"custom.event","a":{"b":1}}"#),
    ("message", r#"{"text":"hi","user_id":"amy"}"#),
    ("channel_cids", r#"["messaging:a"]"#),
    ("last_sync_at", r#""2026-01-05T10:00:00Z""#),
    ("type", r#""messaging""#),
    ("cids", r#"["messaging:a"]"#),
    ("hard_delete", "true"),
];

const WORDS: &[&str] = &[
    "users",
    "id",
    "amy",
    "bob",
    "set",
    "unset",
    "invisible",
    "online",
    "status",
    "role",
    "teams",
    "name",
    "limit",
    "offset",
    "sort",
    "field",
    "direction",
    "members",
    "user_id",
    "channel_role",
    "filter_conditions",
    "$in",
    "$and",
    "messaging",
    "created_at",
    "last_active",
    "frozen",
    "POST ",
    "GET ",
    "PATCH ",
    "DELETE ",
    "channels/messaging/a",
    "\n",
];

#[test]
fn fuzz_operations() {
    let target = FuzzTarget {
        name: "operations",
        inputs: 150,
        generate: |rng| {
            let mut lines = Vec::new();
            for _ in 0..6 {
                let operation = OPERATIONS.choose(rng).expect("there are operations");
                let path: Vec<&str> = operation
                    .path
                    .split('/')
                    .map(|part| match part {
                        "{type}" => "messaging",
                        part if part.starts_with('{') => {
                            ["amy", "a", "bob"].choose(rng).expect("a choice")
                        }
                        part => part,
                    })
                    .collect();
                let body = fuzz::object(rng, WORDS, FIELDS).replace(['\n', '\r'], " ");
                lines.push(format!("{} {} {body}", operation.method, path.join("/")));
            }
            lines.join("\n")
        },
        words: WORDS,
    };
    let (carried_out, refused) = (Cell::new(0_u64), Cell::new(0_u64));
    target.run(|text| {
        let mut world = TestState::new();
        world.connect("amy");
        world.connect("bob");
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (method, path) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let segments: Vec<&str> = path.split('/').collect();
            let Ok(Value::Object(body)) = serde_json::from_str(words.next().unwrap_or_default())
            else {
                continue;
            };
            for caller in [Caller::Server, user("amy")] {
                let Some(request) = OperationRequest::find(method, &segments) else {
                    continue;
                };
                match world
                    .state
                    .apply(world.now, &caller, request.with(Vec::new(), body.clone()))
                {
                    Ok(reply) => {
                        serde_json::from_str::<IgnoredAny>(&reply.body).expect("a reply is JSON");
                        carried_out.set(carried_out.get() + 1);
                    }
                    Err(reject) => {
                        assert!((400..500).contains(&reject.status), "{line}: {reject:?}");
                        refused.set(refused.get() + 1);
                    }
                }
                world.now += TimeDelta::seconds(1);
                world.state.tick(world.now);
                for delivery in world.state.drain() {
                    if let Signal::Event(event) = delivery.signal {
                        serde_json::from_slice::<IgnoredAny>(&event).expect("an event is JSON");
                    }
                }
            }
        }
    });
    let is_whole_run = std::env::var_os("PRESENCECTL_FUZZ_ITERATION").is_none();
    assert!(!is_whole_run || (carried_out.get() > 0 && refused.get() > 0));
}
