//! The way to the real service: https, wss, the system's certificate roots, and proxies.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::Presencectl;
use crate::support::mock::{API_KEY, Mock, SECRET};
use crate::support::tls_front::{CA_FILE, TlsFront};
use crate::support::world::{presencectl, small_world};

fn over_tls(mock: &Mock, line: &str) -> (TlsFront, Presencectl) {
    let front = TlsFront::of(mock.address);
    let command = presencectl(mock, line)
        .env(
            "STREAM_CHAT_URL",
            &format!("https://localhost:{}", front.port),
        )
        .env("SSL_CERT_FILE", CA_FILE);
    (front, command)
}

/// A command that goes to an https address which does not exist.
fn to_the_service(line: &str) -> Presencectl {
    Presencectl::line(line)
        .at_url("https://chat.example.test", API_KEY, SECRET)
        .env("SSL_CERT_FILE", CA_FILE)
}

#[test]
fn calls_and_sockets_go_over_tls() {
    let mock = small_world();
    let (_front, command) = over_tls(&mock, "query-users --in john,jack --presence -o ndjson");
    let run = command.run().ended_with(0);
    assert_eq!(run.records().len(), 2, "{run}");
    let (_front, command) = over_tls(&mock, "watch channel fun --snapshot only -o ndjson");
    let run = command.run().ended_with(0);
    assert_eq!(run.records()[2]["subscribed"], 2, "{run}");
}

#[test]
fn an_untrusted_certificate_is_refused() {
    let mock = small_world();
    let (_front, command) = over_tls(&mock, "query-users --retry 0");
    // The server's own certificate is no root.
    let other = CA_FILE.replace("ca.pem", "server.pem");
    insta::assert_snapshot!(command.env("SSL_CERT_FILE", &other).run().masked(), @r"
    --- stderr
    presencectl: cannot query users: cannot connect to localhost:PORT: invalid peer certificate: UnknownIssuer
    hint: trust the CA that has signed the certificate: SSL_CERT_FILE=FILE; a mock with --tls prints the file as `ca_file`
    --- exit Some(7)
    ");
}

#[test]
fn a_certificate_file_that_does_not_exist_is_named() {
    let mock = small_world();
    let (_front, command) = over_tls(&mock, "query-users --retry 0");
    let run = command.env("SSL_CERT_FILE", "/nonexistent").run();
    insta::assert_snapshot!(run.masked(), @r"
    --- stderr
    presencectl: cannot query users: cannot connect to localhost:PORT: failed to read PEM from file: No such file or directory (os error 2) at '/nonexistent'
    hint: check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock
    --- exit Some(7)
    ");
}

/// What a proxy is asked for, after which it refuses.
fn asked_of_a_proxy(names: &[(&str, &str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).unwrap();
        stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    });
    let mut command = to_the_service("get-user john --retry 0");
    for (name, value) in names {
        command = command.env(name, &value.replace("PROXY", &address.to_string()));
    }
    let run = command.run();
    assert_eq!(run.code, Some(7), "{run}");
    // Where the proxy was never asked, this is what ends its waiting.
    drop(std::net::TcpStream::connect(address));
    proxy.join().unwrap()
}

#[test]
fn a_proxy_is_used_unless_no_proxy_matches() {
    let asked = asked_of_a_proxy(&[("HTTPS_PROXY", "http://PROXY")]);
    assert!(
        asked.starts_with("CONNECT chat.example.test:443 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(!asked.contains(API_KEY), "{asked}");
    let asked = asked_of_a_proxy(&[
        ("HTTPS_PROXY", "http://PROXY"),
        ("NO_PROXY", "example.test"),
    ]);
    assert_eq!(asked, "");
}

#[test]
fn loopback_never_uses_a_proxy() {
    let mock = small_world();
    let run = presencectl(&mock, "get-user john -o ndjson")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .run();
    assert_eq!(run.records().len(), 1, "{run}");
}

#[test]
fn a_malformed_proxy_is_an_error_that_names_its_variable() {
    for line in ["get-user john", "watch users john", "doctor"] {
        let run = to_the_service(line)
            .env("HTTPS_PROXY", "htp://user:hush@proxy:3128")
            .run()
            .ended_with(2);
        let text = run.to_string();
        assert!(
            text.contains("the variable HTTPS_PROXY is not a proxy"),
            "{run}"
        );
        assert!(text.contains("HTTPS_PROXY=http://HOST:PORT"), "{run}");
        assert!(!text.contains("hush"), "{run}");
    }
}

#[test]
fn an_ipv6_address_through_a_proxy_is_rejected_with_what_to_do() {
    let run = Presencectl::line("get-user john")
        .at_url("https://[2001:db8::1]:8443", API_KEY, SECRET)
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: https to the IPv6 address 2001:db8::1 is not possible through the proxy of HTTPS_PROXY
    hint: write a name instead of the address, or connect directly: NO_PROXY=2001:db8::1
    --- exit Some(2)
    ");
}

#[test]
fn a_socks_proxy_resolves_the_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let mut named = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting).unwrap();
            let mut methods = vec![0; greeting[1].into()];
            stream.read_exact(&mut methods).unwrap();
            stream.write_all(&[5, 0]).unwrap();
            let mut request = [0; 5];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request[3], 3, "a name");
            let mut name = vec![0; request[4].into()];
            stream.read_exact(&mut name).unwrap();
            named.push(String::from_utf8(name).unwrap());
            // "Host unreachable".
            stream.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        }
        named
    });
    let at_proxy = |line: &str| {
        to_the_service(line)
            .env("ALL_PROXY", &format!("socks5h://{address}"))
            .run()
    };
    let _ = at_proxy("get-user john --retry 0").ended_with(7);
    // Preparing nothing, this opens its WebSocket at once.
    let _ = at_proxy("hold john --retry 0").ended_with(7);
    assert_eq!(proxy.join().unwrap(), ["chat.example.test"; 2]);
}

#[test]
fn https_to_a_plain_port_is_reported() {
    let mock = small_world();
    for line in ["get-user john --retry 0", "doctor --retry 0"] {
        let run = presencectl(&mock, line)
            .env("STREAM_CHAT_URL", &format!("https://{}", mock.address))
            .env("SSL_CERT_FILE", CA_FILE)
            .run()
            .ended_with(7);
        assert!(run.to_string().contains("does not speak TLS"), "{run}");
        assert!(run.to_string().contains("write http:// instead"), "{run}");
    }
}

#[test]
fn doctor_makes_a_handshake_with_an_ipv6_address() {
    // It may be missing in a container.
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        crate::support::skip("TLS over IPv6: there is no ::1 here");
        return;
    };
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut first = [0; 1];
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut first).unwrap();
        first[0]
    });
    let run = Presencectl::line("doctor --retry 0")
        .at_url(&url, API_KEY, SECRET)
        .env("SSL_CERT_FILE", CA_FILE)
        .run()
        .ended_with(7);
    assert_eq!(
        server.join().unwrap(),
        22,
        "a handshake begins with its record type: {run}"
    );
}
