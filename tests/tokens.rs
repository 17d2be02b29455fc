//! `token`: signing, reading and checking, all without a server.

use crate::support::{Presencectl, Run};

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
    let token = create("token create john");
    let run = Presencectl::line("token verify -")
        .env("STREAM_API_SECRET", "another")
        .run_with(&token)
        .ended_with(4);
    assert_eq!(
        run.stderr,
        "presencectl: the token's signature does not match the secret\n\
         hint: make a good one: presencectl token create ID --ttl 1h\n"
    );
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
    let run: Run = Presencectl::line("token create john").run().ended_with(4);
    assert!(run.stderr.contains("STREAM_API_SECRET"), "{run}");
}
