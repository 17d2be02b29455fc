//! `api` and `limits`: requests without a command of their own.

use serde_json::{Value, json};

use crate::support::literal::{json as answer, run_against};
use crate::support::world::{presencectl, presencectl_of, small_world, world};
use crate::support::{Presencectl, Run, transcript, usage_errors};

/// A command line against a server that gives this answer, and what the server was sent.
fn against(line: &str, stdin: &str, answer: String) -> (Run, String) {
    let (run, mut requests) = run_against(Presencectl::line(line), stdin, vec![answer]);
    (run, requests.remove(0))
}

/// The first line of a request, its address decoded.
fn target(request: &str) -> (String, Vec<(String, String)>) {
    let line = request.lines().next().unwrap();
    let mut words = line.split(' ');
    let (method, address) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let query = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .filter(|(name, _)| name != "api_key")
        .collect();
    (format!("{method} {path}"), query)
}

fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn query_fields_go_into_the_payload_and_numbers_stay_exact() {
    let text =
        r#"{"users":[{"id":"john","n":1.10,"big":12345678901234567890123}],"duration":"1ms"}"#;
    let (run, request) = against(
        "api get /users -f filter_conditions[id][$in][]=john -F limit=5",
        "",
        answer("200 OK", "", text),
    );
    assert_eq!(run.ended_with(0).stdout, format!("{text}\n"));
    let (line, query) = target(&request);
    assert_eq!(line, "GET /users");
    let [(name, payload)] = query.as_slice() else {
        panic!("{query:?}");
    };
    assert_eq!(name, "payload");
    assert_eq!(
        serde_json::from_str::<Value>(payload).unwrap(),
        json!({"filter_conditions": {"id": {"$in": ["john"]}}, "limit": 5})
    );
}

#[test]
fn other_gets_use_parameters_and_other_methods_a_body() {
    let ok = || answer("200 OK", "", "{}");
    let line = "api GET rate_limits?web=true -F server_side=true -f endpoints=A,B";
    let (_, request) = against(line, "", ok());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        target(&request),
        (
            "GET /rate_limits".to_owned(),
            vec![
                pair("web", "true"),
                pair("server_side", "true"),
                pair("endpoints", "A,B")
            ]
        )
    );
    let (_, request) = against(
        "api PATCH users --input - -F more=1",
        r#"{"users":[{"id":"john","set":{"a.b":1}}]}"#,
        ok(),
    );
    assert_eq!(target(&request).0, "PATCH /users");
    assert_eq!(
        serde_json::from_str::<Value>(body(&request)).unwrap(),
        json!({"users": [{"id": "john", "set": {"a.b": 1}}], "more": 1})
    );
    let (run, request) = against(
        "api POST users/a%2Fb/deactivate --as john -v",
        "",
        answer("201 Created", "", ""),
    );
    assert_eq!(
        run.ended_with(0).stdout,
        "{}\n",
        "an empty answer is an empty object"
    );
    assert_eq!(body(&request), "{}", "the service wants a body");
    assert!(request.contains("user_id=john"), "{request}");
}

#[test]
fn pages_are_records_of_their_own() {
    let users: Vec<Value> = (0..75).map(|n| json!({"id": format!("u{n:02}")})).collect();
    let mock = world(&users, &[]);
    let words = [
        "api",
        "GET",
        "users",
        "-F",
        r#"sort=[{"field":"id","direction":1}]"#,
        "--paginate",
    ];
    let run = presencectl_of(&mock, words).run().ended_with(0);
    let sizes: Vec<usize> = run
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["users"]
                .as_array()
                .unwrap()
                .len()
        })
        .collect();
    assert_eq!(sizes, [30, 30, 15]);
    let words = words.iter().chain(&["--jq", ".users[].id"]);
    let run = presencectl_of(&mock, words).run().ended_with(0);
    assert_eq!(run.stdout.lines().count(), 75);
    assert_eq!(run.stdout.lines().last(), Some("u74"));
}

