//! The shapes that scripts rely on, declared a second time: a field that is renamed, dropped or added breaks a test here
//! on purpose. Types of our own refuse unknown fields; objects of the service may hold anything besides what is promised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use presencectl::domain::event::Event;
use presencectl::domain::presence::{Change, PresenceField};
use presencectl::domain::record::{
    ConnectionChanged, Coverage, EndReason, Gap, Record, RecordBody, RecordSource, StreamEnd,
};
use presencectl::output::record::Renderer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::support::world::{presencectl, small_world};

/// A field that may be null and must be there.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// The fields that every user has.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "that it can be read is the test")]
struct User {
    id: String,
    #[serde(deserialize_with = "nullable")]
    online: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    status: Option<Value>,
    #[serde(deserialize_with = "nullable")]
    last_active: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "nullable")]
    invisible: Option<bool>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

macro_rules! own {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "that it can be read is the test")]
        struct $name {
            r#type: String,
            seq: u64,
            received_at: DateTime<Utc>,
            source: String,
            $($(#[$meta])* $field: $type,)*
        }
    };
}

own!(SnapshotLine { user: User });
own!(ConnectionChangedLine {
    online: bool,
    reason: String,
    attempt: u32
});
own!(ConnectionRecoveredLine {});
own!(GapLine { from: DateTime<Utc>, to: DateTime<Utc>, repaired: Vec<String>, note: String });
own!(CoverageLine { requested: u64, subscribed: u64, missing: Vec<String>, missing_reasons: BTreeMap<String, String> });
own!(EndLine {
    reason: String,
    events: u64,
    gaps: u64,
    reconnects: u64,
    exit_code: u8
});

/// An event about a user: the service's own fields and ours.
#[derive(Debug, Deserialize)]
struct UserEventLine {
    r#type: String,
    seq: u64,
    received_at: String,
    source: String,
    user: User,
    changed: Vec<String>,
    previous: Map<String, Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorDocument {
    error: ErrorBody,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorBody {
    kind: String,
    message: String,
    exit_code: u8,
    #[serde(deserialize_with = "nullable")]
    api_code: Option<i32>,
    #[serde(deserialize_with = "nullable")]
    hint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedRequest {
    method: String,
    path: String,
    #[serde(deserialize_with = "nullable")]
    endpoint: Option<String>,
    body: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    count: u64,
}

#[track_caller]
fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn line<T: DeserializeOwned>(body: RecordBody<'_>, source: RecordSource) -> T {
    let record = Record {
        received_at: DateTime::from_timestamp(1_770_000_000, 7_000_000).unwrap(),
        source,
        body,
    };
    let mut out = Vec::new();
    Renderer::default().render(&record, 1, &mut out);
    read(std::str::from_utf8(&out).unwrap())
}

#[test]
fn records_of_our_own() {
    let line_of: ConnectionChangedLine = line(
        RecordBody::ConnectionChanged(ConnectionChanged {
            online: false,
            reason: "closed".into(),
            attempt: 1,
        }),
        RecordSource::Local,
    );
    assert_eq!(line_of.r#type, "connection.changed");
    let line_of: ConnectionRecoveredLine =
        line(RecordBody::ConnectionRecovered, RecordSource::Local);
    assert_eq!(line_of.r#type, "connection.recovered");
    let line_of: GapLine = line(
        RecordBody::Gap(Gap {
            from: "2026-01-05T10:00:00Z".into(),
            to: "2026-01-05T10:00:01.5Z".into(),
            repaired: vec!["john".into()],
            note: "reconnected".into(),
        }),
        RecordSource::Local,
    );
    assert_eq!(line_of.r#type, "presence.gap");
    let line_of: CoverageLine = line(
        RecordBody::Coverage(Coverage::default()),
        RecordSource::Local,
    );
    assert_eq!(line_of.r#type, "presence.coverage");
    let line_of: EndLine = line(
        RecordBody::End(StreamEnd {
            reason: EndReason::Count,
            events: 1,
            gaps: 0,
            reconnects: 0,
            exit_code: 0,
        }),
        RecordSource::Local,
    );
    assert_eq!(line_of.r#type, "stream.end");
    assert_eq!(line_of.source, "local");
}

#[test]
fn records_about_users() {
    let user = serde_json::from_str(r#"{"id":"john","color":"green"}"#).unwrap();
    let snapshot: SnapshotLine = line(RecordBody::Snapshot(&user), RecordSource::Query);
    assert_eq!(snapshot.r#type, "presence.snapshot");
    assert_eq!(snapshot.source, "query");
    assert_eq!(snapshot.user.other["color"], "green");

    let raw = r#"{"type":"user.presence.changed","created_at":"2026-01-05T10:00:00Z","user":{"id":"john","online":true}}"#;
    let changed: UserEventLine = line(
        RecordBody::Event {
            event: Event::parse(raw).unwrap(),
            change: Some(Change {
                changed: [PresenceField::Online, PresenceField::LastActive].into(),
                ..Change::default()
            }),
        },
        RecordSource::Resync,
    );
    assert_eq!(changed.r#type, "user.presence.changed");
    assert_eq!(changed.seq, 1);
    assert_eq!(changed.received_at, "2026-02-02T02:40:00.007Z");
    assert_eq!(changed.source, "resync");
    assert_eq!(changed.changed, ["online", "last_active"]);
    assert_eq!(
        changed.previous.keys().collect::<Vec<_>>(),
        ["online", "last_active"]
    );
    assert_eq!(
        changed.other.keys().collect::<Vec<_>>(),
        ["created_at"],
        "and nothing else of ours"
    );
    assert_eq!(changed.user.online, Some(true));
}

#[test]
fn users_of_one_shot_commands() {
    let mock = small_world();
    for command in [
        "set-user john amy --status x",
        "get-user john jack zoe",
        "query-users",
        "query-users --all",
        "query-users --in john,zoe",
    ] {
        let run = presencectl(&mock, command).run().ended_with(0);
        let users = run.stdout.lines().map(read::<User>).count();
        assert!(users > 0, "{command}");
    }
    for command in ["get-channel fun --members", "query-channels --presence"] {
        let run = presencectl(&mock, command).run().ended_with(0);
        let channel: Value = read(&run.stdout);
        for member in channel["members"].as_array().unwrap() {
            let _: User = read(&member["user"].to_string());
        }
    }
}

#[test]
fn other_documents() {
    let mock = small_world();
    let run = presencectl(&mock, "query-users --count-only").run();
    let Count { count } = read(&run.stdout_of_success());
    assert_eq!(count, 3);

    let run = presencectl(&mock, "delete-user john --dry-run").run();
    let PlannedRequest {
        method,
        path,
        endpoint,
        body,
    } = read(&run.stdout_of_success());
    assert_eq!(endpoint.as_deref(), Some("DeleteUser"));
    assert_eq!((method.as_str(), path.as_str()), ("DELETE", "/users/john"));
    assert_eq!(body, Value::Null);

    for (command, code, api_code) in [
        ("get-user nobody -o ndjson", 5, None),
        ("get-channel nope -o json", 5, Some(16)),
        ("query-users --columns onlin -o json", 2, None),
        ("query-users --nonsense -o json", 2, None),
    ] {
        let run = presencectl(&mock, command).run().ended_with(code);
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        let ErrorDocument { error } = read(&run.stderr);
        assert_eq!(i32::from(error.exit_code), code);
        assert_eq!(error.api_code, api_code);
        assert!(!error.message.is_empty() && !error.kind.is_empty());
        assert!(error.hint.is_none_or(|hint| !hint.is_empty()));
    }
}
