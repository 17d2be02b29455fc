//! Coalescing: of the events that wait, only the latest one of each user is kept.
//!
//! So memory grows with the number of users, not with time. No I/O and no clock.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::event::{Event, EventUser};
use super::presence::Change;
use super::record::{Record, RecordBody, RecordSource};

/// One value per user, in the order in which the users were added.
#[derive(Debug)]
pub struct LatestPerUser<T> {
    slots: HashMap<Arc<str>, (u64, T)>,
    order: BTreeMap<u64, Arc<str>>,
    next_position: u64,
}

impl<T> Default for LatestPerUser<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            order: BTreeMap::new(),
            next_position: 0,
        }
    }
}

impl<T> LatestPerUser<T> {
    /// The value of a user.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.slots.get(id).map(|(_, value)| value)
    }

    /// Sets the value of a user. An existing entry keeps its position.
    pub fn insert(&mut self, id: &str, value: T) {
        if let Some((_, slot)) = self.slots.get_mut(id) {
            *slot = value;
            return;
        }
        let id: Arc<str> = id.into();
        self.order.insert(self.next_position, Arc::clone(&id));
        self.slots.insert(id, (self.next_position, value));
        self.next_position += 1;
    }

    /// Removes the value of a user.
    pub fn remove(&mut self, id: &str) -> Option<T> {
        let (position, value) = self.slots.remove(id)?;
        self.order.remove(&position);
        Some(value)
    }

    /// The value of the user who was added first.
    pub fn first(&self) -> Option<&T> {
        let (_, id) = self.order.first_key_value()?;
        self.get(id)
    }

    /// Removes the value of the user who was added first.
    pub fn pop_first(&mut self) -> Option<T> {
        let (_, id) = self.order.pop_first()?;
        self.slots.remove(&id).map(|(_, value)| value)
    }
}

/// The latest event about a user, with how the user changed since the event that was last written.
#[derive(Debug)]
pub struct CoalescedEvent {
    /// When the latest event was received.
    pub received_at: DateTime<Utc>,
    /// Where it comes from.
    pub source: RecordSource,
    /// The event as the service sent it.
    pub text: String,
    /// The change since the last written event.
    pub change: Change,
}

impl CoalescedEvent {
    /// Merges the event of a record into an earlier one about the same user, if there is one.
    pub fn merge(
        earlier: Option<&Self>,
        record: &Record<'_>,
        event: &Event<'_>,
        user: &EventUser<'_>,
        change: &Change,
    ) -> Self {
        Self {
            received_at: record.received_at,
            source: record.source,
            text: event.raw.to_owned(),
            change: match earlier {
                Some(earlier) => earlier.change.followed_by(change, &user.presence()),
                None => change.clone(),
            },
        }
    }

    /// The record to write.
    pub fn record(&self) -> Record<'_> {
        Record {
            received_at: self.received_at,
            source: self.source,
            body: RecordBody::Event {
                event: Event::parse(&self.text).expect("it was parsed before it was kept"),
                change: Some(self.change.clone()),
            },
        }
    }
}

/// What coalescing does with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoalesceRule {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// It stays unless a later item is about the same user.
    KeepLatestOf(String),
}

/// Removes the items that later ones about the same user make unnecessary. Returns how many were removed.
pub fn keep_latest<T>(items: &mut VecDeque<T>, rule: impl Fn(&T) -> CoalesceRule) -> usize {
    let before = items.len();
    let mut seen = HashSet::new();
    let mut kept = VecDeque::new();
    for item in std::mem::take(items).into_iter().rev() {
        let keep = match rule(&item) {
            CoalesceRule::Keep => true,
            CoalesceRule::Drop => false,
            CoalesceRule::KeepLatestOf(user) => seen.insert(user),
        };
        if keep {
            kept.push_front(item);
        }
    }
    *items = kept;
    before - items.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_keeps_their_position_until_removed() {
        let mut latest = LatestPerUser::default();
        for (id, value) in [("amy", 1), ("bob", 2), ("amy", 3), ("cem", 4)] {
            latest.insert(id, value);
        }
        assert_eq!(latest.first(), Some(&3));
        assert_eq!(latest.remove("bob"), Some(2));
        assert_eq!(latest.remove("bob"), None);
        latest.insert("bob", 5);
        let drained: Vec<_> = std::iter::from_fn(|| latest.pop_first()).collect();
        assert_eq!(drained, [3, 4, 5]);
        assert_eq!(latest.get("amy"), None);
    }

    #[test]
    fn only_the_latest_item_of_each_user_is_kept() {
        let mut items = VecDeque::from(["a1", "-", "b1", "a2", "x", "b2"]);
        let removed = keep_latest(&mut items, |item| match item.as_bytes()[0] {
            b'-' => CoalesceRule::Keep,
            b'x' => CoalesceRule::Drop,
            user => CoalesceRule::KeepLatestOf(char::from(user).to_string()),
        });
        assert_eq!((items, removed), (VecDeque::from(["-", "a2", "b2"]), 3));
    }
}
