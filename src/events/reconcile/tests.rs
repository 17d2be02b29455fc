//! The rules of the reconciler, told as small stories.

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

/// A reconciler with the shell around it: questions are collected, and told things written down.
struct Bench {
    reconciler: Reconciler,
    told: Vec<String>,
}

impl Bench {
    fn new(users: &[&str]) -> Self {
        let mut reconciler = Reconciler::new("eye", Shard::ALL, false);
        for id in users {
            reconciler.want(id);
        }
        Self {
            reconciler,
            told: Vec::new(),
        }
    }

    fn receive(&mut self, frame: ReceivedFrame) {
        if let Some(frame) = self.reconciler.receive(frame) {
            self.judge(&frame);
        }
        self.drain();
    }

    fn judge(&mut self, frame: &ReceivedFrame) {
        let event = Event::parse(&frame.text).unwrap();
        if let Decision::Emit(change) = self.reconciler.judge(&event, frame) {
            let user = event.user.as_ref();
            let id = user.map_or("-", |user| &user.id);
            let online = user.and_then(|user| user.online);
            let changed = change.map_or("?".to_owned(), |change| format!("{:?}", change.changed));
            self.told
                .push(format!("{} {id} {online:?} {changed}", event.kind));
        }
    }

    fn ask(&mut self) -> Vec<String> {
        let ids = self.reconciler.tracker.take_open();
        ids.into_iter().map(String::from).collect()
    }

    fn answer(&mut self, asked: &[&str], found: &[(&str, bool)], second: u32) {
        let question = Query::Users(asked.iter().map(|id| (*id).into()).collect());
        let users = found.iter().map(|(id, online)| user(id, *online)).collect();
        self.reconciler
            .answered(at(second), question, Answer::Users(users));
        self.drain();
    }

    fn channel(&mut self, state: ChannelState, second: u32) -> Vec<Query> {
        let question = Query::Channels(vec!["messaging:c".parse().unwrap()]);
        let found = Answer::Channels {
            states: vec![state],
            refused: Vec::new(),
            more: false,
        };
        let further = self.reconciler.answered(at(second), question, found);
        self.drain();
        further
    }

    fn settle(&mut self, second: u32) {
        self.reconciler.settle(at(second));
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            if let Some((_, said)) = self.reconciler.next_said() {
                self.told.push(match said {
                    Pending::Snapshot(user) => format!("snapshot {}", user.id()),
                    Pending::Resync { text, change } => {
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
                    Pending::Link(link) => format!("link {}", link.online),
                    Pending::Recovered => "recovered".to_owned(),
                    Pending::Notice(text) => format!("notice {text}"),
                });
            } else if let Some(frame) = self.reconciler.next_waiting() {
                self.judge(&frame);
            } else {
                return;
            }
        }
    }

    /// What was told since the last call.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

/// Watching amy (online) and bob (offline), with everything at the start already told.
fn watching() -> Bench {
    let mut bench = Bench::new(&["amy", "bob"]);
    assert_eq!(bench.ask(), ["amy", "bob"]);
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 1);
    bench.settle(1);
    assert_eq!(
        bench.told(),
        ["snapshot amy", "snapshot bob", "coverage 2/2 []"]
    );
    bench
}

