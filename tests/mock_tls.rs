//! A mock that serves https and wss, and how clients come to trust it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::tls_front::CA_FILE;
use crate::support::{Presencectl, Stream, binary, search_path, skip_outside_ci};

/// A server with the key `K` and the secret `hush`, and its ready record.
fn start(flags: &str) -> (Stream, Value) {
    let mut server = Presencectl::line(&format!("mock start --tls --api-key K {flags}"))
        .env("PRESENCECTL_MOCK_SECRET", "hush")
        .stream();
    let ready = server.record();
    (server, ready)
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap()
}

fn at(ready: &Value, line: &str) -> Presencectl {
    Presencectl::line(line)
        .at_url(text(ready, "url"), "K", "hush")
        .env("SSL_CERT_FILE", text(ready, "ca_file"))
}

#[test]
fn calls_and_sockets_go_over_tls() {
    let (server, ready) = start("");
    assert!(text(&ready, "url").starts_with("https://127.0.0.1:"));
    let _ = at(&ready, "set-user john").run().ended_with(0);
    let mut watch = at(&ready, "watch users john -n 1").stream();
    watch.records_until("presence.coverage");
    let _ = at(&ready, "mock user john connect").run().ended_with(0);
    assert_eq!(watch.record()["user"]["online"], true);

    // A fault breaks the connection below TLS.
    let mut watch = at(&ready, "watch users john --no-reconnect").stream();
    watch.records_until("presence.coverage");
    let _ = at(&ready, "mock fault add drop --now").run().ended_with(0);
    assert_eq!(watch.finish().code, Some(9));

    let ca_file = text(&ready, "ca_file").to_owned();
    assert!(Path::new(&ca_file).exists());
    server.signal("TERM");
    assert_eq!(server.end().1.code(), Some(143));
    assert!(!Path::new(&ca_file).exists());
}

