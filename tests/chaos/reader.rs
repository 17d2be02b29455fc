//! A reader that knows only the documented contract of the records, and keeps a table of users from them.
//!
//! `user` in a record is the user's whole state, with `null` where the service did not say. `seq` counts without a hole. After a reconnect a `presence.gap` says
//! when events may have been lost, and what changed in it follows as ordinary events. `changed` and `previous` of a user
//! event describe the way from what was told before. A `user.updated` with an empty `changed` says that something else of
//! the user changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

/// What identifies an event of the service: its type, its user, its time.
pub(crate) type Key = (String, String, String);

/// A time between which events may have been lost, as the stream says.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
    pub(crate) repaired: Vec<String>,
}

impl Gap {
    /// Whether it says that an event of this time may be lost. Its ends are told in milliseconds.
    fn covers(&self, time: DateTime<Utc>) -> bool {
        let grain = TimeDelta::milliseconds(1);
        self.from <= time && time < self.to + grain
    }
}

/// What has been read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// How everybody is.
    pub(crate) table: HashMap<String, Map<String, Value>>,
    pub(crate) gaps: Vec<Gap>,
    /// The records of what was found to have changed in gaps.
    pub(crate) found: Vec<Value>,
    /// Events of the service as they arrived, each with how often.
    pub(crate) heard: BTreeMap<Key, u32>,
    pub(crate) records: u64,
    pub(crate) losses: u64,
    pub(crate) reconnects: u64,
    pub(crate) coverage: Option<Value>,
    /// The last record of the stream.
    pub(crate) end: Option<Value>,
    /// Where the stream broke its own contract.
    pub(crate) broken: Vec<String>,
}

const PRESENCE: [&str; 4] = ["online", "status", "last_active", "invisible"];
/// What else changes of these people.
const OTHER: [&str; 2] = ["name", "mood"];

