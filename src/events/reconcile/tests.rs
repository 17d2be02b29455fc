//! Tests of the reconciler's rules. Each test is a sequence of events and answers.

use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::events::subscriptions::KnownUser;

fn at(second: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + i64::from(second), 0).unwrap()
}

fn event(kind: &str, user: &Value, second: u32) -> ReceivedFrame {
    let event = json!({"type": kind, "created_at": millis(at(second)), "user": user});
    frame(&event.to_string(), second)
}

fn presence(id: &str, online: bool, second: u32) -> ReceivedFrame {
    event(
        USER_PRESENCE_CHANGED,
        &json!({"id": id, "online": online}),
        second,
    )
}

fn member(kind: &str, id: &str, second: u32) -> ReceivedFrame {
    let event = json!({"type": kind, "cid": "messaging:c", "user": {"id": id}, "created_at": millis(at(second))});
    frame(&event.to_string(), second)
}

fn frame(text: &str, second: u32) -> ReceivedFrame {
    ReceivedFrame {
        at: at(second),
        text: text.into(),
    }
}

fn user(id: &str, online: bool) -> User {
    serde_json::from_value(json!({"id": id, "online": online})).unwrap()
}

fn channel(members: &[(&str, bool)], total: usize) -> ChannelState {
    let members: Vec<Value> = members
        .iter()
        .map(|(id, online)| json!({"user_id": id, "user": {"id": id, "online": online}}))
        .collect();
    serde_json::from_value(json!({
        "channel": {"cid": "messaging:c", "member_count": total},
        "members": members,
    }))
    .unwrap()
}

/// A reconciler and its surroundings: queries and emitted records are collected.
struct Harness {
    reconciler: Reconciler,
    told: Vec<String>,
}

impl Harness {
    fn new(users: &[&str]) -> Self {
        let mut reconciler = Reconciler::new("eye", Shard::ALL, false);
        for id in users {
            reconciler.subscriptions.request(id, Reason::Named);
        }
        Self {
            reconciler,
            told: Vec::new(),
        }
    }

    fn receive(&mut self, frame: ReceivedFrame) {
        if let Some(frame) = self.reconciler.receive(frame) {
            self.decide(&frame);
        }
        self.drain();
    }

    fn decide(&mut self, frame: &ReceivedFrame) {
        let event = Event::parse(&frame.text).unwrap();
        if let Decision::Emit(change) = self.reconciler.decide(&event, frame) {
            let user = event.user.as_ref();
            let id = user.map_or("-", |user| &user.id);
            let online = user.and_then(|user| user.online);
            let changed = change.map_or("?".to_owned(), |change| format!("{:?}", change.changed));
            self.told
                .push(format!("{} {id} {online:?} {changed}", event.kind));
        }
    }

    fn ask(&mut self) -> Vec<String> {
        let ids = self.reconciler.subscriptions.take_queued(usize::MAX);
        ids.into_iter().map(String::from).collect()
    }

    fn answer(&mut self, asked: &[&str], found: &[(&str, bool)], second: u32) {
        let query = Query::Users(asked.iter().map(|id| (*id).into()).collect());
        let users = found.iter().map(|(id, online)| user(id, *online)).collect();
        self.reconciler
            .apply_answer(at(second), query, Answer::Users(users, HashMap::new()));
        self.drain();
    }

    fn channel(&mut self, state: ChannelState, second: u32) -> Vec<Query> {
        let query = Query::Channels(vec!["messaging:c".parse().unwrap()]);
        let answer = Answer::Channels {
            states: vec![state],
            refused: Vec::new(),
            more: false,
        };
        let further = self.reconciler.apply_answer(at(second), query, answer);
        self.drain();
        further
    }

    fn conclude(&mut self, second: u32) {
        self.reconciler.conclude(at(second));
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            if let Some((_, pending)) = self.reconciler.next_pending() {
                self.told.push(match pending {
                    Pending::Snapshot(user) => format!("snapshot {}", user.id()),
                    Pending::Resync { text, change, .. } => {
                        let event = Event::parse(&text).unwrap();
                        let user = event.user.unwrap();
                        format!(
                            "resync {} {} {:?} {:?}",
                            event.kind, user.id, user.online, change.changed
                        )
                    }
                    Pending::Gap(gap) => {
                        format!(
                            "gap {}..{} {:?}",
                            &gap.from[17..19],
                            &gap.to[17..19],
                            gap.repaired
                        )
                    }
                    Pending::Coverage(coverage) => format!(
                        "coverage {}/{} {:?}",
                        coverage.subscribed, coverage.requested, coverage.missing
                    ),
                    Pending::Connection(link) => format!("link {}", link.online),
                    Pending::Recovered => "recovered".to_owned(),
                    Pending::Notice(text) => format!("notice {text}"),
                });
            } else if let Some(frame) = self.reconciler.next_queued() {
                self.decide(&frame);
            } else {
                return;
            }
        }
    }

    /// The records emitted since the last call.
    fn emitted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

