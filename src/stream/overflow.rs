//! Keeping up with a reader who does not: events that cannot be written are folded, and he is told so.
//!
//! Of each user only how he moved since he was last told of is kept, so memory grows with the users and not with time.
//! Once the reader takes lines again he gets a gap, and after it one event for each user who is not as he was last told.
//! No I/O and no clock.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::domain::record::{Gap, Record, RecordBody, RecordSource};
use crate::domain::time::{millis, millis_after};
use crate::stream::debounce::Settled;

/// What the gap says about its cause.
const NOTE: &str = "reader too slow";

/// The events that the reader could not take.
#[derive(Debug, Default)]
pub(super) struct Behind {
    from: Option<DateTime<Utc>>,
    users: HashMap<String, Settled>,
    /// The order in which users were first held back.
    order: Vec<String>,
    /// Events that say nothing about a user's state and are left out.
    others: u64,
}

impl Behind {
    /// Whether anything was held back.
    pub(super) const fn is_behind(&self) -> bool {
        self.from.is_some()
    }

    /// Takes an event instead of the reader. Whether it did: what is no event must be written, for it is not told twice.
    pub(super) fn absorb(&mut self, record: &Record<'_>) -> bool {
        let RecordBody::Event { event, change } = &record.body else {
            return false;
        };
        self.from.get_or_insert(record.received_at);
        let (Some(user), Some(change)) = (&event.user, change) else {
            self.others += 1;
            return true;
        };
        let change = match self.users.get(&*user.id) {
            Some(earlier) => earlier.change.followed_by(change, &user.presence()),
            None => {
                self.order.push(user.id.clone().into_owned());
                change.clone()
            }
        };
        let folded = Settled {
            received_at: record.received_at,
            source: RecordSource::Resync,
            text: event.raw.to_owned(),
            change,
        };
        self.users.insert(user.id.clone().into_owned(), folded);
        true
    }

    /// What to tell the reader now that he takes lines again.
    pub(super) fn catch_up(&mut self, now: DateTime<Utc>) -> Option<(Gap, Vec<Settled>)> {
        let from = self.from?;
        let mut held = std::mem::take(self);
        let folded: Vec<Settled> = held
            .order
            .iter()
            .filter_map(|id| held.users.remove(id))
            .filter(|folded| !folded.change.is_empty())
            .collect();
        let repaired = folded
            .iter()
            .filter_map(|folded| folded.record().body.user_id().map(str::to_owned))
            .collect();
        let note = match held.others {
            0 => NOTE.to_owned(),
            others => format!("{NOTE}; {others} other events were left out"),
        };
        let gap = Gap {
            from: millis(from),
            to: millis_after(now.max(from)),
            repaired,
            note,
        };
        Some((gap, folded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Change, Event, Presence, PresenceField, PresenceFields};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn absorb(behind: &mut Behind, id: &str, before: bool, online: bool, second: i64) {
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
        assert!(behind.absorb(&record));
    }

    #[test]
    fn a_user_who_is_as_he_was_is_not_told_of() {
        let mut behind = Behind::default();
        for second in 0..100 {
            let odd = second % 2 == 1;
            absorb(&mut behind, "amy", odd, !odd, second);
        }
        absorb(&mut behind, "bob", false, true, 100);
        let (gap, folded) = behind.catch_up(at(200)).unwrap();
        assert_eq!(
            (gap.from.as_str(), gap.to.as_str()),
            ("1970-01-01T00:00:00.000Z", "1970-01-01T00:03:20.000Z")
        );
        assert_eq!(
            (gap.repaired, gap.note.as_str()),
            (vec!["bob".to_owned()], NOTE)
        );
        let [bob] = &folded[..] else {
            panic!("{folded:?}");
        };
        assert_eq!(bob.source, RecordSource::Resync);
        assert_eq!(bob.change.changed, [PresenceField::Online]);
        assert!(!behind.is_behind());
        assert!(behind.catch_up(at(201)).is_none());
    }

    #[test]
    fn a_new_name_is_told_unless_it_is_the_old_one_again() {
        let mut behind = Behind::default();
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
            assert!(behind.absorb(&record));
        };
        rename("amy", 7);
        rename("bob", 7);
        rename("bob", 7_u32.wrapping_neg());
        rename("cem", 0);
        absorb(&mut behind, "amy", false, true, 2);
        absorb(&mut behind, "amy", true, false, 3);
        let (gap, folded) = behind.catch_up(at(4)).unwrap();
        assert_eq!(gap.repaired, ["amy"]);
        let [amy] = &folded[..] else {
            panic!("{folded:?}");
        };
        assert_eq!(
            (amy.change.changed, amy.change.other_fields_delta),
            (PresenceFields::NONE, 7)
        );
    }

    #[test]
    fn other_events_are_counted_and_own_records_refused() {
        let mut behind = Behind::default();
        let record = |body| Record {
            received_at: at(1),
            source: RecordSource::Ws,
            body,
        };
        let event = Event::parse(r#"{"type":"channel.updated"}"#).unwrap();
        assert!(behind.absorb(&record(RecordBody::Event {
            event,
            change: None
        })));
        assert!(!behind.absorb(&record(RecordBody::ConnectionRecovered)));
        let (gap, folded) = behind.catch_up(at(2)).unwrap();
        assert!(folded.is_empty());
        assert_eq!(gap.note, "reader too slow; 1 other events were left out");
    }
}