#[test]
fn refusals_and_malformed_answers_have_exit_codes() {
    let mock = small_world();
    let at_mock = |line: &str| presencectl(&mock, line).run();
    let lines = [
        "api GET users -F 'filter_conditions={\"id\":{\"$what\":1}}'",
        "api GET nowhere",
        "api GET nowhere -o json",
    ];
    insta::assert_snapshot!(transcript(lines, at_mock), @r#"
    $ api GET users -F 'filter_conditions={"id":{"$what":1}}'
    2> presencectl: the API refused (HTTP 400, code 4): QueryUsers failed with error: "filter_conditions: unknown operator "$what" on field "id""
    exit 5
    $ api GET nowhere
    2> presencectl: the API refused (HTTP 404, code 16): Request failed with error: "there is no GET /nowhere"
    2> hint: check the method and the path `/nowhere`: such as GET users, or POST channels/messaging/ID/query
    exit 5
    $ api GET nowhere -o json
    2> {"error":{"kind":"refused","message":"the API refused (HTTP 404, code 16): Request failed with error: \"there is no GET /nowhere\"","exit_code":5,"api_code":16,"hint":"check the method and the path `/nowhere`: such as GET users, or POST channels/messaging/ID/query"}}
    exit 5
    "#);
    let lines = [
        "api BREW users",
        "api GET users -F a=1 -f a=2",
        "api GET app -o csv",
        "api GET app --max-response lots",
    ];
    insta::assert_snapshot!(usage_errors(lines, at_mock), @r"
    api BREW users
      error: invalid value 'BREW' for '<METHOD>': expected GET, POST, PUT, PATCH or DELETE
    api GET users -F a=1 -f a=2
      presencectl: `a` is given twice, or once as a value and once as a list
    api GET app -o csv
      presencectl: this result has no columns of its own, which TSV and CSV need
    api GET app --max-response lots
      error: invalid value 'lots' for '--max-response <SIZE>': expected a number with B, KiB, MiB or GiB, such as 64MiB
    ");
    let columns = at_mock("api GET app -o csv --columns app.name,app.id");
    assert_eq!(columns.stdout_of_success(), "app.name,app.id\r\nmock,1\r\n");
    let (run, _) = against("api GET app", "", answer("200 OK", "", "<html>"));
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: the response (HTTP 200) is not a JSON object
    hint: check the path; a proxy may have answered
    --- exit Some(5)
    ");
}

#[test]
fn limits_are_listed_with_the_most_used_first() {
    let text = r#"{"server_side":{"QueryUsers":{"limit":1000,"remaining":990,"reset":1445412480},"UpdateUsers":{"limit":300,"remaining":300,"reset":1445412480}},
        "web":{"QueryUsers":{"limit":1000,"remaining":1,"reset":1445412480}},"ios":null,"duration":"1ms"}"#;
    let line = "limits --platform server,web --endpoint QueryUsers,UpdateUsers";
    let (run, request) = against(line, "", answer("200 OK", "", text));
    insta::assert_snapshot!(run.stdout_of_success(), @r#"
    {"platform":"web","endpoint":"QueryUsers","limit":1000,"remaining":1,"reset":"2015-10-21T07:28:00.000Z"}
    {"platform":"server","endpoint":"QueryUsers","limit":1000,"remaining":990,"reset":"2015-10-21T07:28:00.000Z"}
    {"platform":"server","endpoint":"UpdateUsers","limit":300,"remaining":300,"reset":"2015-10-21T07:28:00.000Z"}
    "#);
    let (line, query) = target(&request);
    assert_eq!(line, "GET /rate_limits");
    let query: Vec<String> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        query,
        [
            "server_side=true",
            "web=true",
            "endpoints=QueryUsers,UpdateUsers"
        ]
    );
}

/// A server that answers one request with this head, and then with `body` for as long as somebody reads.
fn endless(head: &str, body: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head_lines = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        assert_ne!(head_lines.count(), 0);
        stream.write_all(head.as_bytes()).unwrap();
        while stream.write_all(&body).is_ok() {}
    });
    (url, server)
}

#[test]
fn a_response_is_bounded_before_and_after_decompression() {
    let run_at = |url: &str, line: &str| Presencectl::line(line).at_url(url, "k", "s").run();
    let (url, server) = endless("", vec![b' '; 1 << 16]);
    insta::assert_snapshot!(run_at(&url, "api GET app"), @r"
    --- stderr
    presencectl: the response to GET /app is larger than 64 MiB
    hint: ask for less at a time; `presencectl api` takes --max-response SIZE
    --- exit Some(5)
    ");
    server.join().unwrap();

    let zeros = std::process::Command::new("sh")
        .args(["-c", "head -c 3000000 /dev/zero | gzip -c"])
        .output()
        .unwrap();
    let bomb = zeros.stdout;
    assert!(bomb.len() < 10_000, "a bomb is small: {}", bomb.len());
    let head = format!(
        "Content-Encoding: gzip\r\nContent-Length: {}\r\n",
        bomb.len()
    );
    let (url, server) = endless(&head, bomb);
    insta::assert_snapshot!(run_at(&url, "api GET app --max-response 1MiB"), @r"
    --- stderr
    presencectl: the response to GET /app is larger than 1 MiB
    hint: ask for less at a time; `presencectl api` takes --max-response SIZE
    --- exit Some(5)
    ");
    server.join().unwrap();
}