/// Watching amy (online) and bob (offline), with the initial records already emitted.
fn watching() -> Harness {
    let mut harness = Harness::new(&["amy", "bob"]);
    assert_eq!(harness.ask(), ["amy", "bob"]);
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 1);
    harness.conclude(1);
    assert_eq!(
        harness.emitted(),
        ["snapshot amy", "snapshot bob", "coverage 2/2 []"]
    );
    harness
}

#[test]
fn events_are_emitted_in_order_of_arrival() {
    let mut harness = watching();
    harness.receive(presence("bob", true, 2));
    harness.receive(presence("bob", true, 3));
    harness.receive(frame(r#"{"type":"some.future.thing"}"#, 4));
    assert_eq!(
        harness.emitted(),
        [
            "user.presence.changed bob Some(true) [Online]",
            "user.presence.changed bob Some(true) []",
            "some.future.thing - None ?",
        ]
    );
}

#[test]
fn at_the_start_an_event_waits_for_its_users_snapshot_and_for_nobody_elses() {
    let mut harness = Harness::new(&["amy", "bob"]);
    harness.ask();
    harness.receive(presence("amy", false, 1));
    harness.receive(presence("amy", true, 2));
    harness.answer(&["bob"], &[("bob", false)], 3);
    harness.receive(presence("bob", true, 4));
    assert_eq!(
        harness.emitted(),
        [
            "snapshot bob",
            "user.presence.changed bob Some(true) [Online]"
        ]
    );
    harness.answer(&["amy"], &[("amy", true)], 5);
    assert_eq!(
        harness.emitted(),
        [
            "snapshot amy",
            "user.presence.changed amy Some(false) [Online]",
            "user.presence.changed amy Some(true) [Online]",
        ]
    );
}

#[test]
fn a_user_who_does_not_exist_is_missing_until_created() {
    let mut harness = Harness::new(&["amy", "ghost"]);
    harness.ask();
    harness.answer(&["amy", "ghost"], &[("amy", true)], 1);
    harness.conclude(1);
    assert_eq!(
        harness.emitted(),
        ["snapshot amy", r#"coverage 1/2 ["ghost"]"#]
    );
    harness.conclude(2);
    assert!(harness.emitted().is_empty(), "nothing new, nothing said");
    harness.reconciler.retry_missing();
    assert_eq!(harness.ask(), ["ghost"]);
    harness.answer(&["ghost"], &[("ghost", false)], 3);
    harness.conclude(3);
    assert_eq!(harness.emitted(), ["snapshot ghost", "coverage 2/2 []"]);
}

#[test]
fn after_a_loss_only_differences_follow_the_gap() {
    let mut harness = watching();
    harness.receive(presence("amy", true, 10));
    harness.emitted();
    harness.reconciler.connection_lost(at(20), "gone");
    assert_eq!(harness.ask(), ["amy", "bob"]);
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 30);
    assert!(harness.emitted().is_empty(), "the gap comes first");
    harness.conclude(31);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 09..31 ["bob"]"#,
            "resync user.presence.changed bob Some(true) [Online]",
            "recovered",
        ]
    );
}

