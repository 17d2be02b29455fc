//! The API client against literal bytes: what it sends, and how it reads responses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use presencectl::api::{
    ApiError, Auth, Client, ClientSettings, GetOrCreate, QueryChannels, QueryMembers, QueryUsers,
    Request, Retry, RetryObserver, TransportKind, UserPages, UserPatch,
};
use presencectl::domain::token::{self, Claims};
use presencectl::domain::{ApiErrorCode, SecretString, UserId};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use url::Url;

use crate::support::CLOSED_URL;
use crate::support::literal::{self, json as answer};

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} is no object"),
    }
}

fn server_settings(base_url: Url) -> ClientSettings {
    ClientSettings {
        base_url,
        api_key: "k y".to_owned(),
        auth: Auth::Server {
            secret: SecretString::new("secret"),
        },
        allow_http: false,
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        retries: 2,
        on_retry: RetryObserver::default(),
    }
}

fn client(base_url: Url) -> Client {
    Client::new(server_settings(base_url)).unwrap()
}

/// The claims of the bare token in a request's `authorization`.
fn claims_of(request: &str) -> Claims {
    let token = request
        .lines()
        .find_map(|line| line.strip_prefix("authorization: "))
        .unwrap();
    token::verify("secret", token, chrono::Utc::now()).unwrap()
}

const EMPTY: &str = r#"{"users":[],"duration":"1ms"}"#;

#[tokio::test]
async fn a_query_is_a_payload_in_the_address_with_the_servers_token() {
    let (url, requests) = literal::serve(vec![answer("200 OK", "", EMPTY)]).await;
    let query = QueryUsers {
        filter_conditions: object(json!({"name": {"$autocomplete": "a+b c;&"}})),
        ..QueryUsers::default()
    };
    assert!(client(url).query_users(&query).await.unwrap().is_empty());

    let requests = requests.await.unwrap();
    let (line, rest) = requests[0].split_once("\r\n").unwrap();
    let target = line
        .strip_prefix("GET ")
        .unwrap()
        .strip_suffix(" HTTP/1.1")
        .unwrap();
    let target = Url::parse("http://x").unwrap().join(target).unwrap();
    assert_eq!(target.path(), "/users");
    let pairs: Vec<_> = target.query_pairs().into_owned().collect();
    assert_eq!(
        pairs,
        [
            ("api_key".to_owned(), "k y".to_owned()),
            (
                "payload".to_owned(),
                r#"{"filter_conditions":{"name":{"$autocomplete":"a+b c;&"}},"sort":[],"presence":false}"#
                    .to_owned()
            ),
        ]
    );
    let head = rest.to_ascii_lowercase();
    assert!(head.contains("stream-auth-type: jwt\r\n"), "{rest}");
    assert!(head.contains("x-stream-client: presencectl-v"), "{rest}");
    assert!(head.contains("accept-encoding: gzip\r\n"), "{rest}");
    let claims = claims_of(&requests[0]);
    assert_eq!(claims, Claims::server(), "and nothing but that");
}

