//! Environment variables as they come from `.env` files and CI systems: with Windows line ends, empty, or one of two.

use crate::support::mock::{API_KEY, SECRET};
use crate::support::world::{presencectl, small_world};
use crate::support::{Presencectl, private_file};

/// The variables that set a flag, with a value that the flag takes.
const FLAGS: [(&str, &str); 14] = [
    ("PRESENCECTL_PROFILE", "p"),
    ("PRESENCECTL_CONFIG", "config.toml"),
    ("PRESENCECTL_BASE_URL", "http://127.0.0.1:PORT"),
    ("PRESENCECTL_AS", "john"),
    ("PRESENCECTL_OUTPUT", "tsv"),
    ("PRESENCECTL_COLUMNS", "id"),
    ("PRESENCECTL_TIMEOUT", "20s"),
    ("PRESENCECTL_CONNECT_TIMEOUT", "20s"),
    ("PRESENCECTL_RETRY", "1"),
    ("PRESENCECTL_COLOR", "never"),
    ("PRESENCECTL_NO_HEADERS", "0"),
    ("PRESENCECTL_DRY_RUN", "false"),
    ("PRESENCECTL_YES", "yes"),
    ("PRESENCECTL_ALLOW_HTTP", "1"),
];

#[test]
fn windows_line_ends_are_not_part_of_a_value() {
    let mock = small_world();
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    private_file(
        &config,
        "[profiles.p]\napi_key = 'test-key'\napi_secret_env = 'S'\n",
    );
    let mut command = presencectl(&mock, "get-user john").env("S", &format!("{SECRET}\r\n"));
    for (name, value) in FLAGS {
        let value = value
            .replace("PORT", &mock.address.port().to_string())
            .replace("config.toml", config.to_str().unwrap());
        command = command.env(name, &format!("{value}\r\n"));
    }
    assert_eq!(command.run().stdout_of_success(), "id\njohn\n");
    let run = Presencectl::line("get-user john --jq .id")
        .env("STREAM_CHAT_URL", &format!("{}\r", mock.url()))
        .env("STREAM_KEY", &format!("{API_KEY}\r"))
        .env("STREAM_SECRET", &format!(" {SECRET}\r"))
        .run();
    assert_eq!(run.stdout_of_success(), "john\n");
}

#[test]
fn an_empty_variable_is_not_set() {
    let mock = small_world();
    let mut command = presencectl(&mock, "get-user john --jq .id")
        .env("PRESENCECTL_USER_TOKEN", "")
        .env("PRESENCECTL_MOCK", "")
        .env("STREAM_KEY", "");
    for (name, _) in FLAGS {
        command = command.env(name, "");
    }
    assert_eq!(command.run().stdout_of_success(), "john\n");
}

#[test]
fn flags_without_a_value_have_a_variable() {
    let mock = small_world();
    let run = |line: &str, name: &str, value: &str| {
        presencectl(&mock, line).env(name, value).run().to_string()
    };
    let shown = [
        run(
            "set-user john --status new --jq .method",
            "PRESENCECTL_DRY_RUN",
            "1",
        ),
        run("get-user john --jq .status", "PRESENCECTL_JQ", ".id"),
        run("get-user john", "PRESENCECTL_JQ", ".id, .status"),
        run(
            "get-user john -o tsv --columns id",
            "PRESENCECTL_NO_HEADERS",
            "true",
        ),
        run("deactivate-user john --jq .id", "PRESENCECTL_YES", "1"),
        run("get-user john --jq .id", "PRESENCECTL_DRY_RUN", "perhaps"),
    ];
    insta::assert_snapshot!(shown.join("\n"), @r"
    PATCH
    --- stderr
    --- exit Some(0)
    Eating a veggie burger...
    --- stderr
    --- exit Some(0)
    john
    Eating a veggie burger...
    --- stderr
    --- exit Some(0)
    john
    --- stderr
    --- exit Some(0)
    john
    --- stderr
    --- exit Some(0)
    --- stderr
    error: invalid value 'perhaps' for '--dry-run': value was not a boolean (from the variable PRESENCECTL_DRY_RUN)

    For more information, try '--help'.
    --- exit Some(2)
    ");
}

#[test]
fn presencectl_mock_1_is_the_demonstration_world() {
    for value in ["1", "true", "1\r\n"] {
        let run = Presencectl::line("get-user john --jq .id")
            .env("PRESENCECTL_MOCK", value)
            .run();
        assert_eq!(run.stdout_of_success(), "john\n", "{value:?}");
    }
    let run = Presencectl::line("get-user john")
        .env("PRESENCECTL_MOCK", "0")
        .run();
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: there are no credentials for Stream Chat
    hint: try it without an account by adding --mock; or set STREAM_API_KEY and STREAM_API_SECRET (from the Stream dashboard), or STREAM_API_KEY and PRESENCECTL_USER_TOKEN
    --- exit Some(4)
    ");
}

#[test]
fn the_missing_one_of_two_variables_is_named() {
    let told = |variables: &[(&str, &str)], line: &str| {
        let mut command = Presencectl::line(line);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.run().ended_with(4).stderr
    };
    let key = ("STREAM_API_KEY", "k");
    let secret = ("STREAM_API_SECRET", "s");
    insta::assert_snapshot!([
        told(&[key], "query-users"),
        told(&[secret], "query-users"),
        told(&[("PRESENCECTL_USER_TOKEN", "t")], "query-users"),
        told(&[key, ("STREAM_API_SECRET", "")], "query-users"),
        told(&[("STREAM_API_KEY", ""), ("STREAM_API_SECRET", "")], "query-users"),
        told(&[("STREAM_API_SECRET", "\r\n")], "token create john"),
    ].concat(), @r"
    presencectl: STREAM_API_KEY is set, and STREAM_API_SECRET is not
    hint: set STREAM_API_SECRET as well, or PRESENCECTL_USER_TOKEN for what one user may do
    presencectl: STREAM_API_SECRET is set, and STREAM_API_KEY is not
    hint: set STREAM_API_KEY as well
    presencectl: PRESENCECTL_USER_TOKEN is set, and STREAM_API_KEY is not
    hint: set STREAM_API_KEY as well
    presencectl: the variable STREAM_API_SECRET is empty
    hint: set STREAM_API_SECRET; CI systems leave secrets empty in a pull request from a fork: skip this step there, or add --mock
    presencectl: the variable STREAM_API_KEY is empty
    hint: set STREAM_API_KEY; CI systems leave secrets empty in a pull request from a fork: skip this step there, or add --mock
    presencectl: the variable STREAM_API_SECRET is empty
    hint: set STREAM_API_SECRET; CI systems leave secrets empty in a pull request from a fork: skip this step there, or add --mock
    ");
}