#[test]
fn a_gap_after_silence_begins_with_the_connection() {
    let mut harness = Harness::new(&["amy"]);
    harness
        .reconciler
        .connection_opened(&frame(r#"{"type":"health.check"}"#, 3));
    harness.ask();
    harness.answer(&["amy"], &[("amy", true)], 4);
    harness.conclude(4);
    harness.emitted();
    harness.reconciler.connection_lost(at(40), "silent");
    harness.ask();
    harness.answer(&["amy"], &[("amy", true)], 41);
    harness.conclude(41);
    assert_eq!(harness.emitted(), ["gap 02..41 []", "recovered"]);
}

#[test]
fn an_event_during_the_repair_is_emitted_after_it_and_wins() {
    let mut harness = watching();
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    // Bob comes and goes while the answer, which shows them online, is on its way.
    harness.receive(presence("bob", true, 21));
    harness.receive(presence("bob", false, 22));
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 23);
    harness.conclude(23);
    assert_eq!(
        harness.emitted()[1..],
        [
            "resync user.presence.changed bob Some(true) [Online]",
            "recovered",
            "user.presence.changed bob Some(true) []",
            "user.presence.changed bob Some(false) [Online]",
        ]
    );
    assert_eq!(
        harness
            .reconciler
            .subscriptions
            .presence("bob")
            .unwrap()
            .online,
        Some(false)
    );
}

#[test]
fn a_loss_during_the_repair_is_one_gap_and_forgets_no_difference() {
    let mut harness = watching();
    harness.receive(presence("amy", true, 10));
    harness.emitted();
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    harness.answer(&["amy"], &[("amy", false)], 21);
    harness.receive(presence("bob", true, 22));
    harness.reconciler.connection_lost(at(30), "gone again");
    assert_eq!(harness.reconciler.buffered_frames(), 0);
    assert_eq!(harness.ask(), ["amy", "bob"]);
    harness.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 31);
    harness.conclude(31);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 09..31 ["amy", "bob"]"#,
            "resync user.presence.changed amy Some(false) [Online]",
            "resync user.presence.changed bob Some(true) [Online]",
            "recovered",
        ]
    );
}

#[test]
fn frames_held_at_a_loss_are_inside_the_gap() {
    let mut harness = watching();
    harness.reconciler.subscriptions.invalidate("bob");
    harness.receive(presence("bob", true, 5));
    harness.receive(presence("amy", false, 9));
    harness.emitted();
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 21);
    harness.conclude(21);
    assert_eq!(harness.emitted()[0], r#"gap 05..21 ["bob"]"#);
}

#[test]
fn a_gap_begins_at_the_time_in_the_last_frame_not_at_its_arrival() {
    let mut harness = watching();
    let late = ReceivedFrame {
        at: at(15),
        ..presence("bob", true, 5)
    };
    harness.receive(late);
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 21);
    harness.conclude(21);
    assert!(harness.emitted().contains(&"gap 04..21 []".to_owned()));
}

#[test]
fn an_event_that_was_overtaken_and_lost_is_inside_the_gap() {
    let mut harness = watching();
    // Amy left at 9, and the frame that says so was to come after the one about Bob.
    harness.receive(presence("bob", true, 10));
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 21);
    harness.conclude(21);
    assert!(
        harness
            .emitted()
            .contains(&r#"gap 09..21 ["amy"]"#.to_owned())
    );
}

#[test]
fn an_unreadable_frame_is_a_gap_without_a_reconnect() {
    let mut harness = watching();
    let before = presence("amy", true, 5);
    harness.receive(before.clone());
    harness.emitted();
    harness
        .reconciler
        .frame_unreadable(at(7), &before, "garbage");
    assert_eq!(harness.ask(), ["amy", "bob"]);
    harness.receive(presence("amy", true, 8));
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 9);
    harness.conclude(9);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 04..09 ["bob"]"#,
            "resync user.presence.changed bob Some(true) [Online]",
            "user.presence.changed amy Some(true) []",
        ]
    );
}

#[test]
fn what_an_unreadable_frame_overtook_does_not_win_over_the_answer() {
    let mut harness = watching();
    let before = presence("amy", true, 5);
    harness.receive(before.clone());
    harness.emitted();
    // Amy left and came back. The frame about Amy's return arrived first, and was unreadable.
    harness
        .reconciler
        .frame_unreadable(at(7), &before, "garbage");
    harness.ask();
    harness.receive(presence("amy", false, 6));
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 9);
    harness.conclude(9);
    assert_eq!(
        harness.ask(),
        ["amy"],
        "the event may be older than the answer"
    );
    harness.answer(&["amy"], &[("amy", true)], 10);
    harness.conclude(10);
    assert_eq!(
        harness.emitted(),
        [
            "gap 04..09 []",
            "user.presence.changed amy Some(false) [Online]",
            "resync user.presence.changed amy Some(true) [Online]",
        ]
    );
    harness.receive(presence("amy", false, 11));
    assert!(
        harness.ask().is_empty(),
        "from then on events are the last word"
    );
}

