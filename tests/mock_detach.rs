//! Detached servers and `mock env`, in a shell as a new user would type it; servers that other machines can reach.

use std::net::{IpAddr, TcpStream};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{Presencectl, Run, binary, search_path, wait_until};

/// A user's shell, with a home folder that lasts as long as this.
struct Shell {
    home: TempDir,
}

impl Shell {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs a script in which `presencectl` is the program under test. Any server that it leaves running is stopped.
    fn run(&self, script: &str) -> Run {
        // `output` returns when the last process has closed stdout and stderr.
        let output = Command::new("sh")
            .args(["-c", script])
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", search_path(binary().parent().unwrap()))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Run::of(&output)
    }

    /// The ids of the processes that this shell has started and that still run, by their home folder.
    #[cfg(target_os = "linux")]
    fn processes(&self) -> Vec<String> {
        let home = format!("HOME={}", self.home.path().display());
        std::fs::read_dir("/proc")
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| {
                std::fs::read(entry.path().join("environ")).is_ok_and(|variables| {
                    variables
                        .split(|byte| *byte == 0)
                        .any(|variable| variable == home.as_bytes())
                })
            })
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.run("presencectl mock stop");
    }
}

#[test]
fn a_new_user_starts_uses_and_stops_a_server_in_four_lines() {
    let outcome = Shell::new().run(
        r#"set -e
        eval "$(presencectl mock start --detach --print env)"
        presencectl set-user john >/dev/null
        ID=$(presencectl get-user john --jq .id)
        presencectl mock stop
        echo "$ID"
        "#,
    );
    insta::assert_snapshot!(outcome, @r"
    john
    --- stderr
    --- exit Some(0)
    ");
}

#[test]
fn a_detached_server_is_found_again_until_it_has_ended() {
    let shell = Shell::new();
    insta::assert_snapshot!(shell.run("presencectl mock stop"), @r"
    --- stderr
    presencectl: no address of a mock server was given
    hint: start a mock: presencectl mock start --detach; or give its address: --base-url http://127.0.0.1:PORT
    --- exit Some(2)
    ");
    let ready = shell
        .run("presencectl mock start --detach --api-key K")
        .record();
    assert_eq!(ready["type"], "mock.ready");
    let found = shell.run("presencectl mock env --print json").record();
    for field in ["url", "api_key", "pid"] {
        assert_eq!(found[field], ready[field], "{found}");
    }
    let used = shell.run(
        r#"eval "$(presencectl mock env)"; presencectl set-user john --jq .id; presencectl mock stop"#,
    );
    assert_eq!(used.stdout, "john\n", "{used}");
    // It may still be closing its connections, but it accepts none any more.
    let url = ready["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap();
    wait_until("the server has ended", || {
        TcpStream::connect(address).is_err()
    });
    insta::assert_snapshot!(shell.run("presencectl mock stop").masked(), @r"
    --- stderr
    presencectl: the mock server at http://127.0.0.1:PORT has ended
    hint: start another: presencectl mock start --detach
    --- exit Some(7)
    ");
    let named = shell.run(&format!("presencectl mock stop --base-url {url}"));
    insta::assert_snapshot!(named.masked(), @r"
    --- stderr
    presencectl: cannot connect to 127.0.0.1:PORT: Connection refused (os error 111)
    hint: start a mock: presencectl mock start --detach; or give its address: --base-url http://127.0.0.1:PORT
    --- exit Some(7)
    ");
}

#[test]
fn a_detached_server_that_cannot_start_says_why() {
    let outcome = Shell::new().run("presencectl mock start --detach --fixture missing.json");
    insta::assert_snapshot!(outcome, @r"
    --- stderr
    presencectl: cannot read missing.json: No such file or directory (os error 2)
    --- exit Some(13)
    ");
}

#[test]
fn variables_are_printed_in_the_form_of_their_reader() {
    let shell = Shell::new();
    let outcome = shell.run(
        "export PRESENCECTL_MOCK_SECRET=\"it's\"; presencectl mock start --detach --print github; presencectl mock env --print dotenv",
    );
    insta::assert_snapshot!(outcome.masked(), @r"
    STREAM_API_KEY=mock-key
    STREAM_API_SECRET=it's
    STREAM_KEY=mock-key
    STREAM_SECRET=it's
    STREAM_CHAT_URL=http://127.0.0.1:PORT
    STREAM_BASE_URL=http://127.0.0.1:PORT
    PRESENCECTL_BASE_URL=http://127.0.0.1:PORT
    STREAM_LOCAL_TEST_HOST=127.0.0.1:PORT
    STREAM_API_KEY=mock-key
    STREAM_API_SECRET='it'\''s'
    STREAM_KEY=mock-key
    STREAM_SECRET='it'\''s'
    STREAM_CHAT_URL=http://127.0.0.1:PORT
    STREAM_BASE_URL=http://127.0.0.1:PORT
    PRESENCECTL_BASE_URL=http://127.0.0.1:PORT
    STREAM_LOCAL_TEST_HOST=127.0.0.1:PORT
    --- stderr
    --- exit Some(0)
    ");
}

#[test]
fn a_secret_with_a_line_break_is_not_printed_for_github() {
    let shell = Shell::new();
    let outcome = shell.run(
        "export PRESENCECTL_MOCK_SECRET='a\nINJECTED=b'; presencectl mock start --print github",
    );
    insta::assert_snapshot!(outcome, @r"
    --- stderr
    presencectl: STREAM_API_SECRET has a line break, which --print github cannot print
    hint: use a value of one line, or --print env
    --- exit Some(2)
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn no_server_is_left_whose_address_cannot_be_kept_or_printed() {
    for (variables, flags, reason) in [
        ("XDG_STATE_HOME=/dev/null", "", "cannot write /dev/null/"),
        (
            "PRESENCECTL_MOCK_SECRET='a\nb'",
            "--print github",
            "has a line break",
        ),
    ] {
        let shell = Shell::new();
        let outcome = shell.run(&format!(
            "{variables} presencectl mock start --detach {flags}"
        ));
        assert_ne!(outcome.code, Some(0), "{outcome}");
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.contains(reason), "{outcome}");
        assert_eq!(shell.processes(), Vec::<String>::new(), "{flags}");
    }
}

#[test]
fn loopback_answers_on_ipv4_and_ipv6() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        return crate::support::skip("IPv6 loopback: this machine has none");
    }
    let mut server = Presencectl::line("mock start").stream();
    let url = server.record()["url"].as_str().unwrap().to_owned();
    let port = url.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let _ = Presencectl::line(&format!("mock status --base-url http://{host}:{port}"))
            .run()
            .ended_with(0);
    }
}

/// An address of this machine that is not loopback.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only chooses a route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn a_server_for_other_machines_is_controlled_with_a_token_only() {
    let mut server = Presencectl::line("mock start --host 0.0.0.0 --api-key K")
        .env("PRESENCECTL_MOCK_SECRET", "hush")
        .stream();
    let ready = server.record();
    let token = ready["control_token"].as_str().unwrap();
    let url = ready["url"].as_str().unwrap();
    let status = |url: &str, token: &str, flags: &str| {
        Presencectl::line(&format!("mock status --base-url {url} {flags}"))
            .env("PRESENCECTL_MOCK_TOKEN", token)
            .run()
    };
    let _ = status(url, token, "").ended_with(0);
    let refused = status(url, "wrong", "");
    assert_eq!(refused, status(url, "", ""));
    insta::assert_snapshot!(refused, @r#"
    --- stderr
    presencectl: the API refused (HTTP 403, code 17): Control failed with error: "the control API of this server needs its control token: PRESENCECTL_MOCK_TOKEN"
    hint: use the API secret instead of a user token or --as, or act as another user: --as USER
    --- exit Some(5)
    "#);
    if let Some(address) = own_address() {
        let port = url.rsplit(':').next().unwrap();
        let url = format!("http://{address}:{port}");
        let refused = status(&url, token, "").ended_with(2);
        assert!(refused.stderr.contains("--allow-http"), "{refused}");
        let _ = status(&url, token, "--allow-http").ended_with(0);
        let set = Presencectl::line(&format!("set-user john --allow-http --base-url {url}"))
            .env("STREAM_API_KEY", "K")
            .env("STREAM_API_SECRET", "hush");
        assert_eq!(set.run().record()["id"], "john");
    } else {
        crate::support::skip("--allow-http: this machine has no address but loopback");
    }
    server.signal("TERM");
    insta::assert_snapshot!(server.finish(), @r"
    --- stderr
    presencectl: warning: other machines can reach the mock on 0.0.0.0; controlling it needs the control token (PRESENCECTL_MOCK_TOKEN)
    --- exit Some(143)
    ");
}

#[test]
fn the_control_token_can_be_chosen() {
    let mut server = Presencectl::line("mock start --host 0.0.0.0")
        .env("PRESENCECTL_MOCK_TOKEN", "chosen")
        .stream();
    assert_eq!(server.record()["control_token"], "chosen");
}