impl Reader {
    /// Reads a line.
    pub(crate) fn read(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(Value::Object(record)) => self.take(&record),
            _ => self.broken.push(format!("no object: {line}")),
        }
    }

    fn take(&mut self, record: &Map<String, Value>) {
        self.records += 1;
        if record.get("seq") != Some(&json!(self.records)) {
            self.complain("a hole in seq", record);
        }
        if self.end.is_some() {
            self.complain("something after the end", record);
        }
        let kind = record.get("type").and_then(Value::as_str).unwrap_or("");
        match kind {
            "presence.gap" => self.take_gap(record),
            "presence.coverage" => self.coverage = Some(Value::Object(record.clone())),
            "connection.changed" => {
                let up = record.get("online") == Some(&json!(true));
                self.reconnects += u64::from(up);
                self.losses += u64::from(!up);
            }
            "connection.recovered" => {}
            "stream.end" => self.end = Some(Value::Object(record.clone())),
            _ => self.take_user(kind, record),
        }
    }

    fn take_gap(&mut self, record: &Map<String, Value>) {
        let time = |name: &str| record.get(name).and_then(Value::as_str)?.parse().ok();
        match (time("from"), time("to")) {
            (Some(from), Some(to)) => self.gaps.push(Gap {
                from,
                to,
                repaired: record
                    .get("repaired")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|id| id.as_str().map(str::to_owned))
                    .collect(),
            }),
            _ => self.complain("a gap without its times", record),
        }
    }

    fn take_user(&mut self, kind: &str, record: &Map<String, Value>) {
        let Some(user) = record.get("user").and_then(Value::as_object) else {
            return;
        };
        let Some(id) = user.get("id").and_then(Value::as_str) else {
            self.complain("a user without an id", record);
            return;
        };
        if record.get("source") == Some(&json!("ws")) {
            let created_at = record.get("created_at").and_then(Value::as_str);
            let key = (
                kind.to_owned(),
                id.to_owned(),
                created_at.unwrap_or("").to_owned(),
            );
            *self.heard.entry(key).or_default() += 1;
        }
        let mut user = user.clone();
        for field in ["online", "last_active", "invisible"] {
            // A field that changed to null is unknown from now on. Otherwise the event does not show it.
            let is_changed = record
                .get("changed")
                .and_then(Value::as_array)
                .is_some_and(|changed| changed.contains(&json!(field)));
            let known = self.table.get(id).and_then(|known| known.get(field));
            if let (Some(Value::Null), Some(known), false) = (user.get(field), known, is_changed) {
                user[field] = known.clone();
            }
            // An older copy of `last_active` is not a change.
            if field == "last_active"
                && let (Some(new), Some(old)) = (user.get(field), known)
                && is_no_later(new, old)
            {
                user[field] = old.clone();
            }
        }
        self.check_change(id, &user, record);
        self.table.insert(id.to_owned(), user);
    }

    /// `changed` names exactly the fields that differ from what was told before, and `previous` tells what they were.
    fn check_change(&mut self, id: &str, user: &Map<String, Value>, record: &Map<String, Value>) {
        let Some(changed) = record.get("changed").and_then(Value::as_array) else {
            return;
        };
        let changed: BTreeSet<&str> = changed.iter().filter_map(Value::as_str).collect();
        let Some(before) = self.table.get(id).cloned() else {
            self.complain("a change of somebody who was never told of", record);
            return;
        };
        if record.get("source") == Some(&json!("resync")) {
            let same = |field: &&str| before.get(*field) == user.get(*field);
            if changed.is_empty() && OTHER.iter().all(same) {
                self.complain("a repair of nothing", record);
            }
            if changed.is_empty() && record.get("type") != Some(&json!("user.updated")) {
                self.complain("a change of something else under a wrong name", record);
            }
            self.found.push(Value::Object(record.clone()));
        }
        for field in PRESENCE {
            let (then, now) = (before.get(field), user.get(field));
            let previous = record
                .get("previous")
                .and_then(|previous| previous.get(field));
            if changed.contains(field) {
                if previous != then || then == now {
                    self.complain(&format!("{field} was {then:?}"), record);
                }
            } else if then != now {
                self.complain(
                    &format!("{field} was {then:?} and is not in changed"),
                    record,
                );
            }
        }
    }

    fn complain(&mut self, what: &str, record: &Map<String, Value>) {
        self.broken.push(format!("{what}: {}", json!(record)));
    }

    /// Where the table differs from the truth: the users of a server-side query.
    pub(crate) fn differences(&self, truth: &[Value]) -> Vec<String> {
        let mut found = Vec::new();
        for user in truth {
            let id = user["id"].as_str().unwrap_or("");
            let Some(told) = self.table.get(id) else {
                found.push(format!("{id} was never told of"));
                continue;
            };
            let hides = user["invisible"] == true;
            for field in ["online", "status", "last_active"].iter().chain(&OTHER) {
                // Other users see the `last_active` from before a user became invisible; only the server side sees the current one.
                if *field == "last_active" && hides {
                    continue;
                }
                let told = told.get(*field).unwrap_or(&Value::Null);
                // Events show nanoseconds, and answers microseconds.
                let is_same_instant =
                    micros(told).is_some_and(|told| Some(told) == micros(&user[*field]));
                if *told != user[*field] && !is_same_instant {
                    found.push(format!(
                        "{field} of {id}: told {told}, in truth {}",
                        user[*field]
                    ));
                }
            }
        }
        found
    }

    /// Events that happened, were not told as events, and lie in no gap: losses that nobody spoke of.
    pub(crate) fn silent_losses<'a>(&self, happened: &'a [Key]) -> Vec<&'a Key> {
        happened
            .iter()
            .filter(|key| !self.heard.contains_key(*key))
            .filter(|(_, _, at)| {
                let at: Option<DateTime<Utc>> = at.parse().ok();
                at.is_none_or(|at| !self.gaps.iter().any(|gap| gap.covers(at)))
            })
            .collect()
    }

    /// What the stream told around a time: gaps, and events of the service just before and after.
    pub(crate) fn around(&self, (_, _, at): &Key) -> String {
        let gaps: Vec<String> = self
            .gaps
            .iter()
            .map(|gap| format!("{} to {}", gap.from.to_rfc3339(), gap.to.to_rfc3339()))
            .collect();
        let near = gaps.partition_point(|gap| gap.as_str() < at.as_str());
        let mut heard: Vec<&str> = self.heard.keys().map(|(_, _, at)| at.as_str()).collect();
        heard.sort_unstable();
        let place = heard.partition_point(|heard| *heard < at.as_str());
        format!(
            "gaps {:?}, events heard {:?}",
            &gaps[near.saturating_sub(2)..(near + 2).min(gaps.len())],
            &heard[place.saturating_sub(3)..(place + 3).min(heard.len())]
        )
    }

    /// Events that were told and never happened.
    pub(crate) fn inventions(&self, happened: &[Key]) -> Vec<&Key> {
        let happened: BTreeSet<&Key> = happened.iter().collect();
        self.heard
            .keys()
            .filter(|key| !happened.contains(key))
            .collect()
    }
}

fn instant(time: &Value) -> Option<DateTime<Utc>> {
    time.as_str()?.parse().ok()
}

/// Whether both are times, and the first one is not later. Beside a time with microseconds, nanoseconds do not count.
fn is_no_later(new: &Value, old: &Value) -> bool {
    let has_nanos = |time: &Value| {
        let fraction = time.as_str().and_then(|text| text.split_once('.'));
        fraction.is_some_and(|(_, digits)| digits.trim_end_matches('Z').len() > 6)
    };
    if has_nanos(new) == has_nanos(old) {
        instant(new).is_some_and(|new| instant(old).is_some_and(|old| new <= old))
    } else {
        micros(new).is_some_and(|new| micros(old).is_some_and(|old| new <= old))
    }
}