#[test]
fn swapped_events_are_emitted_and_corrected() {
    let mut harness = watching();
    harness.receive(presence("bob", false, 9));
    harness.receive(presence("bob", true, 8));
    assert_eq!(harness.ask(), ["bob"]);
    harness.receive(presence("bob", true, 10));
    harness.answer(&["bob"], &[("bob", false)], 10);
    assert_eq!(
        harness.emitted(),
        [
            "user.presence.changed bob Some(false) []",
            "user.presence.changed bob Some(true) [Online]",
            "resync user.presence.changed bob Some(false) [Online]",
            "user.presence.changed bob Some(true) [Online]",
        ]
    );
}

#[test]
fn a_resync_of_the_status_alone_is_an_update() {
    let mut harness = watching();
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    let query = Query::Users(vec!["amy".into(), "bob".into()]);
    let users = vec![
        serde_json::from_value(json!({"id": "amy", "online": true, "status": "x"})).unwrap(),
        user("bob", false),
    ];
    harness
        .reconciler
        .apply_answer(at(21), query, Answer::Users(users, HashMap::new()));
    harness.conclude(21);
    assert_eq!(
        harness.emitted()[1],
        "resync user.updated amy Some(true) [Status]"
    );
}

/// Amy, online, by this name since that second.
fn named(name: &str, second: u32) -> Value {
    json!({"id": "amy", "online": true, "name": name, "updated_at": millis(at(second))})
}

fn answer_named(harness: &mut Harness, name: &str, changed_at: u32, second: u32) {
    let amy = serde_json::from_value(named(name, changed_at)).unwrap();
    let answer = Answer::Users(vec![amy], HashMap::new());
    let query = Query::Users(vec!["amy".into()]);
    harness.reconciler.apply_answer(at(second), query, answer);
    harness.drain();
}

#[test]
fn a_new_name_is_emitted_once_after_a_gap() {
    let mut harness = Harness::new(&["amy"]);
    harness.ask();
    answer_named(&mut harness, "Amy", 0, 1);
    harness.conclude(1);
    harness.emitted();
    for (second, name) in [(10, "Ann"), (20, "Ann")] {
        harness.reconciler.connection_lost(at(second), "gone");
        harness.ask();
        answer_named(&mut harness, name, 9, second);
        harness.conclude(second);
    }
    harness.receive(event(USER_UPDATED, &named("Ada", 25), 25));
    harness.reconciler.connection_lost(at(30), "gone");
    harness.ask();
    answer_named(&mut harness, "Ada", 25, 30);
    harness.conclude(30);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 10..10 ["amy"]"#,
            "resync user.updated amy Some(true) []",
            "recovered",
            "gap 20..20 []",
            "recovered",
            "user.updated amy Some(true) []",
            "gap 24..30 []",
            "recovered",
        ]
    );
}

#[test]
fn a_name_that_changes_during_the_repair_is_emitted_in_order() {
    let mut harness = Harness::new(&["amy"]);
    harness.ask();
    answer_named(&mut harness, "Amy", 0, 1);
    harness.conclude(1);
    harness.emitted();
    harness.reconciler.connection_lost(at(10), "gone");
    harness.ask();
    harness.receive(event(USER_UPDATED, &named("Ada", 12), 12));
    // The answer is older than the event, and the event is what the next gap is compared with.
    answer_named(&mut harness, "Ann", 9, 13);
    harness.conclude(13);
    harness.reconciler.connection_lost(at(20), "gone");
    harness.ask();
    answer_named(&mut harness, "Ada", 12, 21);
    harness.conclude(21);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 10..13 ["amy"]"#,
            "resync user.updated amy Some(true) []",
            "recovered",
            "user.updated amy Some(true) []",
            "gap 11..21 []",
            "recovered",
        ]
    );
}

#[test]
fn a_user_who_is_gone_after_a_gap_is_resent_without_a_state() {
    let mut harness = watching();
    harness.reconciler.connection_lost(at(5), "gone");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("bob", false)], 6);
    harness.conclude(6);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 05..06 ["amy"]"#,
            "resync user.presence.changed amy None [Online]",
            r#"coverage 1/2 ["amy"]"#,
            "recovered",
        ]
    );
    harness.reconciler.connection_lost(at(7), "gone");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("bob", false)], 8);
    harness.conclude(8);
    assert_eq!(
        harness.emitted(),
        ["gap 07..08 []", "recovered"],
        "said once"
    );
}

