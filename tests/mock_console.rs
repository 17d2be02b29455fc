//! The console of the mock: who gets its files, with which headers, and its page in a real browser
//! (`tests/browser/console.test.mjs`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::support::browser::{in_chromium, run_node_tests};
use crate::support::mock::Mock;
use crate::support::{Presencectl, binary};

const FILES: &[(&str, &str)] = &[
    ("/_mock/ui", "text/html"),
    ("/_mock/ui/", "text/html"),
    ("/_mock/ui/console.css", "text/css"),
    ("/_mock/ui/console.js", "text/javascript"),
    ("/_mock/ui/icon.svg", "image/svg+xml"),
];

/// Sends a request with more headers, one a line, and returns the whole response.
fn send(mock: &Mock, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(mock.address).unwrap();
    let headers: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn is_refused(response: &str) -> bool {
    response.starts_with("HTTP/1.1 403 ")
}

#[test]
fn the_console_works_in_chromium() {
    in_chromium(|folder, chromium| {
        run_node_tests(
            Command::new("node").env("PRESENCECTL", binary()),
            folder,
            chromium,
            "console.test.mjs",
        );
    });
}

#[test]
fn files_have_their_type_and_a_strict_policy() {
    let mock = Mock::start();
    for (path, content_type) in FILES {
        let response = send(&mock, &format!("GET {path}"), "Host: localhost");
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        for header in [
            &format!("content-type: {content_type}"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path}: {header} is not in {head}");
        }
        assert!(!head.contains("unsafe"), "{head}");
        assert!(!body.is_empty(), "{path}");
    }
    let response = send(&mock, "GET /_mock/ui/none.js", "Host: localhost");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    let response = send(&mock, "POST /_mock/ui", "Host: localhost");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
}

#[test]
fn only_this_machine_and_its_pages_get_the_console() {
    let mock = Mock::start();
    for (path, _) in FILES {
        let line = format!("GET {path}");
        for headers in [
            "Host: evil.example",
            "Host: localhost\nOrigin: https://evil.example",
            "Host: localhost\nOrigin: null",
        ] {
            let response = send(&mock, &line, headers);
            assert!(is_refused(&response), "{headers}\n{response}");
        }
        let response = send(&mock, &line, "Host: 127.0.0.1\nOrigin: http://127.0.0.1:1");
        assert!(!is_refused(&response), "{response}");
    }
}

#[test]
fn browsers_are_shown_the_way_and_clients_are_not() {
    let mock = Mock::start();
    let accept = "Host: localhost\nAccept: text/html,application/xhtml+xml";
    let page = send(&mock, "GET /", accept);
    assert!(page.contains("href=\"/_mock/ui\""), "{page}");
    for response in [
        send(&mock, "GET /", "Host: localhost\nAccept: */*"),
        send(&mock, "POST /", accept),
    ] {
        assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    }
}

#[test]
fn it_can_be_left_out() {
    let mock = Mock::with(|options| options.has_console = false);
    for (path, _) in FILES {
        let response = send(&mock, &format!("GET {path}"), "Host: localhost");
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
    }
    let response = send(&mock, "GET /", "Host: localhost\nAccept: text/html");
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
    let mut server = Presencectl::line("mock start --no-console").stream();
    let ready = server.record();
    assert!(ready.get("console").is_none(), "{ready}");
    let env = Presencectl::line("mock env --print json")
        .env("PRESENCECTL_BASE_URL", ready["url"].as_str().unwrap())
        .run()
        .ended_with(0);
    assert!(!env.stdout.contains("console"), "{env}");
}

#[test]
fn the_ready_record_has_its_address_with_the_token() {
    let mut server = Presencectl::line("mock start --host 0.0.0.0")
        .env("PRESENCECTL_MOCK_TOKEN", "a b&c")
        .stream();
    let ready = server.record();
    let url = ready["url"].as_str().unwrap();
    let expected = format!("{url}/_mock/ui#token=a+b%26c");
    assert_eq!(ready["console"], expected);
    let env = Presencectl::line("mock env --print json")
        .env("PRESENCECTL_BASE_URL", url)
        .env("PRESENCECTL_MOCK_TOKEN", "a b&c")
        .run()
        .ended_with(0);
    assert_eq!(env.records()[0]["console"], expected);
}
