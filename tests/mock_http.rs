//! Slow and broken clients of the mock, in literal bytes: late and missing request bodies, endless heads, and frames that
//! break the WebSocket protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw_wire::{Frame, Server, Socket, encode, user_token};
use crate::support::PATIENCE;
use crate::support::mock::Mock;

/// A mock that waits for clients only so long, and a connection to it. What must arrive within the time does so on a busy
/// machine, too.
fn impatient() -> (Mock, TcpStream) {
    let mock = Mock::with(|options| options.read_timeout = Duration::from_secs(1));
    let stream = mock.stream();
    (mock, stream)
}

/// Reads one response with a `Content-Length`, and returns its head.
fn read_response(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).unwrap();
    head
}

#[test]
fn a_response_does_not_overtake_the_request_body() {
    let mock = Mock::start();
    // None of these responses depends on the body.
    for (request, status) in [
        ("POST /users", 401),
        ("POST /nowhere", 404),
        ("POST /_mock/nowhere", 404),
        ("OPTIONS /users", 204),
    ] {
        let mut stream = mock.stream();
        for _ in 0..3 {
            let head =
                format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            // The server has read the head when it answers somebody else.
            assert_eq!(
                mock.raw("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    .status,
                404
            );
            stream.write_all(&vec![b' '; 300_000]).unwrap();
            let head = read_response(&mut stream);
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
            assert!(!head.contains("connection: close"), "{head}");
        }
    }
}

#[test]
fn a_body_that_never_arrives_ends_the_connection() {
    for (request, status) in [("POST /nowhere", 404), ("POST /_mock/reset", 400)] {
        let (_mock, mut stream) = impatient();
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{{");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_head_that_never_ends_ends_the_connection() {
    for start in ["", "GET /users HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let (_mock, mut stream) = impatient();
        stream.write_all(start.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One byte at a time does not keep the connection open.
            let alive = start.is_empty() || stream.write_all(b"x").is_ok();
            match stream.read(&mut [0; 1024]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    assert!(alive);
                }
                Err(_) => break,
            }
            assert!(Instant::now() < deadline, "the connection is still open");
        }
    }
}

#[test]
fn idle_websockets_are_not_bound_by_the_time_for_heads() {
    let (mock, _) = impatient();
    let (mut socket, _) = mock.connect("amy");
    let (_mock, mut idle) = impatient();
    // The same time is over for a connection that was opened later.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    socket.assert_nothing_waits();
}

#[test]
fn frames_that_break_the_protocol_are_answered_with_their_close_code() {
    let server = Server::start();
    let token = user_token(server.secret(), "amy");
    let json = encode(r#"{"user_id":"amy","user_details":{"id":"amy"}}"#);
    let head = format!(
        "GET /connect?json={json}&api_key={}&authorization={token}&stream-auth-type=jwt HTTP/1.1",
        server.api_key()
    );
    let long_ping = [&b"\x89\xfe\0\x7e\0\0\0\0"[..], &[b' '; 126]].concat();
    let cases: [(&str, &[u8], u16); 9] = [
        ("not masked", b"\x81\x02{}", 1002),
        ("reserved bits", b"\xf1\x80\0\0\0\0", 1002),
        ("a reserved opcode", b"\x83\x80\0\0\0\0", 1002),
        ("a reserved control opcode", b"\x8b\x80\0\0\0\0", 1002),
        ("a fragmented ping", b"\x09\x80\0\0\0\0", 1002),
        ("a long ping", &long_ping, 1002),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0", 1002),
        ("half a close code", b"\x88\x81\0\0\0\0\x03", 1002),
        ("text that is not UTF-8", b"\x81\x81\0\0\0\0\xff", 1007),
    ];
    for (name, bytes, code) in cases {
        let mut socket = Socket::open(&server.url(), &head);
        socket.event_of("health.check");
        socket.send_bytes(bytes);
        let mut frame = socket.frame();
        while let Frame::Text(_) = frame {
            frame = socket.frame();
        }
        assert_eq!(frame, Frame::Close(Some(code)), "{name}");
    }
}
