//! Outages: `watch` and a mock server, each in its own process, while the server is paused, killed, restarted or limits
//! the rate.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chaos::OBSERVER;
use crate::chaos::processes::{Mock, Watch};
use crate::chaos::proxy::Proxy;
use crate::chaos::reader::Reader;
use crate::chaos::schedule::Trick;
use crate::support::mock::user_token;
use crate::support::{signal, wait_until};

fn world(johns_status: &str) -> Value {
    json!({"users": [{"id": "john", "status": johns_status}, {"id": "jack"}]})
}

fn ids() -> Vec<String> {
    vec!["john".to_owned(), "jack".to_owned()]
}

/// A watcher, once both users are covered.
async fn watching(mock: &Mock, flags: &[&str]) -> Watch {
    let mut all = vec!["--backoff-max", "100ms"];
    all.extend(flags);
    let mut watch = Watch::start(mock.address, &ids(), &all);
    assert!(watch.until(|told| told.coverage.is_some()).await);
    watch
}

fn is_as(told: &Reader, id: &str, field: &str, value: &Value) -> bool {
    told.table.get(id).and_then(|user| user.get(field)) == Some(value)
}

/// The end as a script sees it: the code, and the last record.
#[track_caller]
fn ended(code: Option<i32>, told: &Reader, expected: i32, reason: &str) {
    assert_eq!(told.broken, Vec::<String>::new());
    let end = told.end.as_ref().expect("the last record is told");
    assert_eq!(
        (code, &end["exit_code"], &end["reason"]),
        (Some(expected), &json!(expected), &json!(reason)),
        "{end}"
    );
    assert_eq!(end["gaps"], json!(told.gaps.len()), "{end}");
    assert_eq!(end["reconnects"], json!(told.reconnects), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_causes_a_gap_and_a_repair() {
    let mock = Mock::start(0, &world("before"), &[]).await;
    let mut watch = watching(&mock, &["--stale-after", "1s"]).await;
    let mut strict = watching(&mock, &["--stale-after", "1s", "--fail-on-gap"]).await;
    let mut once = watching(&mock, &["--stale-after", "1s", "--no-reconnect"]).await;
    signal(mock.pid(), "STOP");
    for watch in [&mut watch, &mut strict, &mut once] {
        assert!(
            watch.until(|told| told.losses > 0).await,
            "{}",
            watch.errors()
        );
    }
    let (code, told, errors) = once.end().await;
    ended(code, &told, 9, "lost");
    assert!(
        errors.contains("no frame from the server for 1s"),
        "{errors}"
    );
    signal(mock.pid(), "CONT");
    let _ = mock.control("users/john/connect", &json!({})).await;
    assert!(
        watch
            .until(|told| is_as(told, "john", "online", &json!(true)))
            .await
    );
    assert!(watch.until(|told| !told.gaps.is_empty()).await);
    let _ = mock.control("users/jack/connect", &json!({})).await;
    assert!(
        watch
            .until(|told| is_as(told, "jack", "online", &json!(true)))
            .await
    );
    let truth = mock.truth(&ids()).await;
    let is_true = |told: &Reader| told.differences(&truth).is_empty();
    assert!(
        watch.until(is_true).await,
        "{:?}",
        watch.look(|told| told.differences(&truth))
    );

    let (code, told, _) = strict.end().await;
    ended(code, &told, 10, "gap");
    signal(watch.pid(), "INT");
    let (code, told, _) = watch.end().await;
    ended(code, &told, 130, "interrupted");
    assert!(told.reconnects > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_restarted_server_causes_a_gap_that_names_changed_users() {
    let mock = Mock::start(0, &world("before"), &[]).await;
    let port = mock.address.port();
    let mut watch = watching(&mock, &[]).await;
    let strict = watching(&mock, &["--fail-on-gap"]).await;
    let once = watching(&mock, &["--no-reconnect"]).await;
    mock.kill().await;
    let (code, told, _) = once.end().await;
    ended(code, &told, 9, "lost");
    assert!(watch.until(|told| told.losses > 0).await);
    let mock = Mock::start(port, &world("after"), &[]).await;
    assert!(
        watch
            .until(|told| told.reconnects > 0 && !told.gaps.is_empty())
            .await
    );
    assert!(
        watch
            .until(|told| is_as(told, "john", "status", &json!("after")))
            .await
    );
    let repaired = watch.look(|told| told.gaps[0].repaired.clone());
    assert_eq!(repaired, ["john"]);
    let _ = mock.control("users/jack/connect", &json!({})).await;
    assert!(
        watch
            .until(|told| is_as(told, "jack", "online", &json!(true)))
            .await
    );

    let (code, told, _) = strict.end().await;
    ended(code, &told, 10, "gap");
    signal(watch.pid(), "TERM");
    let (code, told, _) = watch.end().await;
    ended(code, &told, 143, "terminated");
    assert_eq!((told.gaps.len(), told.reconnects), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_whom_a_restarted_server_has_lost_are_resent_without_a_state() {
    let mock = Mock::start(0, &world("before"), &[]).await;
    let port = mock.address.port();
    let _ = mock.control("users/john/connect", &json!({})).await;
    let mut watch = watching(&mock, &[]).await;
    assert!(
        watch
            .until(|told| is_as(told, "john", "online", &json!(true)))
            .await
    );
    mock.kill().await;
    let _mock = Mock::start(port, &json!({"users": []}), &[]).await;
    for id in ["john", "jack"] {
        let is_unknown = |told: &Reader| is_as(told, id, "online", &Value::Null);
        assert!(watch.until(is_unknown).await, "{id}: {}", watch.errors());
    }
    let (repaired, found) = watch.look(|told| (told.gaps[0].repaired.clone(), told.found.clone()));
    assert_eq!(repaired, ["john", "jack"]);
    let john = found.iter().find(|record| record["user"]["id"] == "john");
    let john = john.expect("john is re-sent");
    assert_eq!(
        (&john["type"], &john["source"], &john["previous"]["online"]),
        (
            &json!("user.presence.changed"),
            &json!("resync"),
            &json!(true)
        ),
        "{john}"
    );
    signal(watch.pid(), "INT");
    let (code, told, _) = watch.end().await;
    ended(code, &told, 130, "interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_during_a_gap_is_reported_once() {
    let mock = Mock::start(0, &world("here"), &[]).await;
    // Long enough that a busy machine does not cause a gap of its own.
    let mut watch = watching(&mock, &["--stale-after", "3s"]).await;
    let mut gaps = 0;
    // With the link as it should be, a name arrives as an event, and is no news after the next gap.
    for (lost, id, name) in [
        (true, "john", "Johnny"),
        (false, "john", "Jo"),
        (true, "jack", "Jack"),
        (true, "john", "J"),
    ] {
        if lost {
            // This event and everything after it is not heard.
            let fault =
                json!({"kind": "half-open", "user": OBSERVER, "event": "user.updated", "count": 1});
            let _ = mock.control("faults", &fault).await;
            gaps += 1;
        }
        let set = json!({"set": {"name": name}});
        let _ = mock.control(&format!("users/{id}/set"), &set).await;
        let told = |told: &Reader| told.gaps.len() == gaps && is_as(told, id, "name", &json!(name));
        assert!(watch.until(told).await, "{name}: {}", watch.errors());
    }
    signal(watch.pid(), "INT");
    let (code, told, _) = watch.end().await;
    ended(code, &told, 130, "interrupted");
    let repaired: Vec<&[String]> = told.gaps.iter().map(|gap| &gap.repaired[..]).collect();
    assert_eq!(repaired, [["john"], ["jack"], ["john"]]);
    let found: Vec<String> = told
        .found
        .iter()
        .map(|record| {
            let [kind, changed, previous] = ["type", "changed", "previous"].map(|f| &record[f]);
            let name = &record["user"]["name"];
            format!("{kind} {name} {changed} {previous}")
        })
        .collect();
    assert_eq!(
        found,
        [
            r#""user.updated" "Johnny" [] {}"#,
            r#""user.updated" "Jack" [] {}"#,
            r#""user.updated" "J" [] {}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_users_are_subscribed_within_the_rate_limit() {
    let people: Vec<String> = (0..5000).map(|n| format!("u{n:04}")).collect();
    let users: Vec<Value> = people.iter().map(|id| json!({ "id": id })).collect();
    // Channel calls cover 10 users and users calls 30.
    let caps = ["--presence-cap-channel", "10", "--presence-cap-users", "30"];
    let flags = [&caps[..], &["--rate-limit", "1000"]].concat();
    let mock = Mock::start(0, &json!({ "users": users }), &flags).await;
    let _ = mock.control("clock/run", &json!({"rate": 6})).await;
    let mut watch = Watch::start(mock.address, &people, &[]);
    let covered = |told: &Reader| {
        told.coverage
            .as_ref()
            .is_some_and(|coverage| coverage["subscribed"] == 5000)
    };
    assert!(watch.until(covered).await, "{}", watch.errors());
    let log = mock
        .call("GET", "/_mock/log?limit=100000", &Value::Null)
        .await;
    let statuses: Vec<&Value> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["path"] == "/users" && entry["method"] == "GET")
        .map(|entry| &entry["status"])
        .collect();
    assert_eq!(log["lost"], 0, "the log holds all of it");
    // A call for every thirty, and one or two to prepare the observer.
    assert!((167..=170).contains(&statuses.len()), "{}", statuses.len());
    assert!(
        statuses.iter().all(|status| **status == 200),
        "{statuses:?}"
    );
    let _ = mock.control("users/u4999/connect", &json!({})).await;
    assert!(
        watch
            .until(|told| is_as(told, "u4999", "online", &json!(true)))
            .await
    );
    signal(watch.pid(), "INT");
    let (code, told, errors) = watch.end().await;
    ended(code, &told, 130, "interrupted");
    assert!(!errors.contains("rate limited"), "{errors}");
    assert_eq!(told.table.len(), 5000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_shared_with_others_is_used_up_and_the_next_minute_awaited() {
    const LIMIT: usize = 600;
    const SPENT: usize = 580;
    let people: Vec<String> = (0..900).map(|n| format!("u{n:03}")).collect();
    let users: Vec<Value> = people.iter().map(|id| json!({ "id": id })).collect();
    let flags = ["--presence-cap-users", "30", "--rate-limit", "600"];
    let mock = Mock::start(0, &json!({ "users": users }), &flags).await;
    // Somebody else has used most of this minute already, and half of it is left.
    let _ = mock
        .control("clock/freeze", &json!({"to": "2026-01-05T12:00:30Z"}))
        .await;
    let one = "/users?payload=%7B%22filter_conditions%22%3A%7B%22id%22%3A%22u000%22%7D%7D";
    for _ in 0..SPENT {
        // What clients may do is counted apart from what servers may.
        let token = user_token("u000");
        let _ = mock.call_with(&token, "GET", one, &Value::Null).await;
    }
    let _ = mock.control("clock/run", &json!({"rate": 3})).await;
    let mut watch = Watch::start(mock.address, &people, &[]);
    let covered = |told: &Reader| {
        told.coverage
            .as_ref()
            .is_some_and(|coverage| coverage["subscribed"] == 900)
    };
    assert!(watch.until(covered).await, "{}", watch.errors());
    let log = mock
        .call("GET", "/_mock/log?limit=100000", &Value::Null)
        .await;
    assert_eq!(log["lost"], 0, "the log holds all of it");
    let requests: Vec<&Value> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["type"] == "mock.request")
        .collect();
    let refused: Vec<&&Value> = requests
        .iter()
        .filter(|entry| entry["status"].as_u64() >= Some(400))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let in_the_minute = |minute: &str| {
        let ours = |entry: &&&Value| {
            entry["path"] == "/users"
                && entry["method"] == "GET"
                && entry["user"] != Value::Null
                && entry["at"].as_str().unwrap().starts_with(minute)
        };
        requests.iter().filter(ours).count()
    };
    // As many as three calls may be under way, for which something is kept back.
    let first = in_the_minute("2026-01-05T12:00:");
    assert!((LIMIT - 6..=LIMIT).contains(&first), "{first}");
    let all = in_the_minute("2026-01-05T12:");
    assert!(all >= SPENT + 30 && first < all, "{first} of {all}");
    signal(watch.pid(), "INT");
    let (code, told, errors) = watch.end().await;
    ended(code, &told, 130, "interrupted");
    assert!(!errors.contains("rate limited"), "{errors}");
    assert_eq!(told.table.len(), 900);
}

/// Silences all open connections of a watcher of 300 users, lets so many answers on new ones be lost, and waits until all
/// users are subscribed again.
async fn recover(lost_answers: u32) -> (Proxy, String) {
    let people: Vec<String> = (0..300).map(|n| format!("u{n:03}")).collect();
    let users: Vec<Value> = people.iter().map(|id| json!({ "id": id })).collect();
    let mock = Mock::start(0, &json!({ "users": users }), &["--rate-limit", "100000"]).await;
    let proxy = Proxy::start(mock.address).await;
    let flags = ["--stale-after", "3s", "--backoff-max", "200ms"];
    let mut watch = Watch::start(proxy.address, &people, &flags);
    assert!(watch.until(|told| told.coverage.is_some()).await);
    proxy.play(Trick::Silence);
    for _ in 0..lost_answers {
        proxy.play(Trick::Swallow);
    }
    // This change falls into the gap.
    let _ = mock.control("users/u299/connect", &json!({})).await;
    assert!(watch.until(|told| told.losses > 0).await);
    let lost = Instant::now();
    if lost_answers > 0 {
        wait_until("a call fails", || watch.errors().contains("no answer"));
        let time = lost.elapsed();
        // Calls of a reconnect wait for 5 s, others for 30 s.
        assert!(time < Duration::from_secs(25), "{time:?}");
    }
    let recovered =
        |told: &Reader| !told.gaps.is_empty() && is_as(told, "u299", "online", &json!(true));
    assert!(watch.until(recovered).await, "{}", watch.errors());
    let _ = mock.control("users/u000/connect", &json!({})).await;
    assert!(
        watch
            .until(|told| is_as(told, "u000", "online", &json!(true)))
            .await
    );
    signal(watch.pid(), "INT");
    let (code, told, errors) = watch.end().await;
    ended(code, &told, 130, "interrupted");
    assert_eq!(told.gaps[0].repaired, ["u299"]);
    assert_eq!(told.coverage.unwrap()["subscribed"], 300);
    (proxy, errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_given_up_at_once_when_new_ones_work() {
    let (proxy, errors) = recover(0).await;
    assert!(!proxy.has_lost_requests(), "{errors}");
    assert!(!errors.contains("no answer"), "{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_during_a_reconnect_costs_seconds() {
    let _ = recover(1).await;
}
