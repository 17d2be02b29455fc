//! Bad input and failed connections: each has an exit code, a message that names the thing, and a hint.

use presencectl::domain::token::{self, Claims};

use crate::support::literal::run_against;
use crate::support::mock::{Mock, SECRET};
use crate::support::{CLOSED_URL, Presencectl, usage_errors};

#[test]
fn missing_credentials_have_a_hint_for_both_ways_out() {
    let run = Presencectl::line("query-users").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: there are no credentials for Stream Chat
    hint: try it without an account by adding --mock; or set STREAM_API_KEY and STREAM_API_SECRET (from the Stream dashboard), or STREAM_API_KEY and PRESENCECTL_USER_TOKEN
    --- exit Some(4)
    ");
}

#[test]
fn a_malformed_filter_is_bad_usage() {
    let run = Presencectl::line("--mock query-users --filter {id:john}").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    error: invalid value '{id:john}' for '--filter <JSON>': not a JSON object: key must be a string at line 1 column 2; an example is '{"role":"admin"}'

    For more information, try '--help'.
    --- exit Some(2)
    "#);
}

#[test]
fn an_unknown_flag_value_is_bad_usage() {
    let run = Presencectl::line("--mock query-users -o yaml").run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    error: invalid value 'yaml' for '--output <auto|table|json|ndjson|tsv|csv>'
      [possible values: auto, table, json, ndjson, tsv, csv]

    For more information, try '--help'.
    --- exit Some(2)
    ");
}

#[test]
fn an_empty_team_is_bad_usage() {
    // As with a variable of a script that is not set.
    let lines = [
        "query-users --team ''",
        "query-channels --team ''",
        "watch users amy --team ''",
        "watch channel c --team ''",
        "watch channels --team ''",
        "wait user amy --for online --team ''",
        "wait channel c --for true --team ''",
    ];
    insta::assert_snapshot!(usage_errors(lines, |line| Presencectl::line(line).run()), @r"
    query-users --team ''
    query-channels --team ''
    watch users amy --team ''
    watch channel c --team ''
    watch channels --team ''
    wait user amy --for online --team ''
    wait channel c --for true --team ''
      error: a value is required for '--team <TEAM>' but none was supplied
    ");
}

#[test]
fn a_wrong_key_or_secret_exits_with_4() {
    let mock = Mock::start();
    let line = || Presencectl::line("query-users").at(&mock);
    let run = line().env("STREAM_API_KEY", "other").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: cannot query users: the API refused (HTTP 401, code 2): QueryUsers failed with error: "api_key not valid"
    hint: check the API key: STREAM_API_KEY, or --profile
    --- exit Some(4)
    "#);
    let run = line().env("STREAM_API_SECRET", "other").run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: cannot query users: the API refused (HTTP 401, code 43): QueryUsers failed with error: "signature is not valid"
    hint: check that the secret belongs to the API key: STREAM_API_SECRET, or --profile
    --- exit Some(4)
    "#);
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
    let run = Presencectl::line("query-users")
        .at(&mock)
        .env("PRESENCECTL_USER_TOKEN", &expired)
        .run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    presencectl: cannot query users: the API refused (HTTP 401, code 40): QueryUsers failed with error: "the token expired at 2001-09-09T01:46:40.000Z"
    hint: get a fresh token: presencectl token create ID --ttl 1h; where they are signed here, look for a clock that is wrong (presencectl doctor) or tokens that were revoked
    --- exit Some(4)
    "#);
}

#[test]
fn a_closed_port_exits_with_7() {
    let run = Presencectl::line("query-users --retry 0")
        .at_url(CLOSED_URL, "k", "s")
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot query users: cannot connect to 127.0.0.1:1: Connection refused (os error 111)
    hint: check the address (--base-url or STREAM_CHAT_URL) and the network; to try without either: --mock
    --- exit Some(7)
    ");
}

#[test]
fn an_html_response_exits_with_5() {
    let portal = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<html>portal</html>\n";
    let (run, _) = run_against(
        Presencectl::line("query-users"),
        "",
        vec![portal.to_owned()],
    );
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: cannot query users: the answer to GET /users (HTTP 200) is not what the API speaks; it starts with `<html>portal</html>`
    hint: check the address: --base-url or STREAM_CHAT_URL; a proxy may have answered
    --- exit Some(5)
    ");
}

#[test]
fn a_secret_is_not_sent_over_plain_http_to_other_machines() {
    let run = Presencectl::line("query-users")
        .at_url("http://chat.example.com", "k", "s")
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: not sending credentials to http://chat.example.com: it is neither https nor this machine
    hint: write https:// in --base-url or STREAM_CHAT_URL; for a mock on a network you trust: --allow-http
    --- exit Some(2)
    ");
}

#[test]
fn an_error_is_one_json_object_where_json_was_asked_for() {
    let mock = Mock::start();
    let run = Presencectl::line("get-channel nowhere -o ndjson")
        .at(&mock)
        .run();
    insta::assert_snapshot!(run, @r#"
    --- stderr
    {"error":{"kind":"refused","message":"cannot read the channel messaging:nowhere: the API refused (HTTP 404, code 16): GetChannel failed with error: \"Can't find channel with id messaging:nowhere\"","exit_code":5,"api_code":16,"hint":"list channels: presencectl query-channels"}}
    --- exit Some(5)
    "#);
}
