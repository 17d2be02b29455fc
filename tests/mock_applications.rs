//! Several applications in one server: tests that share it do not see each other.

use serde_json::{Value, json};

use crate::support::{Presencectl, Run, Stream};

/// A server of its own process.
struct Server {
    url: String,
    _process: Stream,
}

/// An application of a server.
struct Application<'a> {
    server: &'a Server,
    key: String,
    secret: String,
}

impl Server {
    /// A server whose first application has the key `first`.
    fn start() -> Self {
        let mut process = Presencectl::line("mock start --api-key first")
            .env("PRESENCECTL_MOCK_SECRET", "hush")
            .stream();
        let url = process.record()["url"].as_str().unwrap().to_owned();
        Self {
            url,
            _process: process,
        }
    }

    fn first(&self) -> Application<'_> {
        Application {
            server: self,
            key: "first".to_owned(),
            secret: "hush".to_owned(),
        }
    }

    fn create(&self) -> Application<'_> {
        let created = self.first().record("mock app create");
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        Application {
            server: self,
            key: text("api_key"),
            secret: text("api_secret"),
        }
    }
}

impl Application<'_> {
    fn command(&self, line: &str) -> Presencectl {
        Presencectl::line(line).at_url(&self.server.url, &self.key, &self.secret)
    }

    fn run(&self, line: &str) -> Run {
        self.command(line).run()
    }

    #[track_caller]
    fn record(&self, line: &str) -> Value {
        self.run(line).record()
    }

    fn count_users(&self) -> usize {
        self.run("query-users").records().len()
    }

    /// A watcher of amy that has subscribed.
    fn watch(&self) -> Stream {
        let mut watch = self.command("watch users amy").stream();
        watch.records_until("presence.coverage");
        watch
    }
}

#[test]
fn applications_share_nothing() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    let first = server.first();
    assert_eq!(one.record("set-user amy --status one")["status"], "one");
    assert_eq!(two.record("set-user amy --status two")["status"], "two");
    assert_eq!(one.record("get-user amy")["status"], "one");
    assert_eq!(first.count_users(), 0);

    // A clock of its own, and a deadline that only it reaches.
    for application in [&one, &two] {
        let _ = application.record("mock user amy connect");
        let _ = application.record("mock user amy drop");
    }
    let _ = one.record("mock clock freeze 2030-01-01T00:00:00Z");
    let _ = one.record("mock clock advance 2m");
    assert_eq!(one.record("mock status")["clock"], "frozen");
    assert_eq!(one.record("get-user amy")["online"], false);
    assert_eq!(two.record("mock status")["clock"], "system");
    assert_eq!(two.record("get-user amy")["online"], true);

    // Faults of its own.
    let _ = one.record("mock fault add status --status 409 --message gone --path /users");
    let _ = one.run("query-users").ended_with(5);
    let _ = two.run("query-users").ended_with(0);
    assert_eq!(two.run("mock fault list").stdout_of_success(), "");

    // A log of its own.
    let is_failed = |note: &Value| note["status"] == 409;
    assert!(one.run("mock log").records().iter().any(is_failed));
    assert!(!two.run("mock log").records().iter().any(is_failed));
    assert!(!first.run("mock log").records().iter().any(is_failed));

    // A reset of its own, to an empty application.
    let _ = one.run("mock reset").stdout_of_success();
    assert_eq!(one.count_users(), 0);
    assert_eq!(two.count_users(), 1);

    // A secret of its own.
    let stolen = Application {
        server: &server,
        key: one.key.clone(),
        secret: two.secret.clone(),
    };
    let _ = stolen.run("query-users").ended_with(4);
}

#[test]
fn events_stay_in_their_application() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    for application in [&one, &two] {
        let _ = application.record("set-user amy");
    }
    let (mut of_one, mut of_two) = (one.watch(), two.watch());
    let _ = one.record("mock user amy connect");
    assert_eq!(of_one.record()["user"]["online"], true);
    // The next event shows that the other application's was not sent.
    let _ = two.record("mock user amy set status=marker");
    let event = of_two.record();
    assert_eq!(
        (&event["user"]["status"], &event["user"]["online"]),
        (&json!("marker"), &json!(false))
    );
}

