//! Who may control the mock, and what web pages may ask of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::mock::{API_KEY, Mock, server_token};

/// Sends a request with these headers, one a line, and returns the response's status and head in lower case.
fn send(mock: &Mock, line: &str, headers: &str) -> (u16, String) {
    let headers: String = headers
        .lines()
        .map(|header| format!("{}\r\n", header.trim()))
        .collect();
    let mut stream = TcpStream::connect(mock.address).unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let head = response.split("\r\n\r\n").next().unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head)
}

#[test]
fn only_this_machine_and_its_pages_control_the_server() {
    let mock = Mock::start();
    let port = mock.address.port();
    for (headers, expected) in [
        (format!("Host: 127.0.0.1:{port}"), 200),
        (format!("Host: localhost:{port}"), 200),
        (format!("Host: [::1]:{port}"), 200),
        ("Host: evil.example".to_owned(), 403),
        (format!("Host: localhost.evil.example:{port}"), 403),
        (
            "Host: localhost\nOrigin: http://127.0.0.1:5173".to_owned(),
            200,
        ),
        ("Host: localhost\nOrigin: https://localhost".to_owned(), 200),
        (
            "Host: localhost\nOrigin: https://evil.example".to_owned(),
            403,
        ),
        ("Host: localhost\nOrigin: null".to_owned(), 403),
    ] {
        let (status, head) = send(&mock, "POST /_mock/reset", &headers);
        assert_eq!(status, expected, "{headers}\n{head}");
        let (status, _) = send(&mock, "OPTIONS /_mock/reset", &headers);
        let preflight = if expected == 200 { 204 } else { 403 };
        assert_eq!(status, preflight, "{headers}");
    }
}

#[test]
fn pages_on_loopback_may_read_the_control_api() {
    let mock = Mock::start();
    let headers = "Host: localhost\nOrigin: http://127.0.0.1:5173";
    for line in ["GET /_mock/status", "OPTIONS /_mock/status"] {
        let (_, head) = send(&mock, line, headers);
        assert!(
            head.contains("access-control-allow-origin: http://127.0.0.1:5173"),
            "{head}"
        );
    }
    let (_, head) = send(&mock, "GET /_mock/status", "Host: localhost");
    assert!(!head.contains("access-control-allow-origin"), "{head}");
}

#[test]
fn pages_may_send_the_service_any_header_they_ask_for() {
    let mock = Mock::start();
    let asked =
        "content-encoding, x-requested-with, accept, origin, x-csrf-token, x-new-in-some-sdk";
    let headers = format!(
        "Host: localhost\nOrigin: https://app.example\nAccess-Control-Request-Method: POST\n\
         Access-Control-Request-Headers: {asked}"
    );
    let (status, head) = send(&mock, "OPTIONS /channels", &headers);
    assert_eq!(status, 204, "{head}");
    assert!(
        head.contains(&format!("access-control-allow-headers: {asked}")),
        "{head}"
    );
    let target = format!("GET /app?api_key={API_KEY}");
    let headers = format!(
        "Host: app.example\nOrigin: https://app.example\nstream-auth-type: jwt\nAuthorization: {}",
        server_token()
    );
    let (status, head) = send(&mock, &target, &headers);
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
}
