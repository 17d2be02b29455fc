//! Literal HTTP and WebSocket to a mock, with none of our client code.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::mock::{API_KEY, Mock, server_token, user_token};
use super::{PATIENCE, wait_until};

/// An answer, taken apart.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Mock {
    pub(crate) fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = self.stream();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}")),
        }
    }

    /// A call with a token and a body of known length.
    pub(crate) fn call(&self, method: &str, target: &str, token: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let joint = if target.contains('?') { '&' } else { '?' };
        self.raw(&format!(
            "{method} {target}{joint}api_key={API_KEY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Stream-Auth-Type: jwt\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Calls the control API, which must accept it. `null` is no body.
    #[track_caller]
    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.try_control(method, path, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    /// The same, where the answer may be a refusal.
    pub(crate) fn try_control(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.raw(&format!(
            "{method} /_mock/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn get(&self, target: &str, token: &str, payload: &Value) -> Answer {
        let payload = encode(&payload.to_string());
        let joint = if target.contains('?') { '&' } else { '?' };
        self.raw(&format!(
            "GET {target}{joint}api_key={API_KEY}&payload={payload} HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\nstream-auth-type: jwt\r\nauthorization: {token}\r\n\r\n"
        ))
    }

    pub(crate) fn make_users(&self, ids: &[&str]) {
        let users: serde_json::Map<String, Value> = ids
            .iter()
            .map(|id| ((*id).to_owned(), json!({"id": id})))
            .collect();
        let answer = self.call("POST", "/users", &server_token(), &json!({"users": users}));
        assert_eq!(answer.status, 201);
    }

    /// Waits until the server has served a request that comes after entry `since` of its log and satisfies `is_wanted`.
    pub(crate) fn await_request(&self, mut since: u64, is_wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/_mock/log?since={since}&wait=10s");
            let log = self.call("GET", &path, &server_token(), &Value::Null).body;
            if log["entries"].as_array().unwrap().iter().any(&is_wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{log:#}");
            since = log["next"].as_u64().unwrap();
        }
    }

    /// Subscribes a connection of `id` to the presence of another user.
    #[track_caller]
    pub(crate) fn subscribe(&self, id: &str, connection: &str, other: &str) {
        let target = format!("/users?connection_id={connection}");
        let payload = json!({"filter_conditions": {"id": other}, "presence": true});
        let answer = self.get(&target, &user_token(id), &payload);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["users"][0]["id"], other);
    }

    /// Waits until a client is subscribed to the presence of a user.
    pub(crate) fn await_subscription(&self) {
        wait_until("somebody subscribes", || {
            self.control("GET", "status", &Value::Null).body["subscriptions"] != 0
        });
    }

    /// Upgrades; the query is everything that the URL says.
    pub(crate) fn upgrade(&self, query: &str, headers: &[(&str, &str)]) -> Socket {
        let mut request = Request::builder()
            .uri(format!("ws://{}/connect?{query}", self.address))
            .header("Host", "mock")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (socket, response) = client(request.body(()).unwrap(), self.stream()).unwrap();
        assert_eq!(response.status(), 101);
        Socket(socket)
    }

    /// Connects a user as the JavaScript client does, and returns the connection id.
    pub(crate) fn connect(&self, id: &str) -> (Socket, String) {
        let json = encode(&json!({"user_id": id, "user_details": {"id": id}}).to_string());
        let query = format!(
            "json={json}&api_key={API_KEY}&authorization={}&stream-auth-type=jwt&X-Stream-Client=stream-chat-js-v9-node",
            user_token(id)
        );
        let mut socket = self.upgrade(&query, &[]);
        let hello = socket.event();
        assert_eq!(hello["type"], "health.check");
        assert_eq!(hello["cid"], "*");
        assert_eq!(hello["me"]["id"], id);
        assert_eq!(hello["me"]["online"], true);
        for list in ["mutes", "channel_mutes", "devices"] {
            assert!(hello["me"][list].is_array(), "{list}");
        }
        let connection = hello["connection_id"].as_str().unwrap().to_owned();
        assert_eq!(connection.len(), 36);
        (socket, connection)
    }
}

/// A client's end of a WebSocket.
pub(crate) struct Socket(pub(crate) WebSocket<TcpStream>);

impl Socket {
    /// The next event of a type. Those before it are passed over.
    #[track_caller]
    pub(crate) fn event_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["type"] == kind {
                return event;
            }
        }
    }

    pub(crate) fn event(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} is no event"),
            }
        }
    }

    pub(crate) fn close_code(&mut self) -> CloseCode {
        loop {
            match self.0.read().unwrap() {
                Message::Close(Some(frame)) => return frame.code,
                Message::Close(None) => panic!("a close without a code"),
                _ => {}
            }
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Asserts that no event waits: the answer to a ping is the next frame.
    pub(crate) fn assert_nothing_waits(&mut self) {
        self.send(r#"[{"type":"health.check","client_id":"x--y"}]"#);
        let event = self.event();
        assert_eq!(event["type"], "health.check", "{event}");
    }

    pub(crate) fn close(mut self) {
        self.0.close(None).unwrap();
        while self.0.read().is_ok() {}
    }
}

pub(crate) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