#[test]
fn events_are_told_as_they_come() {
    let mut bench = watching();
    bench.receive(presence("bob", true, 2));
    bench.receive(presence("bob", true, 3));
    bench.receive(frame(r#"{"type":"some.future.thing"}"#, 4));
    assert_eq!(
        bench.told(),
        [
            "user.presence.changed bob Some(true) [Online]",
            "user.presence.changed bob Some(true) []",
            "some.future.thing - None ?",
        ]
    );
}

#[test]
fn at_the_start_an_event_waits_for_its_users_snapshot_and_for_nobody_elses() {
    let mut bench = Bench::new(&["amy", "bob"]);
    bench.ask();
    bench.receive(presence("amy", false, 1));
    bench.receive(presence("amy", true, 2));
    bench.answer(&["bob"], &[("bob", false)], 3);
    bench.receive(presence("bob", true, 4));
    assert_eq!(
        bench.told(),
        [
            "snapshot bob",
            "user.presence.changed bob Some(true) [Online]"
        ]
    );
    bench.answer(&["amy"], &[("amy", true)], 5);
    assert_eq!(
        bench.told(),
        [
            "snapshot amy",
            "user.presence.changed amy Some(false) [Online]",
            "user.presence.changed amy Some(true) [Online]",
        ]
    );
}

#[test]
fn a_user_who_does_not_exist_is_missing_until_he_does() {
    let mut bench = Bench::new(&["amy", "ghost"]);
    bench.ask();
    bench.answer(&["amy", "ghost"], &[("amy", true)], 1);
    bench.settle(1);
    assert_eq!(bench.told(), ["snapshot amy", r#"coverage 1/2 ["ghost"]"#]);
    bench.settle(2);
    assert!(bench.told().is_empty(), "nothing new, nothing said");
    bench.reconciler.retry_missing();
    assert_eq!(bench.ask(), ["ghost"]);
    bench.answer(&["ghost"], &[("ghost", false)], 3);
    bench.settle(3);
    assert_eq!(bench.told(), ["snapshot ghost", "coverage 2/2 []"]);
}

#[test]
fn after_a_loss_only_differences_follow_the_gap() {
    let mut bench = watching();
    bench.receive(presence("amy", true, 10));
    bench.told();
    bench.reconciler.lost(at(20), "gone");
    assert_eq!(bench.ask(), ["amy", "bob"]);
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 30);
    assert!(bench.told().is_empty(), "the gap comes first");
    bench.settle(31);
    assert_eq!(
        bench.told(),
        [
            r#"gap 09..31 ["bob"]"#,
            "resync user.presence.changed bob Some(true) [Online]",
            "recovered",
        ]
    );
}

#[test]
fn a_gap_after_silence_begins_with_the_connection() {
    let mut bench = Bench::new(&["amy"]);
    bench
        .reconciler
        .begin(&frame(r#"{"type":"health.check"}"#, 3));
    bench.ask();
    bench.answer(&["amy"], &[("amy", true)], 4);
    bench.settle(4);
    bench.told();
    bench.reconciler.lost(at(40), "silent");
    bench.ask();
    bench.answer(&["amy"], &[("amy", true)], 41);
    bench.settle(41);
    assert_eq!(bench.told(), ["gap 02..41 []", "recovered"]);
}

#[test]
fn an_event_during_the_repair_is_told_after_it_and_wins() {
    let mut bench = watching();
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    // Bob comes and goes while the answer, which shows him online, is on its way.
    bench.receive(presence("bob", true, 21));
    bench.receive(presence("bob", false, 22));
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 23);
    bench.settle(23);
    assert_eq!(
        bench.told()[1..],
        [
            "resync user.presence.changed bob Some(true) [Online]",
            "recovered",
            "user.presence.changed bob Some(true) []",
            "user.presence.changed bob Some(false) [Online]",
        ]
    );
    assert_eq!(
        bench.reconciler.tracker.presence("bob").unwrap().online,
        Some(false)
    );
}

#[test]
fn a_loss_during_the_repair_is_one_gap_and_forgets_no_difference() {
    let mut bench = watching();
    bench.receive(presence("amy", true, 10));
    bench.told();
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    bench.answer(&["amy"], &[("amy", false)], 21);
    bench.receive(presence("bob", true, 22));
    bench.reconciler.lost(at(30), "gone again");
    assert_eq!(bench.reconciler.untold(), 0);
    assert_eq!(bench.ask(), ["amy", "bob"]);
    bench.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 31);
    bench.settle(31);
    assert_eq!(
        bench.told(),
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
    let mut bench = watching();
    bench.reconciler.tracker.doubt("bob");
    bench.receive(presence("bob", true, 5));
    bench.receive(presence("amy", false, 9));
    bench.told();
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    bench.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 21);
    bench.settle(21);
    assert_eq!(bench.told()[0], r#"gap 05..21 ["bob"]"#);
}

#[test]
fn a_gap_begins_with_what_the_last_frame_told_not_with_its_arrival() {
    let mut bench = watching();
    let late = ReceivedFrame {
        at: at(15),
        ..presence("bob", true, 5)
    };
    bench.receive(late);
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 21);
    bench.settle(21);
    assert!(bench.told().contains(&"gap 04..21 []".to_owned()));
}

#[test]
fn an_event_that_was_overtaken_and_lost_is_inside_the_gap() {
    let mut bench = watching();
    // Amy left at 9, and the frame that says so was to come after the one about Bob.
    bench.receive(presence("bob", true, 10));
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    bench.answer(&["amy", "bob"], &[("amy", false), ("bob", true)], 21);
    bench.settle(21);
    assert!(bench.told().contains(&r#"gap 09..21 ["amy"]"#.to_owned()));
}

#[test]
fn an_unreadable_frame_is_a_gap_without_a_reconnect() {
    let mut bench = watching();
    let before = presence("amy", true, 5);
    bench.receive(before.clone());
    bench.told();
    bench.reconciler.garbled(at(7), &before, "garbage");
    assert_eq!(bench.ask(), ["amy", "bob"]);
    bench.receive(presence("amy", true, 8));
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 9);
    bench.settle(9);
    assert_eq!(
        bench.told(),
        [
            r#"gap 04..09 ["bob"]"#,
            "resync user.presence.changed bob Some(true) [Online]",
            "user.presence.changed amy Some(true) []",
        ]
    );
}

#[test]
fn what_an_unreadable_frame_overtook_does_not_win_over_the_answer() {
    let mut bench = watching();
    let before = presence("amy", true, 5);
    bench.receive(before.clone());
    bench.told();
    // Amy left and came back, and the frame about her return came first, as nonsense.
    bench.reconciler.garbled(at(7), &before, "garbage");
    bench.ask();
    bench.receive(presence("amy", false, 6));
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 9);
    bench.settle(9);
    assert_eq!(
        bench.ask(),
        ["amy"],
        "her event may be older than the answer"
    );
    bench.answer(&["amy"], &[("amy", true)], 10);
    bench.settle(10);
    assert_eq!(
        bench.told(),
        [
            "gap 04..09 []",
            "user.presence.changed amy Some(false) [Online]",
            "resync user.presence.changed amy Some(true) [Online]",
        ]
    );
    bench.receive(presence("amy", false, 11));
    assert!(
        bench.ask().is_empty(),
        "from then on events are the last word"
    );
}

#[test]
fn swapped_events_are_told_and_put_right() {
    let mut bench = watching();
    bench.receive(presence("bob", false, 9));
    bench.receive(presence("bob", true, 8));
    assert_eq!(bench.ask(), ["bob"]);
    bench.receive(presence("bob", true, 10));
    bench.answer(&["bob"], &[("bob", false)], 10);
    assert_eq!(
        bench.told(),
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
    let mut bench = watching();
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    let question = Query::Users(vec!["amy".into(), "bob".into()]);
    let users = vec![
        serde_json::from_value(json!({"id": "amy", "online": true, "status": "x"})).unwrap(),
        user("bob", false),
    ];
    bench
        .reconciler
        .answered(at(21), question, Answer::Users(users));
    bench.settle(21);
    assert_eq!(
        bench.told()[1],
        "resync user.updated amy Some(true) [Status]"
    );
}

/// Amy, online, by this name since that second.
fn named(name: &str, second: u32) -> Value {
    json!({"id": "amy", "online": true, "name": name, "updated_at": millis(at(second))})
}

fn answer_named(bench: &mut Bench, name: &str, changed_at: u32, second: u32) {
    let amy = serde_json::from_value(named(name, changed_at)).unwrap();
    let found = Answer::Users(vec![amy]);
    let question = Query::Users(vec!["amy".into()]);
    bench.reconciler.answered(at(second), question, found);
    bench.drain();
}

#[test]
fn a_new_name_is_told_after_a_gap_and_never_twice() {
    let mut bench = Bench::new(&["amy"]);
    bench.ask();
    answer_named(&mut bench, "Amy", 0, 1);
    bench.settle(1);
    bench.told();
    for (second, name) in [(10, "Ann"), (20, "Ann")] {
        bench.reconciler.lost(at(second), "gone");
        bench.ask();
        answer_named(&mut bench, name, 9, second);
        bench.settle(second);
    }
    bench.receive(event(USER_UPDATED, &named("Ada", 25), 25));
    bench.reconciler.lost(at(30), "gone");
    bench.ask();
    answer_named(&mut bench, "Ada", 25, 30);
    bench.settle(30);
    assert_eq!(
        bench.told(),
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
fn a_name_that_changes_during_the_repair_is_told_in_order() {
    let mut bench = Bench::new(&["amy"]);
    bench.ask();
    answer_named(&mut bench, "Amy", 0, 1);
    bench.settle(1);
    bench.told();
    bench.reconciler.lost(at(10), "gone");
    bench.ask();
    bench.receive(event(USER_UPDATED, &named("Ada", 12), 12));
    // The answer is older than the event, and the event is what the next gap is compared with.
    answer_named(&mut bench, "Ann", 9, 13);
    bench.settle(13);
    bench.reconciler.lost(at(20), "gone");
    bench.ask();
    answer_named(&mut bench, "Ada", 12, 21);
    bench.settle(21);
    assert_eq!(
        bench.told(),
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
fn who_was_missing_is_compared_with_what_was_last_told_of_him() {
    let missing = || {
        let mut bench = watching();
        bench.reconciler.lost(at(5), "gone");
        bench.ask();
        bench.answer(&["amy", "bob"], &[("bob", false)], 6);
        bench.settle(6);
        assert_eq!(
            bench.told(),
            ["gap 05..06 []", r#"coverage 1/2 ["amy"]"#, "recovered"]
        );
        bench
    };
    // Amy, who was online when she was last told of, is back, and left again unless the answer says otherwise.
    for (online, then) in [
        (false, None),
        (
            true,
            Some("resync user.presence.changed amy Some(true) [Online]"),
        ),
    ] {
        let mut bench = missing();
        bench.receive(presence("amy", false, 7));
        assert_eq!(bench.ask(), ["amy"]);
        bench.answer(&["amy"], &[("amy", online)], 8);
        bench.settle(8);
        let expected: Vec<&str> = ["user.presence.changed amy Some(false) [Online]"]
            .into_iter()
            .chain(then)
            .chain(["coverage 2/2 []"])
            .collect();
        assert_eq!(bench.told(), expected);
    }
    let mut bench = missing();
    bench.reconciler.retry_missing();
    bench.ask();
    bench.answer(&["amy"], &[("amy", false)], 20);
    bench.settle(20);
    assert_eq!(
        bench.told(),
        [
            "resync user.presence.changed amy Some(false) [Online]",
            "coverage 2/2 []"
        ]
    );
}

#[test]
fn a_small_channel_needs_no_further_question() {
    let mut bench = Bench::new(&[]);
    assert!(
        bench
            .channel(channel(&[("amy", true), ("bob", false)], 2), 1)
            .is_empty()
    );
    assert!(bench.ask().is_empty());
    bench.settle(1);
    assert_eq!(
        bench.told(),
        ["snapshot amy", "snapshot bob", "coverage 2/2 []"]
    );
}

#[test]
fn a_large_channel_asks_for_all_its_members() {
    let mut bench = Bench::new(&[]);
    let further = bench.channel(channel(&[("amy", true)], 3), 1);
    let [Query::Members(cid, 3)] = &further[..] else {
        panic!("{further:?}");
    };
    let question = Query::Members(cid.clone(), 3);
    let ids = ["amy", "bob", "cem"].map(str::to_owned).to_vec();
    bench.reconciler.answered(
        at(2),
        question,
        Answer::Members {
            ids,
            complete: true,
        },
    );
    assert_eq!(bench.ask(), ["amy", "bob", "cem"]);
}

#[test]
fn who_joins_is_subscribed_and_who_leaves_is_dropped() {
    let mut bench = Bench::new(&[]);
    bench.channel(channel(&[("amy", true)], 1), 1);
    bench.settle(1);
    bench.told();
    bench.receive(member(MEMBER_ADDED, "bob", 2));
    assert_eq!(bench.ask(), ["bob"]);
    bench.answer(&["bob"], &[("bob", true)], 3);
    bench.settle(3);
    bench.receive(member(MEMBER_REMOVED, "amy", 4));
    bench.settle(4);
    bench.receive(presence("amy", false, 5));
    bench.receive(presence("bob", false, 6));
    assert_eq!(
        bench.told(),
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
    let mut bench = Bench::new(&[]);
    bench.reconciler.set_awaits_members(true);
    bench.receive(member(MEMBER_REMOVED, "amy", 1));
    bench.channel(channel(&[("amy", true), ("bob", true)], 2), 2);
    bench.reconciler.set_awaits_members(false);
    bench.drain();
    bench.settle(2);
    assert_eq!(
        bench.told(),
        [
            "snapshot amy",
            "snapshot bob",
            "member.removed amy None ?",
            "coverage 1/1 []",
        ]
    );
}

#[test]
fn who_joined_or_left_during_a_gap_is_noticed() {
    let mut bench = Bench::new(&[]);
    bench.channel(channel(&[("amy", true), ("bob", true)], 2), 1);
    bench.settle(1);
    bench.told();
    bench.reconciler.lost(at(5), "gone");
    bench.channel(channel(&[("bob", true), ("cem", false)], 2), 6);
    bench.settle(6);
    assert_eq!(bench.told(), ["gap 05..06 []", "snapshot cem", "recovered"]);
    bench.receive(presence("amy", false, 7));
    assert!(bench.told().is_empty());
}

#[test]
fn members_of_a_channel_that_is_gone_are_no_longer_asked_for() {
    let mut bench = Bench::new(&["bob"]);
    bench.ask();
    bench.answer(&["bob"], &[("bob", true)], 1);
    bench.channel(channel(&[("amy", true), ("bob", true)], 2), 1);
    bench.settle(1);
    bench.told();
    bench.reconciler.lost(at(5), "gone");
    let asked = bench.ask();
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", true)], 6);
    assert_eq!(asked, ["amy", "bob"]);
    bench.settle(6);
    assert_eq!(
        bench.told(),
        ["gap 05..06 []", "coverage 1/1 []", "recovered"]
    );
}

#[test]
fn the_observer_is_not_part_of_what_he_sees() {
    let mut bench = watching();
    let own = |second| {
        let event =
            json!({"type": USER_WATCHING_START, "cid": "messaging:c", "user": {"id": "eye"}});
        frame(&event.to_string(), second)
    };
    bench.receive(own(2));
    bench.receive(event(USER_UPDATED, &json!({"id": "eye"}), 3));
    assert!(bench.told().is_empty());
    let mut bench = Bench::new(&["eye"]);
    bench.ask();
    bench.answer(&["eye"], &[("eye", true)], 1);
    bench.told();
    bench.receive(own(2));
    assert_eq!(bench.told().len(), 1, "unless he is who is watched");
}

#[test]
fn a_deleted_user_is_no_longer_covered() {
    let mut bench = watching();
    bench.receive(event(USER_DELETED, &json!({"id": "bob"}), 2));
    bench.settle(2);
    assert_eq!(
        bench.told(),
        ["user.deleted bob None ?", r#"coverage 1/2 ["bob"]"#]
    );
    bench.receive(event(
        USER_UPDATED,
        &json!({"id": "bob", "online": false}),
        3,
    ));
    assert_eq!(bench.ask(), ["bob"], "he may be back");
    bench.answer(&["bob"], &[], 4);
    bench.settle(4);
    assert_eq!(bench.told(), ["user.updated bob Some(false) ?"]);
    assert!(bench.ask().is_empty());
}

#[test]
fn what_waits_is_folded_and_the_last_state_survives() {
    let mut bench = watching();
    bench.reconciler.lost(at(5), "gone");
    bench.ask();
    bench.reconciler.waiting_bound = 400;
    for second in 0..50 {
        bench.receive(presence("bob", second % 2 == 1, second));
    }
    bench.receive(member(MEMBER_ADDED, "cem", 50));
    assert!(bench.reconciler.waiting.len() < 50);
    bench.reconciler.fold();
    assert_eq!(bench.reconciler.waiting.len(), 2);
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 51);
    bench.settle(51);
    assert_eq!(
        bench.told(),
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
    for id in ["amy", "bob", "cem"] {
        reconciler.want(id);
    }
    let mut bench = Bench {
        reconciler,
        told: Vec::new(),
    };
    assert_eq!(bench.ask(), ["amy", "cem"]);
    bench.receive(presence("bob", true, 1));
    bench.receive(member(MEMBER_ADDED, "bob", 2));
    assert!(bench.told().is_empty());
}

#[test]
fn an_earlier_run_is_compared_with() {
    let mut bench = Bench::new(&["amy", "bob"]);
    let amy = KnownUser {
        presence: crate::domain::Presence {
            online: Some(false),
            ..Default::default()
        },
        rest: None,
    };
    bench.reconciler.tracker.remember("amy", amy);
    bench.reconciler.resume(at(0), "not running");
    bench.ask();
    bench.answer(&["amy", "bob"], &[("amy", true), ("bob", false)], 9);
    bench.settle(9);
    assert_eq!(
        bench.told(),
        [
            r#"gap 00..09 ["amy"]"#,
            "resync user.presence.changed amy Some(true) [Online]",
            "snapshot bob",
            "coverage 2/2 []",
        ]
    );
}
