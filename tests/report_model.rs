//! Reports against a model: made streams whose truth is known, and the intervals that the report computes from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use presencectl::report::input::InputSource;
use presencectl::report::intervals::{
    Analysis, Edge, Interval, PresenceState, UserIndex, UserInfo,
};
use presencectl::report::{Reading, ReportRequest, analyse};
use proptest::prelude::*;

use crate::support::recording::{Plan, Recorded, TrueSession, shuffled};

/// All intervals, by user.
#[derive(Default)]
struct Collected(BTreeMap<String, Vec<Interval>>);

impl Analysis for Collected {
    fn interval(&mut self, _: UserIndex, user_info: &UserInfo, interval: &Interval, _: i64) {
        let intervals = self.0.entry(user_info.id.to_string()).or_default();
        intervals.push(*interval);
    }
}

/// The streams in files.
struct Files {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

fn files(recorded: &Recorded) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let paths = recorded
        .files
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = folder.path().join(format!("watcher-{number}.ndjson"));
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    Files {
        _folder: folder,
        paths,
    }
}

fn read(paths: &[PathBuf], window: Option<(i64, i64)>) -> (Collected, Reading) {
    let mut collected = Collected::default();
    let request = ReportRequest {
        inputs: paths.iter().cloned().map(InputSource::File).collect(),
        from: window.map(|window| window.0),
        to: window.map(|window| window.1),
        users: None,
        texts: true,
    };
    let reading = analyse(&request, &mut collected).unwrap();
    (collected, reading)
}

/// The intervals as the model has them, which knows none without a length.
fn states(intervals: &[Interval]) -> Vec<(i64, i64, Option<bool>)> {
    let mut states: Vec<(i64, i64, Option<bool>)> = Vec::new();
    for interval in intervals.iter().filter(|interval| interval.length() > 0) {
        let state = match interval.state {
            PresenceState::Online => Some(true),
            PresenceState::Offline => Some(false),
            PresenceState::Unknown => None,
        };
        match states.last_mut() {
            // Between two unknown ones, one without a length.
            Some((_, to, last)) if *last == state => *to = interval.to,
            _ => states.push((interval.from, interval.to, state)),
        }
    }
    states
}

fn sessions(user: &str, intervals: &[Interval]) -> Vec<TrueSession> {
    intervals
        .iter()
        .filter(|interval| interval.state == PresenceState::Online && interval.length() > 0)
        .map(|interval| TrueSession {
            user: user.to_owned(),
            from: interval.from,
            to: interval.to,
            start: interval.start.name(),
            end: interval.end.name(),
        })
        .collect()
}

/// Holds what was computed to what is true.
fn check(recorded: &Recorded, collected: &Collected) {
    for user in &recorded.users {
        let Some(intervals) = collected.0.get(&user.id) else {
            let reported = user.reported(recorded.window);
            assert!(
                reported.iter().all(|(_, _, state)| state.is_none()),
                "{} is not in the report: {reported:?}",
                user.id
            );
            continue;
        };
        let (from, to) = recorded.window;
        assert_eq!(
            (intervals[0].from, intervals[intervals.len() - 1].to),
            (from, to),
            "{}",
            user.id
        );
        for pair in intervals.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "{}: a hole", user.id);
        }
        assert_eq!(
            states(intervals),
            user.reported(recorded.window),
            "{}",
            user.id
        );
        assert_eq!(
            sessions(&user.id, intervals),
            user.sessions(recorded.window),
            "{}",
            user.id
        );
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    (
        any::<u64>(),
        1..6_usize,
        1..3_usize,
        1..4_usize,
        0..4_usize,
        0..3_usize,
        any::<bool>(),
    )
        .prop_map(
            |(seed, users, shards, copies, gaps, restarts, oddities)| Plan {
                seed,
                users,
                start: 1_774_700_000_000,
                length: 600_000,
                shards,
                copies,
                stay: 40_000,
                gaps,
                restarts,
                oddities,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn intervals_are_what_the_watchers_observed(plan in plans()) {
        let recorded = plan.make();
        prop_assume!(recorded.window.0 < recorded.window.1);
        let files = files(&recorded);
        let (collected, reading) = read(&files.paths, None);
        prop_assert_eq!(reading.window, Some(recorded.window));
        prop_assert_eq!(reading.foreign_lines, recorded.foreign as u64);
        prop_assert_eq!(reading.late_lines, 0);
        check(&recorded, &collected);

        // The order of the files does not matter, and a file named twice changes nothing.
        let mut again = shuffled(&files.paths, plan.seed);
        again.extend(shuffled(&files.paths, plan.seed + 1).into_iter().take(2));
        let (other, _) = read(&again, None);
        prop_assert_eq!(&other.0, &collected.0);
    }

    #[test]
    fn a_window_is_cut_out_of_the_whole(plan in plans(), from in 0..600_000_i64, length in 1..600_000_i64) {
        let recorded = plan.make();
        prop_assume!(recorded.window.0 < recorded.window.1);
        let files = files(&recorded);
        let from = plan.start + from;
        let (collected, reading) = read(&files.paths, Some((from, from + length)));
        let window = (from.max(recorded.window.0), (from + length).min(recorded.window.1));
        prop_assume!(window.0 < window.1);
        prop_assert_eq!(reading.window, Some(window));
        for (user, intervals) in &collected.0 {
            let user = recorded.users.iter().find(|known| known.id == *user).unwrap();
            prop_assert_eq!(states(intervals), user.reported(window));
            let total: i64 = intervals.iter().map(Interval::length).sum();
            prop_assert_eq!(total, window.1 - window.0);
        }
    }
}

#[test]
fn the_ends_of_the_window_are_no_gaps() {
    let recorded = Plan {
        seed: 1,
        users: 3,
        start: 1_774_700_000_000,
        length: 60_000,
        shards: 1,
        copies: 1,
        stay: 10_000,
        gaps: 0,
        restarts: 0,
        oddities: false,
    }
    .make();
    let files = files(&recorded);
    let (collected, _) = read(&files.paths, None);
    for intervals in collected.0.values() {
        assert_eq!(intervals[0].start, Edge::DataStart);
        assert_eq!(intervals[intervals.len() - 1].end, Edge::DataEnd);
    }
}