#[test]
fn the_return_of_a_user_who_was_gone_is_a_change() {
    let missing = || {
        let mut harness = watching();
        harness.reconciler.connection_lost(at(5), "gone");
        harness.ask();
        harness.answer(&["amy", "bob"], &[("bob", false)], 6);
        harness.conclude(6);
        harness.emitted();
        harness
    };
    // First an event about amy, then the answer, which may be newer than the event.
    for (online, then) in [
        (false, None),
        (
            true,
            Some("resync user.presence.changed amy Some(true) [Online]"),
        ),
    ] {
        let mut harness = missing();
        harness.receive(presence("amy", false, 7));
        assert_eq!(harness.ask(), ["amy"]);
        harness.answer(&["amy"], &[("amy", online)], 8);
        harness.conclude(8);
        let expected: Vec<&str> = ["user.presence.changed amy Some(false) [Online]"]
            .into_iter()
            .chain(then)
            .chain(["coverage 2/2 []"])
            .collect();
        assert_eq!(harness.emitted(), expected);
    }
    let mut harness = missing();
    harness.reconciler.retry_missing();
    harness.ask();
    harness.answer(&["amy"], &[("amy", true)], 20);
    harness.conclude(20);
    assert_eq!(
        harness.emitted(),
        [
            "resync user.presence.changed amy Some(true) [Online]",
            "coverage 2/2 []"
        ]
    );
}

#[test]
fn a_small_channel_needs_no_further_question() {
    let mut harness = Harness::new(&[]);
    assert!(
        harness
            .channel(channel(&[("amy", true), ("bob", false)], 2), 1)
            .is_empty()
    );
    assert!(harness.ask().is_empty());
    harness.conclude(1);
    assert_eq!(
        harness.emitted(),
        ["snapshot amy", "snapshot bob", "coverage 2/2 []"]
    );
}

#[test]
fn a_large_channel_asks_for_all_its_members() {
    let mut harness = Harness::new(&[]);
    let further = harness.channel(channel(&[("amy", true)], 3), 1);
    let [Query::Members(cid, 3)] = &further[..] else {
        panic!("{further:?}");
    };
    let query = Query::Members(cid.clone(), 3);
    let ids = ["amy", "bob", "cem"].map(str::to_owned).to_vec();
    harness.reconciler.apply_answer(
        at(2),
        query,
        Answer::Members {
            ids,
            complete: true,
        },
    );
    assert_eq!(harness.ask(), ["amy", "bob", "cem"]);
}

#[test]
fn new_members_are_subscribed_and_former_members_dropped() {
    let mut harness = Harness::new(&[]);
    harness.channel(channel(&[("amy", true)], 1), 1);
    harness.conclude(1);
    harness.emitted();
    harness.receive(member(MEMBER_ADDED, "bob", 2));
    assert_eq!(harness.ask(), ["bob"]);
    harness.answer(&["bob"], &[("bob", true)], 3);
    harness.conclude(3);
    harness.receive(member(MEMBER_REMOVED, "amy", 4));
    harness.conclude(4);
    harness.receive(presence("amy", false, 5));
    harness.receive(presence("bob", false, 6));
    assert_eq!(
        harness.emitted(),
        [
            "member.added bob None ?",
            "snapshot bob",
            "coverage 2/2 []",
            "member.removed amy None ?",
            "coverage 1/1 []",
            "user.presence.changed bob Some(false) [Online]",
        ]
    );
}

#[test]
fn membership_events_wait_until_the_members_are_known() {
    let mut harness = Harness::new(&[]);
    harness.reconciler.set_awaits_members(true);
    harness.receive(member(MEMBER_REMOVED, "amy", 1));
    harness.channel(channel(&[("amy", true), ("bob", true)], 2), 2);
    harness.reconciler.set_awaits_members(false);
    harness.drain();
    harness.conclude(2);
    assert_eq!(
        harness.emitted(),
        [
            "snapshot amy",
            "snapshot bob",
            "member.removed amy None ?",
            "coverage 1/1 []",
        ]
    );
}

#[test]
fn members_who_joined_or_left_during_a_gap_are_detected() {
    let mut harness = Harness::new(&[]);
    harness.channel(channel(&[("amy", true), ("bob", true)], 2), 1);
    harness.conclude(1);
    harness.emitted();
    harness.reconciler.connection_lost(at(5), "gone");
    harness.channel(channel(&[("bob", true), ("cem", false)], 2), 6);
    harness.conclude(6);
    assert_eq!(
        harness.emitted(),
        ["gap 05..06 []", "snapshot cem", "recovered"]
    );
    harness.receive(presence("amy", false, 7));
    assert!(harness.emitted().is_empty());
}