#[test]
fn every_loopback_name_is_in_the_certificate_and_others_are_refused() {
    let (_server, ready) = start("");
    let port = text(&ready, "url").rsplit_once(':').unwrap().1;
    for (host, code) in [("localhost", 0), ("127.0.0.1", 0), ("127.0.0.2", 7)] {
        let _ = at(&ready, "query-users --retry 0")
            .env("STREAM_CHAT_URL", &format!("https://{host}:{port}"))
            .run()
            .ended_with(code);
    }
    let untrusted = at(&ready, "query-users --retry 0").env("SSL_CERT_FILE", CA_FILE);
    insta::assert_snapshot!(untrusted.run().masked(), @r"
    --- stderr
    presencectl: cannot query users: cannot connect to 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer
    hint: trust the CA that has signed the certificate: SSL_CERT_FILE=FILE; a mock with --tls prints the file as `ca_file`
    --- exit Some(7)
    ");
}

#[test]
fn a_client_that_never_ends_its_handshake_does_not_hold_up_others() {
    let (server, ready) = start("");
    let address = text(&ready, "url").strip_prefix("https://").unwrap();
    let mut silent = TcpStream::connect(address).unwrap();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let _ = at(&ready, "query-users").run().ended_with(0);
    server.signal("TERM");
    assert_eq!(server.end().1.code(), Some(143));
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_command_finds_what_it_needs_to_trust_the_server() {
    let script = r#"
        presencectl set-user john --jq .id &&
        curl -sf -o /dev/null -w '%{http_code} ' "$STREAM_CHAT_URL/_mock/status" &&
        curl -sf -o /dev/null -w '%{http_code}\n' "https://localhost:${STREAM_CHAT_URL##*:}/_mock/status" &&
        test "$CURL_CA_BUNDLE" = "$SSL_CERT_FILE" && test "$NODE_EXTRA_CA_CERTS" = "$SSL_CERT_FILE" && test "$REQUESTS_CA_BUNDLE" = "$SSL_CERT_FILE" &&
        echo "${STREAM_LOCAL_TEST_HOST-unset}" &&
        eval "$(presencectl mock env)" && presencectl mock status --jq .users
    "#;
    if Command::new("curl").arg("--version").output().is_err() {
        return skip_outside_ci("curl against the mock's TLS", "curl is not installed");
    }
    let path = search_path(binary().parent().unwrap());
    let run = Presencectl::new(["mock", "exec", "--tls", "--", "sh", "-ec", script])
        .env("PATH", path.to_str().unwrap())
        .run();
    insta::assert_snapshot!(run, @r"
    john
    200 200
    unset
    1
    --- stderr
    --- exit Some(0)
    ");
}

#[test]
fn a_detached_server_is_found_without_variables() {
    let home = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        Presencectl::line(line)
            .env("HOME", home.path().to_str().unwrap())
            .run()
    };
    let ready = run("mock start --tls --detach").ended_with(0).records();
    let ca_file = text(&ready[0], "ca_file").to_owned();
    let env = run("mock env --print dotenv").ended_with(0);
    let expected = format!("NODE_EXTRA_CA_CERTS={ca_file}\n");
    assert!(env.stdout.contains(&expected), "{env}");
    let _ = run("mock stop").ended_with(0);
}

#[test]
fn no_file_is_left_if_the_server_cannot_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = Presencectl::line(&format!("mock start --tls --port {port}"))
        .env("TMPDIR", folder.path().to_str().unwrap())
        .run();
    insta::assert_snapshot!(run.masked(), @r"
    --- stderr
    presencectl: cannot listen on 127.0.0.1:PORT: Address already in use (os error 98)
    hint: pick a free port: --port 0
    --- exit Some(13)
    ");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_file_of_a_killed_server_is_removed_by_the_next_one_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut server = Presencectl::line("mock start --tls")
            .env("TMPDIR", folder.path().to_str().unwrap())
            .stream();
        let ca_file = text(&server.record(), "ca_file").to_owned();
        (server, ca_file)
    };
    let (killed, left) = start();
    killed.signal("KILL");
    let _ = killed.end();
    assert!(Path::new(&left).exists());
    let (_one, first) = start();
    let (_two, second) = start();
    assert!(!Path::new(&left).exists());
    assert!(Path::new(&first).exists() && Path::new(&second).exists());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let run = Presencectl::line("mock start --tls")
        .env("TMPDIR", "/nonexistent")
        .run();
    insta::assert_snapshot!(run.masked(), @r#"
    --- stderr
    presencectl: cannot write the CA's certificate to the folder /nonexistent: No such file or directory (os error 2) at path "/nonexistent/presencectl-mock-ca-RANDOM.pem"
    hint: name a folder that can be written to in TMPDIR
    --- exit Some(13)
    "#);
}

#[test]
fn hints_say_how_to_reach_a_server_with_tls() {
    let (_server, ready) = start("");
    // Once, because the certificate is refused the next time too.
    let untrusted = at(&ready, "mock health").env("SSL_CERT_FILE", CA_FILE);
    let shown = untrusted.run().masked();
    insta::assert_snapshot!(shown.replace(text(&ready, "ca_file"), "CA_FILE"), @r"
    --- stderr
    presencectl: cannot connect to 127.0.0.1:PORT: invalid peer certificate: UnknownIssuer
    hint: trust the CA that has signed the certificate: SSL_CERT_FILE=FILE; a mock with --tls prints the file as `ca_file`
    --- exit Some(7)
    ");
    let plain = text(&ready, "url").replace("https:", "http:");
    let plain = at(&ready, "mock health --retry 0").env("STREAM_CHAT_URL", &plain);
    insta::assert_snapshot!(plain.run().masked(), @r"
    --- stderr
    presencectl: the connection to 127.0.0.1:PORT broke: invalid HTTP version parsed
    hint: if this is a port for https, write https:// instead of http:// in --base-url or STREAM_CHAT_URL
    --- exit Some(7)
    ");
}
