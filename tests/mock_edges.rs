//! Less common parts of the mock, in literal HTTP: the second form of the API, long polling, rate limits, settings.

use serde_json::{Value, json};

use crate::support::mock::{API_KEY, Mock, server_token, user_token};
use crate::support::wire::encode;

#[test]
fn both_forms_of_the_api_share_one_state() {
    let mock = Mock::start();
    let body = json!({"users": {"amy": {"id": "amy", "name": "Amy", "custom": {"status": "busy", "deep": {"custom": 1}}}}});
    let answer = mock.call("POST", "/api/v2/users", &server_token(), &body);
    assert_eq!(answer.status, 201);
    let amy = &answer.body["users"]["amy"];
    assert_eq!(
        amy["custom"],
        json!({"status": "busy", "deep": {"custom": 1}})
    );
    let created = amy["created_at"].as_i64().unwrap();
    assert!(created > 1_700_000_000_000_000_000, "{created}");

    let payload = json!({"filter_conditions": {"id": "amy", "status": "busy"}});
    let flat = mock.get("/users", &server_token(), &payload).body["users"][0].clone();
    assert_eq!(flat["status"], "busy");
    assert!(flat.get("custom").is_none());
    assert!(flat["created_at"].as_str().unwrap().ends_with('Z'));

    let body = json!({"data": {"created_by_id": "amy", "members": [{"user_id": "amy", "custom": {"hat": 1}}], "custom": {"color": "green"}}, "state": true});
    let target = "/api/v2/chat/channels/messaging/x/query";
    let answer = mock.call("POST", target, &server_token(), &body);
    assert_eq!(answer.body["channel"]["custom"], json!({"color": "green"}));
    assert_eq!(
        answer.body["channel"]["created_by"]["custom"]["status"],
        "busy"
    );
    assert_eq!(answer.body["members"][0]["custom"], json!({"hat": 1}));
    assert!(answer.body["channel"]["config"]["created_at"].is_i64());
    let flat = mock.get("/channels/messaging/x", &user_token("amy"), &json!({}));
    assert_eq!(flat.body["channel"]["color"], "green");
    assert_eq!(flat.body["members"][0]["hat"], 1);

    let answer = mock.call("GET", "/api/v2/nowhere", &server_token(), &json!({}));
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!(16)));
}

#[test]
fn a_long_poll_is_a_connection() {
    let mock = Mock::start();
    mock.make_users(&["b"]);
    let poll = |query: &str| {
        let token = user_token("a");
        mock.raw(&format!(
            "GET /longpoll?api_key={API_KEY}&user_id=a{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             stream-auth-type: jwt\r\nauthorization: {token}\r\n\r\n"
        ))
    };
    let json = encode(r#"{"user_id":"a","user_details":{"id":"a","name":"A"}}"#);
    let hello = poll(&format!("&json={json}")).body;
    assert_eq!(hello["event"]["type"], "health.check");
    assert_eq!(hello["event"]["me"]["name"], "A");
    let connection = hello["event"]["connection_id"].as_str().unwrap().to_owned();

    mock.subscribe("a", &connection, "b");
    let (b, _) = mock.connect("b");
    b.close();
    let mut online: Vec<Value> = Vec::new();
    while online.len() < 2 {
        let answer = poll(&format!("&connection_id={connection}"));
        let events = answer.body["events"].as_array().unwrap().clone();
        online.extend(events.iter().map(|event| event["user"]["online"].clone()));
    }
    assert_eq!(online, [true, false]);

    // Nobody else may listen in.
    let stolen = mock.get(
        &format!("/longpoll?connection_id={connection}"),
        &user_token("b"),
        &json!({}),
    );
    assert_eq!((stolen.status, &stolen.body["code"]), (400, &json!(46)));
    assert_eq!(
        poll(&format!("&connection_id={connection}&close=true")).status,
        200
    );
    let gone = poll(&format!("&connection_id={connection}"));
    assert_eq!((gone.status, &gone.body["code"]), (400, &json!(46)));
}

#[test]
fn an_exceeded_rate_limit_is_429_with_the_time_to_wait() {
    use presencectl::mock::RateLimitMode;

    let mock = Mock::with(|options| options.rules.rate_limit = RateLimitMode::PerMinute(2));
    let freeze = json!({"to": "2030-01-01T00:00:00Z"});
    mock.control("POST", "clock/freeze", &freeze);
    let ask = || mock.get("/users", &server_token(), &json!({"filter_conditions": {}}));
    let left = |head: &str| head.contains("x-ratelimit-remaining: 1");
    assert!(left(&ask().head));
    assert_eq!(ask().status, 200);
    let refused = ask();
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!(9)));
    assert!(refused.head.contains("retry-after: 60"), "{}", refused.head);
    assert!(refused.head.contains("x-ratelimit-limit: 2"));
    let limits = mock.get("/rate_limits?server_side=true", &server_token(), &json!({}));
    assert_eq!(limits.body["server_side"]["QueryUsers"]["remaining"], 0);
    mock.control("POST", "clock/advance", &json!({"by": "1m"}));
    assert_eq!(ask().status, 200);
}

#[test]
fn settings_change_who_gets_in() {
    let mock = Mock::start();
    let patch = |body: Value| mock.call("PATCH", "/app", &server_token(), &body).status;
    let ask = |token: &str| {
        mock.get("/users", token, &json!({"filter_conditions": {}}))
            .body["code"]
            .clone()
    };
    let development = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VyX2lkIjoiYW15In0=.devtoken";
    assert_eq!(ask(development), 5);
    assert_eq!(patch(json!({"disable_auth_checks": true})), 200);
    assert_eq!(ask(development), Value::Null);
    assert_eq!(
        patch(json!({"revoke_tokens_issued_before": "2020-01-01T00:00:00Z"})),
        200
    );
    assert_eq!(ask(&user_token("amy")), 40);
    assert_eq!(ask(&server_token()), Value::Null);
    assert_eq!(patch(json!({"revoke_tokens_issued_before": null})), 200);
    assert_eq!(ask(&user_token("amy")), Value::Null);
}