/// A time in microseconds; `None` if it is not a time.
fn micros(time: &Value) -> Option<i64> {
    instant(time).map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(records: &[Value]) -> Reader {
        let mut reader = Reader::default();
        for (place, record) in records.iter().enumerate() {
            let mut record = record.clone();
            if record.get("seq").is_none() {
                record["seq"] = json!(place + 1);
            }
            reader.read(&record.to_string());
        }
        reader
    }

    fn john(online: bool) -> Value {
        json!({"id": "john", "online": online, "status": null, "last_active": null, "invisible": null})
    }

    fn snapshot() -> Value {
        json!({"type": "presence.snapshot", "source": "query", "user": john(false)})
    }

    fn changed(previous: &Value, changed: &Value) -> Value {
        json!({
            "type": "user.presence.changed", "source": "ws", "created_at": "2026-01-05T10:00:00.5Z",
            "user": john(true), "changed": changed, "previous": previous,
        })
    }

    #[test]
    fn a_valid_stream_has_no_errors() {
        let reader = reader(&[
            snapshot(),
            changed(&json!({"online": false}), &json!(["online"])),
        ]);
        assert_eq!(reader.broken, Vec::<String>::new());
        assert_eq!(reader.differences(&[john(true)]), Vec::<String>::new());
    }

    #[test]
    fn unknown_fields_are_not_changes() {
        let mut known = john(false);
        known["last_active"] = json!("2026-01-05T10:00:00Z");
        let reader = reader(&[
            json!({"type": "presence.snapshot", "source": "query", "user": known}),
            changed(&json!({"online": false}), &json!(["online"])),
        ]);
        assert_eq!(reader.broken, Vec::<String>::new());
        assert_eq!(
            reader.table["john"]["last_active"],
            json!("2026-01-05T10:00:00Z")
        );
    }

    #[test]
    fn every_violation_is_found() {
        let mut hole = changed(&json!({"online": false}), &json!(["online"]));
        hole["seq"] = json!(3);
        for stream in [
            vec![snapshot(), hole],
            vec![
                snapshot(),
                changed(&json!({"online": true}), &json!(["online"])),
            ],
            vec![snapshot(), changed(&json!({}), &json!([]))],
            vec![
                snapshot(),
                changed(
                    &json!({"online": false, "status": "x"}),
                    &json!(["online", "status"]),
                ),
            ],
            vec![changed(&json!({"online": false}), &json!(["online"]))],
            vec![json!({"type": "stream.end"}), snapshot()],
            vec![json!({"type": "presence.gap", "from": "x"})],
            vec![json!(7)]
                .into_iter()
                .map(|_| json!({"type": "presence.snapshot", "seq": 2, "user": john(true)}))
                .collect(),
        ] {
            assert_ne!(reader(&stream).broken, Vec::<String>::new(), "{stream:?}");
        }
        let told = reader(&[snapshot()]);
        assert_eq!(told.differences(&[john(true)]).len(), 1);
        let mut renamed = john(false);
        renamed["name"] = json!("John");
        assert_eq!(told.differences(std::slice::from_ref(&renamed)).len(), 1);
        let mut repair = changed(&json!({}), &json!([]));
        repair["source"] = json!("resync");
        repair["type"] = json!("user.updated");
        repair["user"] = john(false);
        assert_ne!(
            reader(&[snapshot(), repair.clone()]).broken,
            Vec::<String>::new()
        );
        repair["user"] = renamed;
        assert_eq!(reader(&[snapshot(), repair]).broken, Vec::<String>::new());
        assert_eq!(told.differences(&[json!({"id": "jack"})]).len(), 1);
    }

    #[test]
    fn losses_outside_of_gaps_and_invented_events_are_found() {
        let key = |time: &str| -> Key { ("user.updated".into(), "john".into(), time.into()) };
        let gap = json!({"type": "presence.gap", "from": "2026-01-05T10:00:00.100Z", "to": "2026-01-05T10:00:00.200Z", "repaired": []});
        let mut reader = reader(&[gap]);
        reader.heard.insert(key("2026-01-05T10:00:00.05Z"), 1);
        let happened = [
            key("2026-01-05T10:00:00.05Z"),
            key("2026-01-05T10:00:00.0999Z"),
            key("2026-01-05T10:00:00.1Z"),
            key("2026-01-05T10:00:00.2005Z"),
            key("2026-01-05T10:00:00.202Z"),
        ];
        assert_eq!(
            reader.silent_losses(&happened),
            [&happened[1], &happened[4]]
        );
        assert_eq!(reader.inventions(&happened[1..]), [&happened[0]]);
    }
}
