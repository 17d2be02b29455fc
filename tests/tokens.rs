//! `token`: signing, reading and checking, all without a server.

use chrono::{DateTime, TimeDelta, Utc};
use presencectl::domain::token::{self, Claims};

use crate::support::mock::SECRET;
use crate::support::world::{presencectl as presencectl_at, small_world};
use crate::support::{Presencectl, transcript, usage_errors};

fn presencectl(line: &str) -> Presencectl {
    Presencectl::line(line).env("STREAM_API_SECRET", "secret")
}

fn create(line: &str) -> String {
    presencectl(line)
        .run()
        .stdout_of_success()
        .trim()
        .to_owned()
}

#[test]
fn a_created_token_is_bare_and_verifies() {
    let token = create("token create john --ttl 1h");
    assert_eq!(token.split('.').count(), 3, "{token}");
    let run = presencectl("token verify -").run_with(&token);
    let claims = &run.records()[0];
    assert_eq!(claims["user_id"], "john");
    assert_eq!(claims["valid"], true);
    assert!(claims["expires_at"].is_string());
}

#[test]
fn a_wrong_secret_exits_with_4() {
    let run = Presencectl::line("token verify -")
        .env("STREAM_API_SECRET", "another")
        .run_with(&create("token create john"));
    insta::assert_snapshot!(run, @r"
    --- stderr
    presencectl: the token's signature does not match the secret
    hint: make a good one: presencectl token create ID --ttl 1h
    --- exit Some(4)
    ");
}

#[test]
fn inspect_needs_no_secret() {
    let token = create("token create john");
    let run = Presencectl::line("token inspect")
        .env("PRESENCECTL_USER_TOKEN", &token)
        .run();
    assert_eq!(run.records()[0]["user_id"], "john");
}

#[test]
fn without_a_secret_the_error_says_what_to_do() {
    insta::assert_snapshot!(Presencectl::line("token create john").run(), @r"
    --- stderr
    presencectl: this command needs the API secret, and there is none
    hint: set STREAM_API_SECRET, or add a profile: presencectl profile add
    --- exit Some(4)
    ");
}

#[test]
fn a_created_token_was_issued_a_minute_ago() {
    let mock = small_world();
    let before: DateTime<Utc> = Utc::now();
    let created = presencectl_at(&mock, "token create john --ttl 1h -o ndjson").run();
    let issued: DateTime<Utc> = created.records()[0]["issued_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let age = before - issued;
    assert!(age > TimeDelta::seconds(30), "{created}");
}

/// Revocation fails tokens without a time of issue, so those that are signed for each call have one.
#[test]
fn a_call_as_a_user_works_after_older_tokens_were_revoked() {
    let mock = small_world();
    let limit = (Utc::now() - TimeDelta::minutes(10)).to_rfc3339();
    let revoke = format!(r#"set-user john --set-json revoke_tokens_issued_before="{limit}""#);
    let _ = presencectl_at(&mock, &revoke).run().ended_with(0);
    let old = Claims {
        iat: Some((Utc::now() - TimeDelta::hours(1)).timestamp()),
        ..Claims::user("john")
    };
    for claims in [Claims::user("john"), old] {
        let _ = presencectl_at(&mock, "get-user john")
            .env("PRESENCECTL_USER_TOKEN", &token::sign(SECRET, &claims))
            .run()
            .ended_with(4);
    }
    for line in [
        "get-user john --as john",
        "watch users john --as john --snapshot only",
    ] {
        let _ = presencectl_at(&mock, line).run().ended_with(0);
    }
    let mut hold = presencectl_at(&mock, "hold john").stream();
    assert_eq!(hold.record()["user"]["online"], true);
}

#[test]
fn a_token_from_the_future_gets_a_hint_about_clocks() {
    let mock = small_world();
    let claims = Claims {
        iat: Some(Utc::now().timestamp() + 3600),
        ..Claims::user("john")
    };
    let token = token::sign(SECRET, &claims);
    let lines = ["get-user john", "watch users john", "token verify"];
    let shown = transcript(lines, |line| {
        presencectl_at(&mock, line)
            .env("PRESENCECTL_USER_TOKEN", &token)
            .run()
    });
    insta::assert_snapshot!(shown, @r#"
    $ get-user john
    2> presencectl: cannot read john: the API refused (HTTP 401, code 42): QueryUsers failed with error: "JWTAuth error: token used before issue at (iat)"
    2> hint: compare the clocks: presencectl doctor; set the one that is wrong, or sign with an earlier `iat`, as presencectl token create ID --ttl 1h does
    exit 4
    $ watch users john
    2> presencectl: watching as john; this user is online until the command ends.
    2> presencectl: cannot watch: the API refused (HTTP 401, code 42): Connect failed with error: "JWTAuth error: token used before issue at (iat)"
    2> hint: compare the clocks: presencectl doctor; set the one that is wrong, or sign with an earlier `iat`, as presencectl token create ID --ttl 1h does
    exit 4
    $ token verify
    2> presencectl: the token was issued in the future
    2> hint: compare this machine's clock with that of the machine that signed it: presencectl doctor
    exit 4
    "#);
}

#[test]
fn acting_as_somebody_else_needs_the_secret() {
    let mock = small_world();
    let token = token::sign(SECRET, &Claims::user("john"));
    let lines = [
        "get-user john --as jack",
        "watch users john --as jack -n 1",
        "hold jack --as jack",
        "wait user john --for online --as jack",
    ];
    let shown = usage_errors(lines, |line| {
        presencectl_at(&mock, line)
            .env("PRESENCECTL_USER_TOKEN", &token)
            .run()
    });
    insta::assert_snapshot!(shown, @r"
    get-user john --as jack
    watch users john --as jack -n 1
    hold jack --as jack
    wait user john --for online --as jack
      presencectl: --as jack needs the API secret, and PRESENCECTL_USER_TOKEN is a token of john
    ");
}
