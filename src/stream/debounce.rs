//! Folding flicker: a user who goes and comes back within a while is not reported.
//!
//! A change of `online` waits. If it is undone in time, nothing is told; if it stands, it is told as one event that
//! says how the user moved since he was last told of. Everything else about the user that happens meanwhile waits with
//! it, for an event shows the whole user. No clock: times come in.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::domain::record::{Record, RecordBody, RecordSource};
use crate::domain::{Change, Event, PresenceField};

/// An event that waited.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) received_at: DateTime<Utc>,
    pub(super) source: RecordSource,
    pub(super) text: String,
    pub(super) change: Change,
}

impl Settled {
    /// The record to tell.
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            received_at: self.received_at,
            source: self.source,
            body: RecordBody::Event {
                event: Event::parse(&self.text).expect("it was an event before it waited"),
                change: Some(self.change.clone()),
            },
        }
    }
}

#[derive(Debug)]
struct Pending {
    due: Instant,
    settled: Settled,
}

/// The changes that wait.
#[derive(Debug, Default)]
pub(super) struct Settling {
    pending: HashMap<String, Pending>,
}

/// What becomes of a record.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is told as it is.
    Tell,
    /// It waits, or undid what waited.
    Wait,
    /// It ends the wait of an earlier change: this is told instead.
    Instead(Box<Settled>),
}

impl Settling {
    /// Decides about a record that arrived now; a change of `online` is due at `due`.
    pub(super) fn take(&mut self, record: &Record<'_>, due: Instant) -> Fate {
        let RecordBody::Event {
            event,
            change: Some(change),
        } = &record.body
        else {
            return Fate::Tell;
        };
        let Some(user) = &event.user else {
            return Fate::Tell;
        };
        let earlier = self.pending.remove(&*user.id);
        let started = earlier.as_ref().map(|pending| pending.due);
        let change = match &earlier {
            Some(pending) => pending.settled.change.followed_by(change, &user.presence()),
            None => change.clone(),
        };
        let settled = || Settled {
            received_at: record.received_at,
            source: record.source,
            text: event.raw.to_owned(),
            change: change.clone(),
        };
        if change.changed.contains(PresenceField::Online) {
            let pending = Pending {
                due: started.unwrap_or(due),
                settled: settled(),
            };
            self.pending.insert(user.id.clone().into_owned(), pending);
            return Fate::Wait;
        }
        match earlier {
            None => Fate::Tell,
            // Coming back is activity, so `last_active` has always moved with it.
            Some(_)
                if change.other_fields_delta == 0
                    && change
                        .changed
                        .iter()
                        .all(|field| field == PresenceField::LastActive) =>
            {
                Fate::Wait
            }
            Some(_) => Fate::Instead(Box::new(settled())),
        }
    }

    /// How a user has moved since he was last told of, if that waits.
    pub(super) fn waiting(&self, id: &str) -> Option<&Change> {
        let pending = self.pending.get(id)?;
        Some(&pending.settled.change)
    }

    /// All changes that wait, in the order in which they began: there is no later.
    pub(super) fn rest(&mut self) -> Vec<Settled> {
        let last = self.pending.values().map(|pending| pending.due).max();
        last.map_or_else(Vec::new, |last| self.due(last))
    }