#[test]
fn members_of_a_channel_that_is_gone_are_no_longer_asked_for() {
    let mut harness = Harness::new(&["bob"]);
    harness.ask();
    harness.answer(&["bob"], &[("bob", true)], 1);
    harness.channel(channel(&[("amy", true), ("bob", true)], 2), 1);
    harness.conclude(1);
    harness.emitted();
    harness.reconciler.connection_lost(at(5), "gone");
    let asked = harness.ask();
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 6);
    assert_eq!(asked, ["bob", "amy"]);
    harness.conclude(6);
    assert_eq!(
        harness.emitted(),
        ["gap 05..06 []", "coverage 1/1 []", "recovered"]
    );
}

#[test]
fn the_observers_own_events_are_left_out() {
    let mut harness = watching();
    let own = |second| {
        let event =
            json!({"type": USER_WATCHING_START, "cid": "messaging:c", "user": {"id": "eye"}});
        frame(&event.to_string(), second)
    };
    harness.receive(own(2));
    harness.receive(event(USER_UPDATED, &json!({"id": "eye"}), 3));
    assert!(harness.emitted().is_empty());
    let mut harness = Harness::new(&["eye"]);
    harness.ask();
    harness.answer(&["eye"], &[("eye", true)], 1);
    harness.emitted();
    harness.receive(own(2));
    assert_eq!(
        harness.emitted().len(),
        1,
        "unless the observer is watched, too"
    );
}

#[test]
fn a_deleted_user_is_no_longer_covered() {
    let mut harness = watching();
    harness.receive(event(USER_DELETED, &json!({"id": "bob"}), 2));
    harness.conclude(2);
    assert_eq!(
        harness.emitted(),
        ["user.deleted bob None ?", r#"coverage 1/2 ["bob"]"#]
    );
    harness.receive(event(
        USER_UPDATED,
        &json!({"id": "bob", "online": false}),
        3,
    ));
    assert_eq!(harness.ask(), ["bob"], "bob may be back");
    harness.answer(&["bob"], &[], 4);
    harness.conclude(4);
    assert_eq!(harness.emitted(), ["user.updated bob Some(false) ?"]);
    assert!(harness.ask().is_empty());
}

#[test]
fn what_waits_is_folded_and_the_last_state_survives() {
    let mut harness = watching();
    harness.reconciler.connection_lost(at(5), "gone");
    harness.ask();
    harness.reconciler.queue_limit = 400;
    for second in 0..50 {
        harness.receive(presence("bob", second % 2 == 1, second));
    }
    harness.receive(member(MEMBER_ADDED, "cem", 50));
    assert!(harness.reconciler.queue.len() < 50);
    harness.reconciler.coalesce_queue();
    assert_eq!(harness.reconciler.queue.len(), 2);
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 51);
    harness.conclude(51);
    assert_eq!(
        harness.emitted(),
        [
            "gap 05..51 []",
            "recovered",
            "user.presence.changed bob Some(true) [Online]",
            "member.added cem None ?",
        ]
    );
}

#[test]
fn a_shard_sees_its_own_users_only() {
    let mut reconciler = Reconciler::new("eye", "2/3".parse().unwrap(), false);
    reconciler.request_all(["amy", "bob", "cem"].into_iter().collect());
    let mut harness = Harness {
        reconciler,
        told: Vec::new(),
    };
    assert_eq!(harness.ask(), ["amy", "cem"]);
    harness.receive(presence("bob", true, 1));
    harness.receive(member(MEMBER_ADDED, "bob", 2));
    assert!(harness.emitted().is_empty());
}

#[test]
fn an_earlier_run_is_compared_with() {
    let mut harness = Harness::new(&["amy", "bob"]);
    let amy = KnownUser {
        presence: crate::domain::Presence {
            online: Some(false),
            ..Default::default()
        },
        fingerprint: None,
    };
    harness.reconciler.subscriptions.remember("amy", amy);
    harness.reconciler.resume(at(0), "not running");
    harness.ask();
    harness.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 9);
    harness.conclude(9);
    assert_eq!(
        harness.emitted(),
        [
            r#"gap 00..09 ["amy"]"#,
            "resync user.presence.changed amy Some(true) [Online]",
            "snapshot bob",
            "coverage 2/2 []",
        ]
    );
}
