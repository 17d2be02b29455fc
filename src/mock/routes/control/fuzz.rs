//! Fuzzing of the control API: no request makes the server panic or fail, and its state can always be saved and restored.

use axum::http;
use rand::seq::IndexedRandom;
use serde_json::Value;

use super::super::params::Params;
use super::control;
use crate::fuzz::{self, FuzzTarget};
use crate::mock::applications::ApplicationRegistry;
use crate::mock::options::MockOptions;
use crate::mock::read_fixture;

const FIELDS: &[(&str, &str)] = &[
    ("set", r#"{"status":"busy","invisible":true,"a.b":[]}"#),
    ("unset", r#"["status","name"]"#),
    ("event", r#"{"type":"custom","user":{"id":"amy"}}"#),
    ("text", r#""not json""#),
    ("user", r#""amy""#),
    ("subscribers", r#""amy""#),
    ("channel", r#""messaging:a""#),
    ("connection", r#""none""#),
    ("kind", r#""error""#),
    ("kind", r#""drop""#),
    ("kind", r#""delay""#),
    ("status", "500"),
    ("code", "-1"),
    (
        "faults",
        r#"[{"kind":"reset"},{"kind":"mute","user":"amy"}]"#,
    ),
    ("probability", "0.5"),
    ("seed", "7"),
    ("count", "1"),
    (
        "scenario",
        r#""steps: [{user: {id: amy, toggle: true}}, {at: 1h, expect: {count: 1, within: 1s}}]""#,
    ),
    ("example", r#""on-call""#),
    ("variables", r#"{"A":"x","B":1}"#),
    ("speed", r#""max""#),
    ("check", "true"),
    ("by", r#""90s""#),
    ("by", r#""9000000d""#),
    ("to", r#""2030-01-01T00:00:00Z""#),
    ("rate", "1000000"),
    ("users", r#"[{"id":"amy","online":true},{"id":"bob"}]"#),
    (
        "channels",
        r#"[{"type":"messaging","id":"a","members":["amy"]}]"#,
    ),
];

const WORDS: &[&str] = &[
    "POST ",
    "GET ",
    "DELETE ",
    "clock/advance",
    "clock/set",
    "clock/freeze",
    "clock/run",
    "clock/reset",
    "users/amy/connect",
    "users/amy/set",
    "faults",
    "trigger",
    "restore",
    "reset",
    "snapshot",
    "log?since=1&wait=1s&limit=0",
    "set",
    "unset",
    "amy",
    "online",
    "last_active",
    "id",
    "type",
    "kind",
    "by",
    "to",
    "rate",
    "-1s",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "\n",
];

const REQUESTS: &[&str] = &[
    "GET status",
    "GET connections",
    "GET connections/none",
    "GET users?search=a&limit=1&offset=1",
    "GET log?since=0",
    "GET snapshot",
    "POST restore",
    "POST reset",
    "POST clock/freeze",
    "POST clock/advance",
    "POST clock/set",
    "POST clock/run",
    "POST clock/reset",
    "POST users/amy/connect",
    "POST users/amy/set",
    "POST users/amy/disconnect",
    "POST users/amy/drop",
    "POST trigger",
    "POST scenarios",
    "GET scenarios",
    "GET scenarios/s1",
    "DELETE scenarios/s1",
    "GET examples",
    "GET faults",
    "POST faults",
    "DELETE faults",
    "GET apps",
    "POST apps",
    "DELETE apps/none",
];

#[test]
fn fuzz_control() {
    let target = FuzzTarget {
        name: "control",
        inputs: 200,
        generate: |rng| {
            let mut lines = Vec::new();
            for _ in 0..6 {
                let request = REQUESTS.choose(rng).expect("there are requests");
                let body = fuzz::object(rng, WORDS, FIELDS).replace(['\n', '\r'], " ");
                lines.push(format!("{request} {body}"));
            }
            lines.join("\n")
        },
        words: WORDS,
    };
    // A paused clock moves on by itself when all wait, so that `wait` takes no time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    target.run(|text| {
        let applications = ApplicationRegistry::new(MockOptions::default(), 7).unwrap();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (method, path) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let Ok(Value::Object(body)) = serde_json::from_str(words.next().unwrap_or_default())
            else {
                continue;
            };
            let Ok(request) = http::Request::builder().uri(format!("/{path}")).body(()) else {
                continue;
            };
            let params = Params::of(&request.into_parts().0);
            let path = path.split('?').next().unwrap_or_default();
            let send = |body| runtime.block_on(control(&applications, method, path, &params, body));
            let mut answer = send(body.clone());
            if let Err(reject) = &answer
                && let Some((_, known)) = reject.detail.split_once("expected ")
            {
                // Once more with the fields that the endpoint knows.
                let fields = body.into_iter();
                let is_known = |name: &String| known.contains(&format!("`{name}`"));
                answer = send(fields.filter(|(name, _)| is_known(name)).collect());
            }
            if let Err(reject) = answer {
                assert!((400..500).contains(&reject.status), "{line}: {reject:?}");
            }
        }
        let snapshot = super::status::snapshot(applications.first()).to_string();
        if let Err(error) = read_fixture(&snapshot) {
            panic!("a snapshot can be restored: {error}: {snapshot}");
        }
    });
}
