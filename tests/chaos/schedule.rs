//! The schedule of a run, drawn from a seed: changes of users, and faults.
//!
//! Nothing here depends on time or on what happens, so the same seed is the same schedule.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::OBSERVER;

/// People who change.
pub(crate) const PEOPLE: usize = 220;

/// A change of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Connect(usize),
    Disconnect(usize),
    Invisible(usize, bool),
    Status(usize, Option<String>),
    Name(usize, Option<String>),
    Mood(usize, u32),
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Made by the mock: a fault as its control API takes it.
    Mock(Value),
    /// Done to the bytes between the watcher and the mock.
    Wire(Trick),
}

/// What the proxy can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Trick {
    /// Both ends of the socket see its end.
    Cut,
    /// The socket is reset.
    Reset,
    /// Half of what comes next arrives, and then nothing but the end.
    Half,
    /// What comes next arrives as no WebSocket at all.
    Garble,
    /// Nothing passes for so many milliseconds.
    Hiccup(u64),
    /// What comes next arrives byte by byte.
    Trickle,
    /// Nothing passes ever again, and nobody says so.
    Stall,
    /// So many attempts to connect are turned away.
    Refuse(u32),
    /// All connections that are open fall silent for ever, and nobody says so. New ones work, as after a suspend or a
    /// change of the network.
    Silence,
    /// The answer to the next request is lost, and nobody says so.
    Swallow,
}

impl Trick {
    /// Its name in counts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "wire cut",
            Self::Reset => "wire reset",
            Self::Half => "wire half",
            Self::Garble => "wire garble",
            Self::Hiccup(_) => "wire hiccup",
            Self::Trickle => "wire trickle",
            Self::Stall => "wire stall",
            Self::Refuse(_) => "wire refuse",
            Self::Silence => "wire silence",
            Self::Swallow => "wire swallow",
        }
    }
}

/// A few faults, and changes that meet them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Round {
    pub(crate) faults: Vec<Fault>,
    pub(crate) changes: Vec<Change>,
}

/// Everything that will happen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) rounds: Vec<Round>,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut faults = all_faults(&mut dice);
        faults.shuffle(&mut dice);
        let mut people = People::default();
        let mut rounds = Vec::new();
        while !faults.is_empty() {
            let many = dice.random_range(1..=6).min(faults.len());
            let faults = faults.split_off(faults.len() - many);
            let changes = (0..dice.random_range(4..=28))
                .map(|_| people.change(&mut dice))
                .collect();
            rounds.push(Round { faults, changes });
        }
        Self { rounds }
    }

    pub(crate) fn faults(&self) -> usize {
        self.rounds.iter().map(|round| round.faults.len()).sum()
    }
}

/// Who is how, so that every change is one.
#[derive(Debug)]
struct People {
    online: Vec<bool>,
    invisible: Vec<bool>,
    told: u32,
}

impl Default for People {
    fn default() -> Self {
        Self {
            online: vec![false; PEOPLE],
            invisible: vec![false; PEOPLE],
            told: 0,
        }
    }
}

impl People {
    fn change(&mut self, dice: &mut StdRng) -> Change {
        // Some are livelier than others, so that the same person changes often while something is wrong.
        let who = if dice.random_bool(0.3) {
            dice.random_range(0..12)
        } else {
            dice.random_range(0..PEOPLE)
        };
        self.told += 1;
        match dice.random_range(0..10) {
            0 => {
                self.invisible[who] = !self.invisible[who];
                Change::Invisible(who, self.invisible[who])
            }
            1 => Change::Status(
                who,
                dice.random_bool(0.7)
                    .then(|| format!("status {} \u{1f423} \"\u{7}\"", self.told)),
            ),
            2 => Change::Mood(who, self.told),
            3 => Change::Name(
                who,
                dice.random_bool(0.8)
                    .then(|| format!("Name/{} \u{1f423}", self.told)),
            ),
            _ => {
                self.online[who] = !self.online[who];
                if self.online[who] {
                    Change::Connect(who)
                } else {
                    Change::Disconnect(who)
                }
            }
        }
    }
}

