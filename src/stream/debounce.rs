//! Debouncing (`--settle`): a user who goes and comes back within a while causes no event.
//!
//! A change of `online` waits. If it is undone in time, nothing is written. If it holds, one event is written with the
//! change since the event that was last written. An event shows the whole user, so other changes to the same user that
//! arrive meanwhile are part of it. This module does not read the clock; the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::coalesce::{CoalescedEvent, LatestPerUser};
use crate::domain::record::{Record, RecordBody};
use crate::domain::{Change, PresenceField};

#[derive(Debug)]
struct PendingEvent {
    due: Instant,
    event: CoalescedEvent,
}

/// The events that wait.
#[derive(Debug)]
pub(super) struct Debounce {
    delay: Duration,
    /// All wait equally long, so the first one added is due first.
    pending: LatestPerUser<PendingEvent>,
}

/// What to do with a record.
#[derive(Debug)]
pub(super) enum DebounceAction {
    /// Write it.
    Emit,
    /// Write nothing: it waits, or it undid the change that waited.
    Hold,
    /// Write this instead: the record ends the wait of an earlier change.
    EmitInstead(Box<CoalescedEvent>),
}

impl Debounce {
    /// Lets changes of `online` wait this long.
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            pending: LatestPerUser::default(),
        }
    }

    /// Decides about a record that arrives now.
    pub(super) fn push(&mut self, record: &Record<'_>, now: Instant) -> DebounceAction {
        let RecordBody::Event {
            event,
            change: Some(change),
        } = &record.body
        else {
            return DebounceAction::Emit;
        };
        let Some(user) = &event.user else {
            return DebounceAction::Emit;
        };
        let earlier = self.pending.get(&user.id);
        if earlier.is_none() && !change.changed.contains(PresenceField::Online) {
            return DebounceAction::Emit;
        }
        let due = earlier.map_or(now + self.delay, |pending| pending.due);
        let earlier = earlier.map(|pending| &pending.event);
        let merged = CoalescedEvent::merge(earlier, record, event, user, change);
        if merged.change.changed.contains(PresenceField::Online) {
            let event = merged;
            self.pending.insert(&user.id, PendingEvent { due, event });
            return DebounceAction::Hold;
        }
        self.pending.remove(&user.id);
        let mut changed = merged.change.changed.iter();
        // A user who comes back was active, so `last_active` has always changed, too.
        if merged.change.other_fields_delta == 0
            && changed.all(|field| field == PresenceField::LastActive)
        {
            DebounceAction::Hold
        } else {
            DebounceAction::EmitInstead(Box::new(merged))
        }
    }

    /// The change that waits for a user, if there is one.
    pub(super) fn pending_change(&self, id: &str) -> Option<&Change> {
        self.pending.get(id).map(|pending| &pending.event.change)
    }

    /// When the next event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pending.first().map(|pending| pending.due)
    }

    /// Removes and returns the next event that has waited long enough.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<CoalescedEvent> {
        if self.next_due()? > now {
            return None;
        }
        self.pop()
    }

    /// Removes and returns the next event, whether or not it has waited long enough.
    pub(super) fn pop(&mut self) -> Option<CoalescedEvent> {
        self.pending.pop_first().map(|pending| pending.event)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::record::RecordSource;
    use crate::domain::{Event, Presence, PresenceFields};

    struct Fixture {
        debounce: Debounce,
        start: Instant,
        before: Presence,
        /// How much the next change alters the fingerprint.
        rest: u32,
    }

    impl Fixture {
        /// A user who is online, and a delay of two seconds.
        fn new() -> Self {
            Self {
                debounce: Debounce::new(Duration::from_secs(2)),
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

        fn take(&mut self, tenths: u64, online: bool, status: Option<&str>) -> DebounceAction {
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
            let now = self.at(tenths);
            self.debounce.push(&record, now)
        }

        fn pop_due(&mut self, tenths: u64) -> Vec<(Option<bool>, PresenceFields)> {
            let now = self.at(tenths);
            std::iter::from_fn(|| self.debounce.pop_due(now))
                .map(|event| match event.record().body {
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
        let mut fixture = Fixture::new();
        assert!(matches!(fixture.take(0, false, None), DebounceAction::Hold));
        assert!(matches!(fixture.take(10, true, None), DebounceAction::Hold));
        assert_eq!(fixture.debounce.next_due(), None);
        assert!(fixture.pop_due(100).is_empty());
    }

    #[test]
    fn who_stays_away_is_reported_once_their_time_is_over() {
        let mut fixture = Fixture::new();
        fixture.take(0, false, None);
        assert!(fixture.pop_due(19).is_empty());
        assert_eq!(fixture.debounce.next_due(), Some(fixture.at(20)));
        assert_eq!(
            fixture.pop_due(20),
            [(Some(false), PresenceFields::from([PresenceField::Online]))]
        );
        assert!(fixture.pop_due(21).is_empty());
    }

    #[test]
    fn each_absence_has_its_own_time() {
        let mut fixture = Fixture::new();
        fixture.take(0, false, None);
        fixture.take(10, true, None);
        fixture.take(15, false, None);
        assert!(fixture.pop_due(34).is_empty());
        assert_eq!(fixture.pop_due(35).len(), 1);
    }

    #[test]
    fn a_status_that_changed_meanwhile_is_written_with_the_final_state() {
        let mut fixture = Fixture::new();
        fixture.take(0, false, None);
        fixture.take(5, false, Some("away"));
        assert_eq!(
            fixture.pop_due(20),
            [(
                Some(false),
                PresenceFields::from([PresenceField::Online, PresenceField::Status])
            )]
        );
        fixture.take(30, true, Some("away"));
        let DebounceAction::EmitInstead(settled) = fixture.take(35, false, Some("gone")) else {
            panic!("the status changed for good");
        };
        assert_eq!(settled.change.changed, [PresenceField::Status]);
        assert_eq!(settled.change.previous.status.as_deref(), Some("away"));
    }

    #[test]
    fn a_new_name_is_written_although_the_flicker_is_not() {
        let mut fixture = Fixture::new();
        fixture.take(0, false, None);
        fixture.rest = 7;
        assert!(matches!(fixture.take(5, false, None), DebounceAction::Hold));
        let DebounceAction::EmitInstead(settled) = fixture.take(10, true, None) else {
            panic!("the name changed for good");
        };
        assert_eq!(
            (settled.change.changed, settled.change.other_fields_delta),
            (PresenceFields::NONE, 7)
        );
        fixture.take(30, false, None);
        fixture.rest = 7;
        fixture.take(35, false, None);
        fixture.rest = 7_u32.wrapping_neg();
        assert!(matches!(fixture.take(40, true, None), DebounceAction::Hold));
        assert!(fixture.pop_due(100).is_empty());
    }

    #[test]
    fn other_changes_do_not_wait() {
        let mut fixture = Fixture::new();
        assert!(matches!(
            fixture.take(0, true, Some("lunch")),
            DebounceAction::Emit
        ));
    }
}