#[tokio::test]
async fn a_user_client_sends_the_user_id_and_its_own_token() {
    let state = r#"{"channel":{"cid":"messaging:c"},"members":null,"duration":"1ms"}"#;
    let (url, requests) = literal::serve(vec![answer("201 Created", "", state)]).await;
    let request = GetOrCreate {
        watch: true,
        connection_id: Some("c-1".to_owned()),
        ..GetOrCreate::default()
    };
    let state = client(url)
        .acting_as(&user("tommaso"))
        .get_or_create_channel(&"c".parse().unwrap(), &request)
        .await
        .unwrap();
    assert_eq!(state.channel["cid"], "messaging:c");
    assert!(state.members.is_empty(), "a null reads as nothing");

    let requests = requests.await.unwrap();
    assert!(
        requests[0].starts_with(
            "POST /channels/messaging/c/query?api_key=k+y&user_id=tommaso&connection_id=c-1 HTTP/1.1\r\n"
        ),
        "{}",
        requests[0]
    );
    let mut claims = claims_of(&requests[0]);
    assert!(claims.iat.take().is_some());
    assert_eq!(claims, Claims::user("tommaso"));
    assert!(requests[0].ends_with(r#"{"state":false,"watch":true,"presence":false}"#));
}

#[tokio::test]
async fn a_patch_keeps_the_services_order_of_users() {
    let body =
        r#"{"users":{"zoe":{"id":"zoe","online":true},"amy":{"id":"amy"}},"duration":"1ms"}"#;
    let (url, requests) = literal::serve(vec![answer("200 OK", "", body)]).await;
    let patches = [UserPatch {
        id: user("zoe"),
        set: object(json!({"invisible": true})),
        unset: vec!["status".to_owned()],
    }];
    let users = client(url).patch_users(&patches).await.unwrap();
    let ids: Vec<_> = users.iter().map(|user| user.id()).collect();
    assert_eq!(ids, ["zoe", "amy"]);
    assert!(
        requests.await.unwrap()[0]
            .ends_with(r#"{"users":[{"id":"zoe","set":{"invisible":true},"unset":["status"]}]}"#)
    );
}

#[tokio::test]
async fn a_refusal_keeps_every_field_of_the_error_body() {
    let body = r#"{"code":40,"message":"GetUsers failed with error: \"token expired\"","exception_fields":{},"StatusCode":401,"duration":"0.00ms","more_info":"","details":[]}"#;
    let (url, _requests) = literal::serve(vec![answer("401 Unauthorized", "", body)]).await;
    let error = client(url)
        .query_users(&QueryUsers::default())
        .await
        .unwrap_err();
    let ApiError::Refused(refusal) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (refusal.code, refusal.status),
        (ApiErrorCode::TokenExpired, 401)
    );
    assert_eq!(
        refusal.message,
        "GetUsers failed with error: \"token expired\""
    );
}

#[tokio::test]
async fn an_html_page_of_a_proxy_is_an_error_that_shows_it() {
    let page =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 12\r\n\r\n<html>\u{1b}[31mx";
    let (url, _requests) = literal::serve(vec![page.to_owned()]).await;
    let error = client(url)
        .query_users(&QueryUsers::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer to GET /users (HTTP 200) is not what the API speaks; it starts with `<html>\\u{1b}[31mx`"
    );
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let told: Arc<Mutex<Vec<Retry>>> = Arc::default();
    let listener = Arc::clone(&told);
    let limited = r#"{"code":9,"message":"Too many requests","StatusCode":429,"duration":"0ms","more_info":"","details":[]}"#;
    let (url, requests) = literal::serve(vec![
        answer("429 Too Many Requests", "Retry-After: 0\r\n", limited),
        answer("502 Bad Gateway", "Retry-After: 0\r\n", "<html>"),
        answer(
            "200 OK",
            "X-RateLimit-Limit: 1000, 1000\r\nX-RateLimit-Remaining: 997\r\nX-RateLimit-Reset: 99999999999\r\n",
            EMPTY,
        ),
    ])
    .await;
    let client = Client::new(ClientSettings {
        on_retry: RetryObserver::new(move |retry| listener.lock().unwrap().push(retry.clone())),
        ..server_settings(url)
    })
    .unwrap();
    client.query_users(&QueryUsers::default()).await.unwrap();
    assert_eq!(requests.await.unwrap().len(), 3);
    let limit = client.rate_limit("QueryUsers").unwrap();
    assert_eq!((limit.limit, limit.remaining), (1000, 997));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].reason, "rate limited (code 9): Too many requests");
    assert_eq!((told[1].attempt, told[1].of), (2, 2));
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_retried() {
    let (url, requests) = literal::serve(vec![answer("503 Unavailable", "", "down")]).await;
    let error = client(url)
        .change_user(&Request::deactivate_user(&user("amy")))
        .await
        .unwrap_err();
    assert!(matches!(error, ApiError::Unreadable { status: 503, .. }));
    assert_eq!(requests.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_broken_read_is_retried() {
    let (url, requests) = literal::serve(vec![String::new(), answer("200 OK", "", EMPTY)]).await;
    client(url)
        .query_users(&QueryUsers::default())
        .await
        .unwrap();
    assert_eq!(requests.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_closed_port_is_a_connection_error() {
    let client = Client::new(ClientSettings {
        retries: 0,
        ..server_settings(CLOSED_URL.parse().unwrap())
    })
    .unwrap();
    let error = client
        .query_users(&QueryUsers::default())
        .await
        .unwrap_err();
    assert!(matches!(
        &error,
        ApiError::Transport {
            kind: TransportKind::Connect,
            ..
        }
    ));
    assert_eq!(error.to_string(), "cannot connect to 127.0.0.1:1");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(ClientSettings {
        timeout: Duration::from_millis(50),
        ..server_settings(
            format!("http://{}", listener.local_addr().unwrap())
                .parse()
                .unwrap(),
        )
    })
    .unwrap();
    let error = client
        .query_users(&QueryUsers::default())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ApiError::Transport {
            kind: TransportKind::Timeout,
            ..
        }
    ));
}

#[tokio::test]
async fn users_are_paged_by_id_within_the_callers_filter() {
    let (url, requests) = literal::serve(vec![
        answer("200 OK", "", r#"{"users":[{"id":"a"},{"id":"b"}]}"#),
        answer("200 OK", "", r#"{"users":[{"id":"c"}]}"#),
    ])
    .await;
    let mut pages = UserPages::new(
        client(url),
        QueryUsers {
            filter_conditions: object(json!({"role": "user"})),
            limit: Some(2),
            ..QueryUsers::default()
        },
    );
    let mut ids = Vec::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        ids.extend(page.iter().map(|user| user.id.into_owned()));
    }
    assert_eq!(ids, ["a", "b", "c"]);
    let requests = requests.await.unwrap();
    let target = requests[1].split(' ').nth(1).unwrap();
    let target = Url::parse("http://x").unwrap().join(target).unwrap();
    let payload = target
        .query_pairs()
        .find(|(name, _)| name == "payload")
        .unwrap()
        .1
        .into_owned();
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(
        payload,
        json!({
            "filter_conditions": {"$and": [{"role": "user"}, {"id": {"$gt": "b"}}]},
            "sort": [{"field": "id", "direction": 1}],
            "limit": 2,
            "presence": false,
        })
    );
}

#[tokio::test]
async fn a_page_that_repeats_itself_ends_the_paging() {
    let same = r#"{"users":[{"id":"a"}]}"#;
    let (url, _requests) =
        literal::serve(vec![answer("200 OK", "", same), answer("200 OK", "", same)]).await;
    let mut pages = UserPages::new(
        client(url),
        QueryUsers {
            limit: Some(1),
            ..QueryUsers::default()
        },
    );
    assert!(pages.next_page().await.unwrap().is_some());
    assert!(pages.next_page().await.unwrap().is_none());
}

#[tokio::test]
async fn raw_requests_return_refusals_as_responses() {
    let body = r#"{"code":16,"message":"no such task","StatusCode":404}"#;
    let (url, requests) = literal::serve(vec![answer("404 Not Found", "X-A: b\r\n", body)]).await;
    let response = client(url)
        .raw("get", "/tasks/1", &[("full", "true")], None)
        .await
        .unwrap();
    assert_eq!(response.status, 404);
    assert_eq!(&response.body[..], body.as_bytes());
    assert_eq!(response.headers["x-a"], "b");
    assert_eq!(
        response.error().unwrap().api_code(),
        Some(ApiErrorCode::NotFound)
    );
    assert!(
        requests.await.unwrap()[0].starts_with("GET /tasks/1?api_key=k+y&full=true HTTP/1.1\r\n")
    );
}

#[test]
fn credentials_are_not_sent_over_plain_http() {
    let refused = |url: &str| Client::new(server_settings(url.parse().unwrap())).err();
    assert!(matches!(
        refused("http://chat.example.com"),
        Some(ApiError::Insecure { to }) if to == "http://chat.example.com"
    ));
    assert!(refused("http://10.0.0.1:3000").is_some());
    for url in [
        "https://chat.example.com",
        "http://127.0.0.1:1",
        "http://127.8.8.8",
        "http://[::1]:1",
        "http://[::ffff:127.0.0.1]:1",
        "http://localhost:1",
    ] {
        assert!(refused(url).is_none(), "{url}");
    }
    assert!(refused("http://localhost.example.com").is_some());
}

#[test]
fn secrets_are_not_in_debug_output() {
    let client = client("http://127.0.0.1:1".parse().unwrap());
    assert!(!format!("{client:?}").contains("\"secret\""));
}

/// What came instead is named, and a write whose answer shows nobody is no success.
#[tokio::test]
async fn a_response_without_the_requested_list_is_an_error() {
    for body in [
        "{}",
        r#"{"duration":"1ms"}"#,
        r#"{"code":4,"message":"no","StatusCode":400}"#,
    ] {
        let (url, _requests) = literal::serve(vec![answer("200 OK", "", body); 6]).await;
        let client = client(url);
        let patch = UserPatch {
            id: user("amy"),
            set: Map::new(),
            unset: Vec::new(),
        };
        let members = QueryMembers {
            channel_type: "messaging".to_owned(),
            id: "c".to_owned(),
            filter_conditions: Map::new(),
            sort: Vec::new(),
            limit: 1,
            offset: 0,
        };
        let errors = [
            client.query_users(&QueryUsers::default()).await.err(),
            client.query_user_page(&QueryUsers::default()).await.err(),
            client.patch_users(&[patch]).await.err(),
            client
                .upsert_users(&[object(json!({"id": "amy"}))])
                .await
                .err(),
            client.query_channels(&QueryChannels::default()).await.err(),
            client.query_members(&members).await.err(),
        ];
        for error in errors {
            let error = error.expect("no silent success");
            assert!(
                matches!(&error, ApiError::Unreadable { status: 200, start, .. } if start == body),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_write_response_must_contain_every_changed_user() {
    for users in ["null", "{}", r#"{"zoe":{"id":"zoe"}}"#, r#"{"amy":null}"#] {
        let body = format!(r#"{{"users":{users},"duration":"1ms"}}"#);
        let (url, _requests) = literal::serve(vec![answer("200 OK", "", &body)]).await;
        let amy = object(json!({"id": "amy"}));
        let error = client(url).upsert_users(&[amy]).await.unwrap_err();
        assert!(
            matches!(error, ApiError::Unreadable { .. }),
            "{users}: {error:?}"
        );
    }
}

#[tokio::test]
async fn single_users_may_be_missing_from_a_response_but_not_the_list() {
    let answers = ["{}", r#"{"duration":"1ms"}"#].map(|body| answer("200 OK", "", body));
    let (url, _requests) = literal::serve(answers.to_vec()).await;
    let client = client(url);
    let reactivate = Request::reactivate_user(&user("amy"));
    let error = client.change_user(&reactivate).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreadable { .. }), "{error:?}");
    assert!(client.change_user(&reactivate).await.unwrap().is_none());
}

#[tokio::test]
async fn after_a_reset_no_call_uses_a_connection_from_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(url.parse().unwrap());
    let keep_alive = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{EMPTY}",
        EMPTY.len()
    );
    // Connections stay open and answer one request each, like those that a network change has silenced.
    let server = async {
        let mut open = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            literal::read_request(&mut stream).await;
            stream.write_all(keep_alive.as_bytes()).await.unwrap();
            open.push(stream);
        }
        open.len()
    };
    let calls = async {
        client.query_users(&QueryUsers::default()).await.unwrap();
        client.reset_connections();
        let other = client.for_reconnect(0);
        other.query_users(&QueryUsers::default()).await.unwrap();
    };
    let (connections, ()) = tokio::join!(server, calls);
    assert_eq!(connections, 2);
}