    /// When the next change is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// The changes that have stood long enough, in the order in which they began.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Settled> {
        let mut due: Vec<Pending> = self
            .pending
            .extract_if(|_, pending| pending.due <= now)
            .map(|(_, pending)| pending)
            .collect();
        due.sort_by_key(|pending| (pending.due, pending.settled.received_at));
        due.into_iter().map(|pending| pending.settled).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Presence, PresenceFields};

    struct Bench {
        settling: Settling,
        start: Instant,
        before: Presence,
        /// How much the next change moves what is not presence.
        rest: u32,
    }

    impl Bench {
        /// A user who is online, with two seconds to settle.
        fn new() -> Self {
            Self {
                settling: Settling::default(),
                start: Instant::now(),
                before: Presence {
                    online: Some(true),
                    ..Presence::default()
                },
                rest: 0,
            }
        }

        fn at(&self, tenths: u64) -> Instant {
            self.start + Duration::from_millis(100 * tenths)
        }

        fn take(&mut self, tenths: u64, online: bool, status: Option<&str>) -> Fate {
            let after = Presence {
                online: Some(online),
                status: status.map(str::to_owned),
                last_active: None,
                invisible: None,
            };
            let mut change = Change::between(&self.before, &after);
            change.other_fields_delta = std::mem::take(&mut self.rest);
            let status = status.map_or(String::new(), |text| format!(r#","status":"{text}""#));
            let text = format!(
                r#"{{"type":"user.presence.changed","user":{{"id":"amy","online":{online}{status}}}}}"#
            );
            self.before = after;
            let record = Record {
                received_at: DateTime::UNIX_EPOCH,
                source: RecordSource::Ws,
                body: RecordBody::Event {
                    event: Event::parse(&text).unwrap(),
                    change: Some(change),
                },
            };
            let due = self.at(tenths + 20);
            self.settling.take(&record, due)
        }

        fn due(&mut self, tenths: u64) -> Vec<(Option<bool>, PresenceFields)> {
            let now = self.at(tenths);
            let settled = self.settling.due(now);
            settled
                .iter()
                .map(|settled| match settled.record().body {
                    RecordBody::Event { event, change } => {
                        (event.user.unwrap().online, change.unwrap().changed)
                    }
                    other => panic!("{other:?}"),
                })
                .collect()
        }
    }

    #[test]
    fn who_comes_back_in_time_was_never_away() {
        let mut bench = Bench::new();
        assert!(matches!(bench.take(0, false, None), Fate::Wait));
        assert!(matches!(bench.take(10, true, None), Fate::Wait));
        assert_eq!(bench.settling.next_due(), None);
        assert!(bench.due(100).is_empty());
    }

    #[test]
    fn who_stays_away_is_told_once_his_time_is_over() {
        let mut bench = Bench::new();
        bench.take(0, false, None);
        assert!(bench.due(19).is_empty());
        assert_eq!(bench.settling.next_due(), Some(bench.at(20)));
        assert_eq!(
            bench.due(20),
            [(Some(false), PresenceFields::from([PresenceField::Online]))]
        );
        assert!(bench.due(21).is_empty());
    }

    #[test]
    fn each_absence_has_its_own_time() {
        let mut bench = Bench::new();
        bench.take(0, false, None);
        bench.take(10, true, None);
        bench.take(15, false, None);
        assert!(bench.due(34).is_empty());
        assert_eq!(bench.due(35).len(), 1);
    }

    #[test]
    fn a_status_that_changed_meanwhile_is_told_with_the_final_state() {
        let mut bench = Bench::new();
        bench.take(0, false, None);
        bench.take(5, false, Some("away"));
        assert_eq!(
            bench.due(20),
            [(
                Some(false),
                PresenceFields::from([PresenceField::Online, PresenceField::Status])
            )]
        );
        bench.take(30, true, Some("away"));
        let Fate::Instead(settled) = bench.take(35, false, Some("gone")) else {
            panic!("the status moved for good");
        };
        assert_eq!(settled.change.changed, [PresenceField::Status]);
        assert_eq!(settled.change.previous.status.as_deref(), Some("away"));
    }

    #[test]
    fn a_new_name_is_told_although_the_flicker_is_not() {
        let mut bench = Bench::new();
        bench.take(0, false, None);
        bench.rest = 7;
        assert!(matches!(bench.take(5, false, None), Fate::Wait));
        let Fate::Instead(settled) = bench.take(10, true, None) else {
            panic!("the name is another one for good");
        };
        assert_eq!(
            (settled.change.changed, settled.change.other_fields_delta),
            (PresenceFields::NONE, 7)
        );
        bench.take(30, false, None);
        bench.rest = 7;
        bench.take(35, false, None);
        bench.rest = 7_u32.wrapping_neg();
        assert!(matches!(bench.take(40, true, None), Fate::Wait));
        assert!(bench.due(100).is_empty());
    }

    #[test]
    fn other_changes_pass() {
        let mut bench = Bench::new();
        assert!(matches!(bench.take(0, true, Some("lunch")), Fate::Tell));
    }
}