#[test]
fn a_deleted_application_closes_its_own_connections_only() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    for application in [&one, &two] {
        let _ = application.record("set-user amy");
    }
    let (of_one, mut of_two) = (one.watch(), two.watch());
    let deleted = server
        .first()
        .record(&format!("mock app delete {}", one.key));
    assert_eq!(deleted, json!({"api_key": one.key, "closed": 1}));
    let ended = of_one.finish().ended_with(4);
    insta::assert_snapshot!(ended.stderr, @r#"
    presencectl: warning: connection lost: the server closed the connection (code 1000): the application was deleted; reconnecting
    presencectl: warning: attempt 1 to connect failed: the API refused (HTTP 401, code 2): QueryUsers failed with error: "api_key not valid"
    presencectl: cannot watch: the API refused (HTTP 401, code 2): QueryUsers failed with error: "api_key not valid"
    hint: check the API key: STREAM_API_KEY, or --profile
    "#);
    let _ = two.record("mock user amy set status=marker");
    assert_eq!(of_two.record()["user"]["status"], "marker");

    insta::assert_snapshot!(one.run("query-users"), @r#"
    --- stderr
    presencectl: cannot query users: the API refused (HTTP 401, code 2): QueryUsers failed with error: "api_key not valid"
    hint: check the API key: STREAM_API_KEY, or --profile
    --- exit Some(4)
    "#);
    let keys: Vec<Value> = server
        .first()
        .run("mock app list")
        .records()
        .into_iter()
        .map(|mut application| application["api_key"].take())
        .collect();
    assert_eq!(keys, [json!("first"), json!(two.key)]);
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start();
    let first = server.first();
    let unknown = Application {
        server: &server,
        key: "other".to_owned(),
        secret: "hush".to_owned(),
    };
    insta::assert_snapshot!(unknown.run("mock status"), @r"
    --- stderr
    presencectl: the mock has no application with the API key of STREAM_API_KEY
    hint: list the applications: presencectl mock app list; or act on the first one: unset STREAM_API_KEY
    --- exit Some(4)
    ");
    insta::assert_snapshot!(first.run("mock app delete nobody"), @r#"
    --- stderr
    presencectl: application "nobody" was not found
    hint: list the applications: presencectl mock app list
    --- exit Some(5)
    "#);
    insta::assert_snapshot!(first.run("mock app delete first"), @r"
    --- stderr
    presencectl: the first application of a server exists as long as the server
    hint: stop the server: presencectl mock stop
    --- exit Some(2)
    ");
    // Commands for the whole server do not depend on the key.
    insta::assert_snapshot!(unknown.run("mock app list -o table"), @r"
    API KEY  FIRST  USERS  CHANNELS  CONNECTIONS
    first    true   0      0         0
    --- stderr
    --- exit Some(0)
    ");
    insta::assert_snapshot!(unknown.run("mock env --print dotenv").masked(), @r"
    STREAM_API_KEY=first
    STREAM_API_SECRET=hush
    STREAM_KEY=first
    STREAM_SECRET=hush
    STREAM_CHAT_URL=http://127.0.0.1:PORT
    STREAM_BASE_URL=http://127.0.0.1:PORT
    PRESENCECTL_BASE_URL=http://127.0.0.1:PORT
    STREAM_LOCAL_TEST_HOST=127.0.0.1:PORT
    --- stderr
    --- exit Some(0)
    ");
    assert_eq!(unknown.run("mock stop").code, Some(0));
}

#[test]
fn a_key_is_never_read_as_a_path() {
    let server = Server::start();
    let first = server.first();
    let created = server.create();
    let _ = first.record("mock fault add delay --delay 1ms");
    for key in [
        "..",
        "../faults",
        &format!("./{}", created.key),
        &format!("\t{}", created.key),
    ] {
        for command in [["app", "delete"], ["fault", "clear"]] {
            let refused = Presencectl::new(["mock", command[0], command[1], key])
                .env("STREAM_CHAT_URL", &server.url)
                .run()
                .ended_with(5);
            assert!(refused.stderr.contains("was not found"), "{refused}");
        }
    }
    assert_eq!(first.run("mock fault list").records().len(), 1);
    assert_eq!(first.run("mock app list").records().len(), 2);
}

#[test]
fn responses_have_columns() {
    let server = Server::start();
    let first = server.first();
    let created = first.run("mock app create --columns api_key -o csv");
    let created = created.stdout_of_success();
    let key = created.lines().nth(1).unwrap();
    let deleted = first.run(&format!("mock app delete {key} -o tsv"));
    assert_eq!(
        deleted.stdout_of_success(),
        format!("api_key\tclosed\n{key}\t0\n")
    );
    let _ = first.record("set-user amy");
    for (command, columns) in [
        ("mock app create", "api_key,api_secret"),
        ("mock clock freeze", "now,clock"),
        ("mock user amy connect", "connection_id"),
        ("mock trigger x --to amy", "sent"),
        ("mock user amy drop", "lost"),
        ("mock user amy disconnect", "closed"),
        ("mock fault clear", "cleared"),
        (
            "mock status",
            "now,clock,users,online,channels,connections,virtual,subscriptions,watches,faults,log",
        ),
    ] {
        let printed = first.run(&format!("{command} -o csv")).stdout_of_success();
        assert_eq!(printed.lines().next(), Some(columns), "{command}");
        assert_eq!(printed.lines().count(), 2, "{command}");
    }
}

#[test]
fn the_variables_of_an_application_are_printed_for_its_key() {
    let server = Server::start();
    let created = server.create();
    let env = created.run("mock env --print dotenv").masked();
    let env = env
        .replace(&created.key, "KEY")
        .replace(&created.secret, "SECRET");
    insta::assert_snapshot!(env, @r"
    STREAM_API_KEY=KEY
    STREAM_API_SECRET=SECRET
    STREAM_KEY=KEY
    STREAM_SECRET=SECRET
    STREAM_CHAT_URL=http://127.0.0.1:PORT
    STREAM_BASE_URL=http://127.0.0.1:PORT
    PRESENCECTL_BASE_URL=http://127.0.0.1:PORT
    STREAM_LOCAL_TEST_HOST=127.0.0.1:PORT
    --- stderr
    --- exit Some(0)
    ");
}