/// Every kind of fault in its number.
fn all_faults(dice: &mut StdRng) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut on_frames = |count: usize,
                         dice: &mut StdRng,
                         kind: &str,
                         more: fn(&mut StdRng) -> Value| {
        for _ in 0..count {
            let mut fault = json!({"kind": kind, "user": OBSERVER, "count": 1, "after": dice.random_range(0..4)});
            extend(&mut fault, more(dice));
            faults.push(Fault::Mock(fault));
        }
    };
    on_frames(48, dice, "duplicate", |_| json!({}));
    on_frames(40, dice, "reorder", |_| json!({"delay": "100ms"}));
    on_frames(
        34,
        dice,
        "late",
        |dice| json!({"delay": format!("{}ms", dice.random_range(1..=40))}),
    );
    on_frames(
        8,
        dice,
        "slow",
        |dice| json!({"delay": format!("{}ms", dice.random_range(1..=3))}),
    );
    on_frames(30, dice, "garbage", |dice| match dice.random_range(0..8) {
        0 => json!({"text": "nonsense"}),
        1 => json!({"text": "7"}),
        2 => json!({"text": "[]"}),
        3 => json!({"text": r#"{"type":5}"#}),
        4 => json!({"text": "<html>"}),
        _ => json!({}),
    });
    on_frames(16, dice, "drop", |_| json!({}));
    on_frames(18, dice, "close", |dice| {
        let codes = [1000, 1001, 1011, 1012, 1013, 4000];
        json!({"code": codes[dice.random_range(0..codes.len())], "message": "chaos"})
    });
    on_frames(7, dice, "expire", |_| json!({}));
    for _ in 0..8 {
        faults.push(Fault::Mock(
            json!({"kind": "mute", "user": OBSERVER, "now": true}),
        ));
    }
    for _ in 0..4 {
        faults.push(Fault::Mock(
            json!({"kind": "half-open", "user": OBSERVER, "event": "user.*", "count": 1}),
        ));
    }

    let mut on_requests = |count: usize,
                           dice: &mut StdRng,
                           kind: &str,
                           more: fn(&mut StdRng) -> Value| {
        for _ in 0..count {
            let path = if dice.random_bool(0.8) {
                "/users"
            } else {
                "/connect"
            };
            let mut fault = json!({
                "kind": kind, "user": OBSERVER, "path": path, "count": 1, "after": dice.random_range(0..4),
            });
            extend(&mut fault, more(dice));
            faults.push(Fault::Mock(fault));
        }
    };
    on_requests(
        14,
        dice,
        "status",
        |dice| json!({"status": 429, "retry_after": dice.random_range(0..=1)}),
    );
    on_requests(14, dice, "status", |dice| match dice.random_range(0..6) {
        0 => json!({"status": 500}),
        1 => json!({"status": 502}),
        2 => json!({"status": 503, "applied": true}),
        3 => json!({"status": 504, "applied": true}),
        4 => json!({"status": 408}),
        _ => json!({"status": 401, "code": 40, "message": "the token has expired"}),
    });
    on_requests(10, dice, "html", |dice| {
        let statuses = [200, 502, 503];
        json!({"status": statuses[dice.random_range(0..statuses.len())]})
    });
    on_requests(10, dice, "truncate", |_| json!({}));
    on_requests(
        10,
        dice,
        "reset",
        |dice| json!({"applied": dice.random_bool(0.5)}),
    );
    on_requests(
        12,
        dice,
        "delay",
        |dice| json!({"delay": format!("{}ms", dice.random_range(5..=150))}),
    );

    for count in 0..12 {
        let hiccup = Trick::Hiccup(dice.random_range(5..=120));
        let tricks = [
            (12, hiccup),
            (10, Trick::Cut),
            (10, Trick::Reset),
            (10, Trick::Trickle),
            (9, Trick::Half),
            (8, Trick::Garble),
            (8, Trick::Refuse(dice.random_range(1..=3))),
            (4, Trick::Stall),
            (4, Trick::Silence),
            (2, Trick::Swallow),
        ];
        let due = tricks.into_iter().filter(|(times, _)| count < *times);
        faults.extend(due.map(|(_, trick)| Fault::Wire(trick)));
    }
    faults
}

fn extend(fault: &mut Value, more: Value) {
    if let (Some(fault), Value::Object(more)) = (fault.as_object_mut(), more) {
        fault.extend(more);
    }
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    assert_eq!(Schedule::new(7), Schedule::new(7));
    assert_ne!(Schedule::new(7), Schedule::new(8));
    for seed in 0..4 {
        assert!(Schedule::new(seed).faults() >= 330);
    }
}
