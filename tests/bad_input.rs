//! Bad input and failed connections: each has an exit code, a message that names the thing, and a hint.

use std::io::{Read, Write};
use std::net::TcpListener;

use presencectl::domain::token::{self, Claims};

use crate::support::mock::{Mock, SECRET};
use crate::support::{Presencectl, Run};

fn fails(run: Run, code: i32, says: &[&str]) {
    let run = run.ended_with(code);
    assert_eq!(run.stdout, "", "{run}");
    for text in says {
        assert!(run.stderr.contains(text), "{text} is missing\n{run}");
    }
}

#[test]
fn no_credentials_says_both_ways_out() {
    fails(
        Presencectl::line("query-users").run(),
        4,
        &[
            "no credentials",
            "--mock",
            "STREAM_API_KEY",
            "STREAM_API_SECRET",
        ],
    );
}

#[test]
fn a_malformed_filter_is_bad_usage() {
    fails(
        Presencectl::line("--mock query-users --filter {id:john}").run(),
        2,
        &["--filter", "{id:john}"],
    );
}

#[test]
fn an_unknown_flag_value_is_bad_usage() {
    fails(
        Presencectl::line("--mock query-users -o yaml").run(),
        2,
        &["yaml"],
    );
}

#[test]
fn a_wrong_key_or_secret_exits_with_4() {
    let mock = Mock::start();
    let line = || Presencectl::line("query-users").at(&mock);
    fails(
        line().env("STREAM_API_KEY", "other").run(),
        4,
        &["code 2", "STREAM_API_KEY"],
    );
    fails(
        line().env("STREAM_API_SECRET", "other").run(),
        4,
        &["code 43", "STREAM_API_SECRET"],
    );
}

#[test]
fn an_expired_token_exits_with_4() {
    let mock = Mock::start();
    let expired = token::sign(
        SECRET,
        &Claims {
            exp: Some(1_000_000_000),
            ..Claims::user("john")
        },
    );
    fails(
        Presencectl::line("query-users")
            .at(&mock)
            .env("PRESENCECTL_USER_TOKEN", &expired)
            .run(),
        4,
        &["code 40", "token create"],
    );
}

#[test]
fn a_closed_port_exits_with_7() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    fails(
        Presencectl::line(&format!(
            "--base-url http://{address} --retry 0 query-users"
        ))
        .env("STREAM_API_KEY", "k")
        .env("STREAM_API_SECRET", "s")
        .run(),
        7,
        &[&address.to_string(), "--base-url"],
    );
}

#[test]
fn an_html_response_exits_with_5() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<html>portal</html>\n")
            .unwrap();
    });
    fails(
        Presencectl::line(&format!("--base-url http://{address} query-users"))
            .env("STREAM_API_KEY", "k")
            .env("STREAM_API_SECRET", "s")
            .run(),
        5,
        &["<html>portal", "--base-url"],
    );
    server.join().unwrap();
}

#[test]
fn a_secret_is_not_sent_over_plain_http_to_other_machines() {
    fails(
        Presencectl::line("--base-url http://chat.example.com query-users")
            .env("STREAM_API_KEY", "k")
            .env("STREAM_API_SECRET", "s")
            .run(),
        2,
        &["http://chat.example.com", "https"],
    );
}

#[test]
fn an_error_is_one_json_object_where_json_was_asked_for() {
    let mock = Mock::start();
    let run = Presencectl::line("get-channel nowhere -o ndjson")
        .at(&mock)
        .run()
        .ended_with(5);
    let error: serde_json::Value = serde_json::from_str(run.stderr.trim()).unwrap();
    assert_eq!(error["error"]["api_code"], 16, "{run}");
    assert_eq!(error["error"]["kind"], "refused");
}
