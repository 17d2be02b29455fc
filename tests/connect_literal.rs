//! Opening a socket: the upgrade request, and responses that are not an upgrade.

use std::time::Duration;

use futures_util::SinkExt;
use presencectl::api::{ApiError, Auth, Client, ClientSettings, RetryObserver, TransportKind};
use presencectl::domain::token::{self, Claims};
use presencectl::domain::{ApiErrorCode, SecretString};
use presencectl::events::session::STALE_AFTER;
use presencectl::events::{Frame, Identity, connect};
use serde_json::{Map, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use url::Url;

use crate::support::literal;

const HELLO: &str = r#"{"type":"health.check","connection_id":"c-1","cid":"*"}"#;

fn client(base_url: Url) -> Client {
    Client::new(ClientSettings {
        base_url,
        api_key: "key".to_owned(),
        auth: Auth::Server {
            secret: SecretString::new("secret"),
        },
        allow_http: false,
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(5),
        retries: 0,
        on_retry: RetryObserver::default(),
    })
    .unwrap()
}

fn amy() -> Identity {
    Identity {
        user: "amy".parse().unwrap(),
        invisible: Some(true),
        details: Map::new(),
    }
}

async fn refused(answer: &str) -> ApiError {
    let (url, _requests) = literal::serve(vec![answer.to_owned()]).await;
    connect(&client(url), &amy(), 4096, STALE_AFTER)
        .await
        .unwrap_err()
}

#[tokio::test]
#[expect(
    clippy::result_large_err,
    reason = "the library's own signature for a handshake callback"
)]
async fn the_url_has_every_parameter_and_events_arrive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut seen = None;
        let mut socket = accept_hdr_async(stream, |request: &Request, response: Response| {
            seen = Some((request.uri().to_string(), request.headers().clone()));
            Ok(response)
        })
        .await
        .unwrap();
        socket.send(Message::text(HELLO)).await.unwrap();
        socket.send(Message::text(r#"{"type":"x"}"#)).await.unwrap();
        (seen.unwrap(), socket)
    });
    let mut session = connect(&client(url.parse().unwrap()), &amy(), 4096, STALE_AFTER)
        .await
        .unwrap();
    assert_eq!(session.connection_id(), "c-1");
    assert_eq!(
        session.next().await.unwrap(),
        Frame::Text(r#"{"type":"x"}"#.into())
    );

    let ((uri, headers), _socket) = server.await.unwrap();
    let uri = Url::parse("http://x").unwrap().join(&uri).unwrap();
    assert_eq!(uri.path(), "/base/connect");
    let pairs: Vec<(String, String)> = uri.query_pairs().into_owned().collect();
    let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "json",
            "api_key",
            "authorization",
            "stream-auth-type",
            "X-Stream-Client"
        ]
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&pairs[0].1).unwrap(),
        json!({"user_id": "amy", "user_details": {"id": "amy", "invisible": true}})
    );
    let mut claims = token::verify("secret", &pairs[2].1, chrono::Utc::now()).unwrap();
    assert!(claims.iat.take().is_some());
    assert_eq!(claims, Claims::user("amy"));
    assert!(!headers.contains_key("sec-websocket-protocol"));
}

#[tokio::test]
async fn a_refusal_instead_of_an_upgrade_keeps_its_code() {
    let body = r#"{"code":2,"message":"api_key not found","StatusCode":401}"#;
    let error = refused(&literal::json("401 Unauthorized", "", body)).await;
    assert_eq!(error.api_code(), Some(ApiErrorCode::InvalidApiKey));
}

#[tokio::test]
async fn an_html_page_instead_of_an_upgrade_is_an_error() {
    let error = refused(&literal::json("200 OK", "", "<html>")).await;
    assert!(
        matches!(&error, ApiError::Unreadable { status: 200, start, .. } if start == "<html>"),
        "{error:?}"
    );
    let error = refused(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
    )
    .await;
    assert!(
        matches!(&error, ApiError::Unreadable { status: 101, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_at_once_is_an_error_without_the_token() {
    let error = refused("").await;
    let ApiError::Transport { kind, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*kind, TransportKind::Broken);
    assert!(!format!("{error:?}").contains("authorization"), "{error:?}");
}
