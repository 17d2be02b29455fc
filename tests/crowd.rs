//! Many clients at once, each watching ten users: every subscriber gets every change once, in order per user.
//!
//! Clients are plain sockets and plain HTTP, so that nothing of our own client can hide a fault of the server. The
//! changes are counted, not timed: the driver waits for each round's facts before it goes on.

use std::collections::HashMap;

use futures_util::{SinkExt, StreamExt};
use presencectl::domain::token::{self, Claims};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::mock::{API_KEY, Mock, SECRET};

const CLIENTS: usize = 200;
const USERS: usize = 50;
const WATCHED: usize = 10;
const CHANGES: usize = 600;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(mock: &Mock, user: &str) -> (Socket, String) {
    let token = token::sign(SECRET, &Claims::user(user));
    let details = json!({"user_id": user, "user_details": {"id": user}}).to_string();
    let mut url = url::Url::parse(&mock.url().replace("http", "ws")).unwrap();
    url.set_path("/connect");
    url.query_pairs_mut()
        .append_pair("json", &details)
        .append_pair("api_key", API_KEY)
        .append_pair("authorization", &token)
        .append_pair("stream-auth-type", "jwt");
    let (mut socket, _) = connect_async(url.as_str()).await.unwrap();
    let first = next(&mut socket).await;
    assert_eq!(first["type"], "health.check", "{first}");
    let id = first["connection_id"].as_str().unwrap().to_owned();
    (socket, id)
}

async fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("the socket stays open").unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn every_subscriber_gets_every_change_once_and_in_order() {
    let mock = Mock::start();
    // Already installed where another test of this process was faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::new();
    let server = token::sign(SECRET, &Claims::server());
    let name = |user: usize| format!("user-{user:02}");
    let watcher = |client: usize| format!("watcher-{client:03}");
    let users: serde_json::Map<String, Value> = (0..USERS)
        .map(|user| (name(user), json!({"id": name(user)})))
        .collect();
    let created = http
        .post(format!("{}/users?api_key={}", mock.url(), API_KEY))
        .header("Authorization", &server)
        .header("Stream-Auth-Type", "jwt")
        .body(json!({ "users": users }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);

    let mut readers = Vec::new();
    for client in 0..CLIENTS {
        let me = watcher(client);
        let (mut socket, connection) = connect(&mock, &me).await;
        let watched: Vec<String> = (0..WATCHED)
            .map(|n| name((client + n * 5) % USERS))
            .collect();
        let payload = json!({
            "filter_conditions": {"id": {"$in": watched}}, "sort": [], "presence": true, "limit": 30
        });
        let mut url = url::Url::parse(&format!("{}/users", mock.url())).unwrap();
        url.query_pairs_mut()
            .append_pair("api_key", API_KEY)
            .append_pair("user_id", &me)
            .append_pair("connection_id", &connection)
            .append_pair("payload", &payload.to_string());
        let answer = http
            .get(url)
            .header("Authorization", token::sign(SECRET, &Claims::user(&me)))
            .header("Stream-Auth-Type", "jwt")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        // Each reader collects, per user, the sequence of `online` values until the marker comes.
        readers.push(tokio::spawn(async move {
            let mut heard: HashMap<String, Vec<bool>> = HashMap::new();
            loop {
                let event = next(&mut socket).await;
                match event["type"].as_str().unwrap() {
                    "user.presence.changed" => heard
                        .entry(event["user"]["id"].as_str().unwrap().to_owned())
                        .or_default()
                        .push(event["user"]["online"].as_bool().unwrap()),
                    "user.updated" if event["user"]["settled"] == true => return (watched, heard),
                    other => panic!("unexpected {other}: {event}"),
                }
            }
        }));
    }

    let mut online: HashMap<usize, Socket> = HashMap::new();
    let mut expected: HashMap<String, Vec<bool>> = HashMap::new();
    let mut seed: u64 = 0x5eed;
    for _ in 0..CHANGES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let user = (seed >> 33) as usize % USERS;
        let value = if let Some(mut socket) = online.remove(&user) {
            socket.send(Message::Close(None)).await.unwrap();
            // The server has seen the disconnect once it has answered the close.
            while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
            false
        } else {
            let (socket, _) = connect(&mock, &name(user)).await;
            online.insert(user, socket);
            true
        };
        expected.entry(name(user)).or_default().push(value);
    }
    // A change of its own user reaches every connection of that user: the mark behind which nothing more may come.
    for batch in (0..CLIENTS).collect::<Vec<_>>().chunks(100) {
        let marks: Vec<Value> = batch
            .iter()
            .map(|client| json!({"id": watcher(*client), "set": {"settled": true}}))
            .collect();
        let marked = http
            .patch(format!("{}/users?api_key={API_KEY}", mock.url()))
            .header("Authorization", &server)
            .header("Stream-Auth-Type", "jwt")
            .body(json!({ "users": marks }).to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(marked.status(), 200);
    }
    let mut deliveries = 0;
    for reader in readers {
        let (watched, heard) = reader.await.unwrap();
        for user in &watched {
            assert_eq!(heard.get(user), expected.get(user), "changes of {user}");
            deliveries += heard.get(user).map_or(0, Vec::len);
        }
        assert!(heard.keys().all(|user| watched.contains(user)), "{heard:?}");
    }
    assert_eq!(deliveries, CHANGES * CLIENTS * WATCHED / USERS);
}
