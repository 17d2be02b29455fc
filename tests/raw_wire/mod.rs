//! Bytes in, bytes out: HTTP requests written out by hand, and WebSocket frames masked by hand, over a plain TCP
//! connection. Nothing here is shared with our client or our server, so a mistake common to both cannot hide.

mod frames;
mod http;
mod token;

pub(crate) use frames::{Frame, Socket};
pub(crate) use http::{Answer, send};
pub(crate) use token::{expired_token, server_token, user_token};

use std::net::TcpStream;

use crate::support::PATIENCE;
use crate::support::mock::{self, Mock};

/// A server of the test's own, as its address, key and secret.
pub(crate) struct Server {
    mock: Mock,
}

impl Server {
    /// An empty one with the default rules.
    pub(crate) fn start() -> Self {
        Self {
            mock: Mock::start(),
        }
    }

    /// The base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.mock.address)
    }

    /// The API key.
    pub(crate) fn api_key(&self) -> &'static str {
        mock::API_KEY
    }

    /// The API secret.
    pub(crate) fn secret(&self) -> &'static str {
        mock::SECRET
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A connection to the server at `url`, which gives up reading after a while.
fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").expect("a plain http URL");
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout above zero");
    stream
}
