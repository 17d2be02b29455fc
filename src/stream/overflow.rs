//! Overflow: when the reader of stdout is too slow, events are coalesced instead of written.
//!
//! Of each user only the change since the last written event is kept. Once the reader takes lines again, they get a gap
//! and after it one event for each user whose state differs from what was last written. No I/O and no clock.

use chrono::{DateTime, Utc};

use crate::domain::coalesce::{CoalescedEvent, LatestPerUser};
use crate::domain::record::{Gap, Record, RecordBody, RecordSource};
use crate::domain::time::{millis, millis_after};

/// What the gap says about its cause.
const GAP_NOTE: &str = "reader too slow";

/// The events that the reader could not take.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    /// When the first event was held back; `None` while none is.
    since: Option<DateTime<Utc>>,
    users: LatestPerUser<CoalescedEvent>,
    /// Events that say nothing about a user's state. They are only counted.
    other_events: u64,
}

impl Overflow {
    /// Whether anything was held back.
    pub(super) const fn is_active(&self) -> bool {
        self.since.is_some()
    }

    /// Holds an event back. Returns `false` for a record of our own: it is never repeated, so it must be written.
    pub(super) fn absorb(&mut self, record: &Record<'_>) -> bool {
        let RecordBody::Event { event, change } = &record.body else {
            return false;
        };
        self.since.get_or_insert(record.received_at);
        let (Some(user), Some(change)) = (&event.user, change) else {
            self.other_events += 1;
            return true;
        };
        let earlier = self.users.get(&user.id);
        let mut merged = CoalescedEvent::merge(earlier, record, event, user, change);
        merged.source = RecordSource::Resync;
        self.users.insert(&user.id, merged);
        true
    }

    /// Ends the overflow. Returns the gap and the events to write after it, or `None` if nothing was held back.
    pub(super) fn take(&mut self, now: DateTime<Utc>) -> Option<(Gap, Vec<CoalescedEvent>)> {
        let from = self.since?;
        let mut held = std::mem::take(self);
        let events: Vec<CoalescedEvent> = std::iter::from_fn(|| held.users.pop_first())
            .filter(|event| !event.change.is_empty())
            .collect();
        let gap = Gap {
            from: millis(from),
            to: millis_after(now.max(from)),
            repaired: events
                .iter()
                .filter_map(|event| event.record().body.user_id().map(str::to_owned))
                .collect(),
            note: match held.other_events {
                0 => GAP_NOTE.to_owned(),
                1 => format!("{GAP_NOTE}; 1 other event was left out"),
                others => format!("{GAP_NOTE}; {others} other events were left out"),
            },
        };
        Some((gap, events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Change, Event, Presence, PresenceField, PresenceFields};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn absorb(overflow: &mut Overflow, id: &str, before: bool, online: bool, second: i64) {
        let text = format!(
            r#"{{"type":"user.presence.changed","user":{{"id":"{id}","online":{online}}}}}"#
        );
        let state = |online| Presence {
            online: Some(online),
            ..Presence::default()
        };
        let record = Record {
            received_at: at(second),
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(&text).unwrap(),
                change: Some(Change::between(&state(before), &state(online))),
            },
        };
        assert!(overflow.absorb(&record));
    }

    #[test]
    fn a_user_who_is_back_in_their_old_state_gets_no_event() {
        let mut overflow = Overflow::default();
        for second in 0..100 {
            let odd = second % 2 == 1;
            absorb(&mut overflow, "amy", odd, !odd, second);
        }
        absorb(&mut overflow, "bob", false, true, 100);
        let (gap, events) = overflow.take(at(200)).unwrap();
        assert_eq!(
            (gap.from.as_str(), gap.to.as_str()),
            ("1970-01-01T00:00:00.000Z", "1970-01-01T00:03:20.000Z")
        );
        assert_eq!(
            (gap.repaired, gap.note.as_str()),
            (vec!["bob".to_owned()], GAP_NOTE)
        );
        let [bob] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(bob.source, RecordSource::Resync);
        assert_eq!(bob.change.changed, [PresenceField::Online]);
        assert!(!overflow.is_active());
        assert!(overflow.take(at(201)).is_none());
    }

    #[test]
    fn a_new_name_is_written_unless_it_changed_back() {
        let mut overflow = Overflow::default();
        let mut rename = |id: &str, rest: u32| {
            let text = format!(r#"{{"type":"user.updated","user":{{"id":"{id}","online":true}}}}"#);
            let change = Change {
                other_fields_delta: rest,
                ..Change::default()
            };
            let record = Record {
                received_at: at(1),
                source: RecordSource::Ws,
                body: RecordBody::Event {
                    event: Event::parse(&text).unwrap(),
                    change: Some(change),
                },
            };
            assert!(overflow.absorb(&record));
        };
        rename("amy", 7);
        rename("bob", 7);
        rename("bob", 7_u32.wrapping_neg());
        rename("cem", 0);
        absorb(&mut overflow, "amy", false, true, 2);
        absorb(&mut overflow, "amy", true, false, 3);
        let (gap, events) = overflow.take(at(4)).unwrap();
        assert_eq!(gap.repaired, ["amy"]);
        let [amy] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(
            (amy.change.changed, amy.change.other_fields_delta),
            (PresenceFields::NONE, 7)
        );
    }

    #[test]
    fn other_events_are_counted_and_own_records_are_refused() {
        let mut overflow = Overflow::default();
        let record = |body| Record {
            received_at: at(1),
            source: RecordSource::Ws,
            body,
        };
        let event = Event::parse(r#"{"type":"channel.updated"}"#).unwrap();
        assert!(overflow.absorb(&record(RecordBody::Event {
            event,
            change: None
        })));
        assert!(!overflow.absorb(&record(RecordBody::ConnectionRecovered)));
        let (gap, events) = overflow.take(at(2)).unwrap();
        assert!(events.is_empty());
        assert_eq!(gap.note, "reader too slow; 1 other event was left out");
    }
}
