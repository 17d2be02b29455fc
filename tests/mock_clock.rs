//! The mock's clock: everything the service does by time follows it.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use presencectl::domain::token::{Claims, sign};

use crate::support::mock::{API_KEY, Mock, SECRET};
use crate::support::wire::encode;
use crate::support::world::{presencectl, small_world};

/// 2026-01-31T08:00:00Z
const EIGHT: i64 = 1_769_846_400;

#[track_caller]
fn one(mock: &Mock, line: &str) -> Value {
    presencectl(mock, line).run().record()
}

#[test]
fn last_active_is_updated_every_quarter_of_an_hour() {
    let mock = small_world();
    let last_active = || one(&mock, "get-user jack")["last_active"].clone();
    let _ = one(&mock, "mock clock freeze 2026-01-31T08:00:00Z");
    let _ = one(&mock, "mock user jack connect");
    assert_eq!(last_active(), "2026-01-31T08:00:00Z");
    for (by, expected) in [
        ("14m59s", "2026-01-31T08:00:00Z"),
        ("1s", "2026-01-31T08:15:00Z"),
        ("40m", "2026-01-31T08:45:00Z"),
    ] {
        let _ = one(&mock, &format!("mock clock advance {by}"));
        assert_eq!(last_active(), expected, "after another {by}");
    }
    let _ = one(&mock, "mock user jack disconnect");
    let _ = one(&mock, "mock clock set 2026-02-01T00:00:00Z");
    assert_eq!(last_active(), "2026-01-31T08:45:00Z");
}

#[test]
fn a_silent_client_is_offline_after_the_idle_timeout_and_the_grace_period() {
    let mock = Mock::with(|options| {
        options.rules.offline_grace = std::time::Duration::from_secs(10);
    });
    mock.make_users(&["B"]);
    let (mut a, connection) = mock.connect("A");
    mock.subscribe("A", &connection, "B");
    let _ = one(&mock, "mock clock freeze");
    let (mut b, _) = mock.connect("B");
    assert_eq!(a.event()["user"]["online"], true);
    let _ = one(&mock, "mock clock advance 40s");
    a.assert_nothing_waits();
    let _ = one(&mock, "mock clock advance 20s");
    assert_eq!(b.close_code(), CloseCode::Away);
    let _ = one(&mock, "mock clock advance 9s");
    a.assert_nothing_waits();
    let _ = one(&mock, "mock clock advance 1s");
    assert_eq!(a.event()["user"]["online"], false);
}

#[test]
fn tokens_expire_by_the_mocks_clock() {
    let mock = Mock::with(|options| options.rules.close_on_token_expiry = true);
    let _ = one(&mock, "mock clock freeze 2026-01-31T08:00:00Z");
    let token = sign(
        SECRET,
        &Claims {
            exp: Some(EIGHT + 60),
            ..Claims::user("john")
        },
    );
    let json = encode(&json!({"user_id": "john", "user_details": {"id": "john"}}).to_string());
    let query = format!("json={json}&api_key={API_KEY}&authorization={token}&stream-auth-type=jwt");
    let mut socket = mock.upgrade(&query, &[]);
    assert_eq!(socket.event()["type"], "health.check");
    let status = || {
        let answer = mock.get("/users", &token, &json!({"filter_conditions": {}}));
        (answer.status, answer.body["code"].clone())
    };
    let _ = one(&mock, "mock clock advance 59s");
    assert_eq!(status(), (200, Value::Null));
    socket.assert_nothing_waits();
    let _ = one(&mock, "mock clock advance 1s");
    assert_eq!(status(), (401, json!(40)));
    let error = socket.event();
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&json!("connection.error"), &json!(40))
    );
    assert_eq!(socket.close_code(), CloseCode::Normal);
    let mut refused = mock.upgrade(&query, &[]);
    assert_eq!(refused.event()["error"]["code"], 40);
}

#[test]
fn a_running_clock_fires_timers_by_itself() {
    let mock = Mock::start();
    mock.make_users(&["B"]);
    let (mut a, connection) = mock.connect("A");
    mock.subscribe("A", &connection, "B");
    let (_b, _) = mock.connect("B");
    assert_eq!(a.event()["user"]["online"], true);
    // B never says a word again, and neither does A; B was there last and so goes last.
    let run = one(&mock, "mock clock run 100000");
    assert_eq!(run["clock"], "running 100000 times as fast");
    assert_eq!(a.close_code(), CloseCode::Away);
    let back = one(&mock, "mock clock reset");
    assert_eq!(back["clock"], "system");
}
