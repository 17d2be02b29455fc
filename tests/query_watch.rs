//! `--watch` of the queries: what was found is followed from then on.

use crate::support::{Presencectl, Stream};

fn followed(line: &str) -> (Vec<String>, serde_json::Value) {
    let mut stream: Stream = Presencectl::line(line).stream();
    let mut ids = Vec::new();
    loop {
        let record = stream.record();
        if record["type"] == "presence.coverage" {
            stream.signal("INT");
            let (_, status) = stream.end();
            assert_eq!(status.code(), Some(130));
            ids.sort();
            return (ids, record);
        }
        assert_eq!(record["type"], "presence.snapshot", "{record}");
        ids.push(record["user"]["id"].as_str().unwrap().to_owned());
    }
}

#[test]
fn found_users_are_followed() {
    let (ids, coverage) = followed("--mock query-users --name-prefix J --watch");
    assert_eq!(ids, ["jack", "john"]);
    assert_eq!(coverage["subscribed"], 2, "{coverage}");
}

#[test]
fn the_members_of_found_channels_are_followed() {
    let filter = r#"--filter {"color":"green"}"#;
    let (ids, coverage) = followed(&format!("--mock query-channels {filter} --watch"));
    assert_eq!(ids, ["jack", "john"]);
    assert_eq!(coverage["requested"], 2, "{coverage}");
}

#[test]
fn an_empty_result_with_fail_empty_exits_with_3() {
    let line = "--mock query-users --role nobody --watch --fail-empty";
    insta::assert_snapshot!(Presencectl::line(line).run(), @r"
    --- stderr
    presencectl: no user matches
    --- exit Some(3)
    ");
}
