//! Which users are requested, which of them are subscribed, and their last known state: the watcher's table of users.
//!
//! A subscription belongs to a connection, so a new connection invalidates all of them. The known states stay, because
//! a repair compares the fresh answers with them. Entries are small, since a watcher may follow a million users: a state
//! is allocated when it is known, and the fields that are not presence are kept as a fingerprint only. No I/O happens
//! here.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroI64;

use crate::domain::event::EventUser;
use crate::domain::record::{Coverage, MissingReason};
use crate::domain::timestamp::{Timestamp, parse_ticks};
use crate::domain::{
    Change, Fingerprint, FingerprintSample, IdSet, Presence, PresenceField, User, UserOrigin,
};
use crate::events::channel_sets::{ChannelSet, ChannelSets};

/// Why a user is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The user was named.
    Named,
    /// The user is a member of the channel with this number.
    Member(u16),
}

/// The state of a user's subscription on the current connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// Never requested.
    NotRequested,
    /// Was requested, but is no longer needed.
    Released,
    /// Requested; the answer has not arrived.
    Pending,
    /// Requested; the answer did not contain the user.
    Missing,
    /// The answer has arrived: subscribed, and the state is known.
    Subscribed,
}

/// What an event or an answer changed in the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserUpdate {
    /// The difference to the known state; `None` when nothing was known before.
    pub(super) change: Option<Change>,
    /// Whether the event is older than one that arrived before it.
    pub(super) out_of_order: bool,
}

/// The last known state of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownUser {
    /// The presence fields.
    pub presence: Presence,
    /// A fingerprint of all other fields, where one is known.
    pub fingerprint: Option<FingerprintSample>,
}

impl KnownUser {
    /// The state before a change.
    #[must_use]
    pub fn before_change(self, change: &Change) -> Self {
        Self {
            presence: change.revert(&self.presence),
            fingerprint: self
                .fingerprint
                .map(|sample| sample.before_delta(change.other_fields_delta)),
        }
    }
}

/// How far the subscription of an entry has come on the current connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// To be queried.
    #[default]
    Queued,
    /// The query is under way.
    Queried,
    Missing,
    Subscribed,
    /// Nothing requests the user any more.
    Released,
}

/// A user who is or was requested.
#[derive(Debug, Clone, Default)]
struct UserEntry {
    /// The last known state, once there is one.
    state: Option<Box<UserState>>,
    channels: ChannelSet,
    is_named: bool,
    phase: Phase,
    /// Why the user is missing. Only meaningful in [`Phase::Missing`].
    missing_reason: MissingReason,
}

/// The last known state of an entry.
#[derive(Debug, Clone, Default)]
struct UserState {
    online: Option<bool>,
    invisible: Option<bool>,
    status: Option<Box<str>>,
    last_active: Option<Timestamp>,
    /// Of all other fields. Meaningless without `origin`.
    fingerprint: Fingerprint,
    /// Of the text that the fingerprint was computed from; only for events, otherwise 0.
    other_text_hash: u32,
    origin: Option<UserOrigin>,
    /// When the last event about the user happened, by the server's clock.
    last_event: Option<NonZeroI64>,
}

impl UserState {
    fn presence(&self) -> Presence {
        Presence {
            online: self.online,
            invisible: self.invisible,
            status: self.status.as_deref().map(str::to_owned),
            last_active: self.last_active.as_ref().map(Timestamp::text),
        }
    }

    fn sample(&self) -> Option<FingerprintSample> {
        let fingerprint = self.fingerprint;
        self.origin.map(|origin| FingerprintSample {
            origin,
            fingerprint,
        })
    }

    fn known_user(&self) -> KnownUser {
        KnownUser {
            presence: self.presence(),
            fingerprint: self.sample(),
        }
    }

    /// Applies an event about the user. Also returns whether it is older than one before it.
    fn apply_event(
        &mut self,
        user: &EventUser<'_>,
        created_at: Option<&str>,
        spare_text: &mut String,
    ) -> (Change, bool) {
        let at = created_at.and_then(parse_ticks).and_then(NonZeroI64::new);
        let out_of_order = at < self.last_event && at.is_some();
        if !out_of_order {
            self.last_event = at.or(self.last_event);
        }
        // Hashing each field costs as much as all other work on the event, so it is done for a changed text only.
        let other_text_hash = user.other_text_hash().unwrap_or_default();
        let is_same_text = other_text_hash != 0 && other_text_hash == self.other_text_hash;
        let fingerprint = match is_same_text {
            true => self.fingerprint.with_updated_at(user.updated_at),
            false => Fingerprint::of_text(user.raw),
        };
        let seen = ObservedUser {
            online: user.online,
            invisible: user.invisible,
            status: user.status.as_deref(),
            last_active: user.last_active.as_deref(),
            fingerprint: Some(FingerprintSample {
                origin: UserOrigin::Event,
                fingerprint,
            }),
        };
        let change = self.update(&seen, spare_text);
        self.other_text_hash = other_text_hash;
        (change, out_of_order)
    }

    /// Takes over an observation and returns what changed, by the rule of [`Change::between`]. An earlier `last_active`
    /// is written into the memory of `spare_text`.
    fn update(&mut self, seen: &ObservedUser<'_>, spare_text: &mut String) -> Change {
        let mut change = Change::default();
        if seen.online.is_some() && seen.online != self.online {
            change.changed.insert(PresenceField::Online);
            change.previous.online = self.online;
            self.online = seen.online;
        }
        if seen.invisible.is_some() && seen.invisible != self.invisible {
            change.changed.insert(PresenceField::Invisible);
            change.previous.invisible = self.invisible;
            self.invisible = seen.invisible;
        }
        if seen.status != self.status.as_deref() {
            change.changed.insert(PresenceField::Status);
            change.previous.status = self.status.take().map(String::from);
            self.status = seen.status.map(Box::from);
        }
        if let Some(last_active) = seen.last_active.map(Timestamp::parse)
            && self
                .last_active
                .as_ref()
                .is_none_or(|known| last_active.is_newer_than(known))
        {
            change.changed.insert(PresenceField::LastActive);
            change.previous.last_active = self.last_active.as_ref().map(|known| {
                let mut text = std::mem::take(spare_text);
                text.clear();
                known.write_to(&mut text);
                text
            });
            self.last_active = Some(last_active);
        }
        if let Some(sample) = seen.fingerprint {
            change.other_fields_delta = self.sample().map_or(0, |earlier| earlier.delta_to(sample));
            (self.origin, self.fingerprint) = (Some(sample.origin), sample.fingerprint);
            self.other_text_hash = 0;
        }
        change
    }
}

impl UserEntry {
    const fn is_requested(&self) -> bool {
        self.is_named || !self.channels.is_empty()
    }

    fn restore(&mut self, known: &KnownUser) {
        let seen = ObservedUser::new(&known.presence, known.fingerprint);
        self.update(&seen, &mut String::new());
    }

    /// Applies an event about the user.
    fn apply_event(
        &mut self,
        user: &EventUser<'_>,
        created_at: Option<&str>,
        spare_text: &mut String,
    ) -> UserUpdate {
        let is_known = self.state.is_some();
        let state = self.state.get_or_insert_default();
        let (change, out_of_order) = state.apply_event(user, created_at, spare_text);
        UserUpdate {
            change: is_known.then_some(change),
            out_of_order,
        }
    }

    /// Takes over an observation and returns what changed, if a state was known.
    fn update(&mut self, seen: &ObservedUser<'_>, spare_text: &mut String) -> Option<Change> {
        let is_known = self.state.is_some();
        let change = self.state.get_or_insert_default().update(seen, spare_text);
        is_known.then_some(change)
    }

    /// Forgets the state of the user, who does not exist any more, and keeps the request.
    fn forget_state(&mut self) {
        *self = Self {
            is_named: self.is_named,
            channels: self.channels,
            phase: Phase::Missing,
            ..Self::default()
        };
    }
}

/// What an event or an answer says about a user.
struct ObservedUser<'a> {
    online: Option<bool>,
    invisible: Option<bool>,
    status: Option<&'a str>,
    last_active: Option<&'a str>,
    fingerprint: Option<FingerprintSample>,
}

impl<'a> ObservedUser<'a> {
    fn new(presence: &'a Presence, fingerprint: Option<FingerprintSample>) -> Self {
        Self {
            online: presence.online,
            invisible: presence.invisible,
            status: presence.status.as_deref(),
            last_active: presence.last_active.as_deref(),
            fingerprint,
        }
    }
}

/// The table of all users that are or were requested.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    ids: IdSet,
    /// The entry of each id, by its number.
    entries: Vec<UserEntry>,
    channels: ChannelSets,
    /// Entries from here on may be in [`Phase::Queued`].
    cursor: usize,
    /// Whether entries before the cursor may be in [`Phase::Queued`], too.
    has_queued_before_cursor: bool,
    /// States from an earlier run, of users who are not requested yet.
    remembered: HashMap<Box<str>, KnownUser>,
    /// The memory of a text that is not needed any more.
    spare_text: String,
}

impl Subscriptions {
    /// A table in which these users are requested by name.
    pub(super) fn for_users(ids: IdSet) -> Self {
        let entry = UserEntry {
            is_named: true,
            ..UserEntry::default()
        };
        Self {
            entries: vec![entry; ids.len()],
            ids,
            ..Self::default()
        }
    }

    fn entry(&self, id: &str) -> Option<&UserEntry> {
        self.ids.number(id).map(|number| &self.entries[number])
    }

    fn entry_mut(&mut self, id: &str) -> Option<&mut UserEntry> {
        let number = self.ids.number(id)?;
        Some(&mut self.entries[number])
    }

    /// All entries with their ids.
    fn iter(&self) -> impl Iterator<Item = (&str, &UserEntry)> {
        self.ids.iter().zip(&self.entries)
    }

    /// Requests a user. Returns whether they were not requested before, for any reason.
    pub(super) fn request(&mut self, id: &str, reason: Reason) -> bool {
        let (number, is_added) = self.ids.insert(id);
        if is_added {
            self.entries.push(UserEntry::default());
        }
        let entry = &mut self.entries[number];
        if is_added || entry.phase == Phase::Released {
            entry.phase = Phase::Queued;
            if let Some(known) = self.remembered.remove(id) {
                entry.restore(&known);
            }
            self.has_queued_before_cursor |= number < self.cursor;
        }
        let is_new = !entry.is_requested();
        match reason {
            Reason::Named => entry.is_named = true,
            Reason::Member(channel) => {
                entry.channels = self.channels.with(entry.channels, channel);
            }
        }
        is_new
    }

    /// Records that a user is no longer a member of a channel. Returns whether nothing requests the user any more.
    pub(super) fn remove_member(&mut self, id: &str, channel: u16) -> bool {
        let number = self.ids.number(id);
        number.is_some_and(|number| self.remove_numbered(number, channel))
    }

    fn remove_numbered(&mut self, number: usize, channel: u16) -> bool {
        let entry = &mut self.entries[number];
        entry.channels = self.channels.without(entry.channels, channel);
        if entry.is_requested() || entry.phase == Phase::Released {
            return false;
        }
        *entry = UserEntry {
            phase: Phase::Released,
            ..UserEntry::default()
        };
        true
    }

    /// Removes everybody from a channel who is not among `members`.
    pub(super) fn retain_members(&mut self, channel: u16, members: &HashSet<&str>) {
        for number in 0..self.entries.len() {
            let channels = self.entries[number].channels;
            if self.channels.contains(channels, channel) && !members.contains(self.ids.id(number)) {
                self.remove_numbered(number, channel);
            }
        }
    }

    pub(super) fn state(&self, id: &str) -> SubscriptionState {
        match self.entry(id).map(|entry| entry.phase) {
            Some(Phase::Queued | Phase::Queried) => SubscriptionState::Pending,
            Some(Phase::Missing) => SubscriptionState::Missing,
            Some(Phase::Subscribed) => SubscriptionState::Subscribed,
            Some(Phase::Released) => SubscriptionState::Released,
            None => SubscriptionState::NotRequested,
        }
    }

    /// Queues all users again: their connection is gone, or events on it may be lost.
    pub(super) fn invalidate_all(&mut self) {
        self.cursor = 0;
        self.queue_again(|phase| phase != Phase::Released);
    }

    /// Queues one user again: another answer has to confirm their state.
    pub(super) fn invalidate(&mut self, id: &str) {
        if let Some(entry) = self.entry_mut(id)
            && entry.phase != Phase::Released
        {
            entry.phase = Phase::Queued;
            self.has_queued_before_cursor = true;
        }
    }

    /// Queues the missing users again.
    pub(super) fn retry_missing(&mut self) {
        self.queue_again(|phase| phase == Phase::Missing);
    }

    fn queue_again(&mut self, is_affected: impl Fn(Phase) -> bool) {
        for entry in &mut self.entries {
            if is_affected(entry.phase) {
                entry.phase = Phase::Queued;
            }
        }
        self.has_queued_before_cursor = true;
    }

    /// Records that the answer to a query for this user does not contain them. Returns what changed if their state was
    /// known: every field is unknown from now on.
    pub(super) fn mark_missing(&mut self, id: &str, reason: MissingReason) -> Option<Change> {
        let entry = self.entry_mut(id)?;
        if entry.phase != Phase::Queried {
            return None;
        }
        let state = entry.state.as_ref();
        let change = state.map(|state| Change::to_unknown(state.presence()));
        entry.forget_state();
        // Their return is a change from this state.
        entry.state = change.is_some().then(Box::default);
        entry.missing_reason = reason;
        change.filter(|change| !change.is_empty())
    }

    /// The state of a user's subscription. Applies an event that carries the user's state, unless an answer is pending.
    pub(super) fn apply_event(
        &mut self,
        user: &EventUser<'_>,
        created_at: Option<&str>,
    ) -> (SubscriptionState, UserUpdate) {
        let Some(number) = self.ids.number(&user.id) else {
            return (SubscriptionState::NotRequested, UserUpdate::default());
        };
        let entry = &mut self.entries[number];
        match entry.phase {
            Phase::Subscribed => (
                SubscriptionState::Subscribed,
                entry.apply_event(user, created_at, &mut self.spare_text),
            ),
            // The stream has said that they are gone, so the event is a change from that state.
            Phase::Missing if entry.state.is_some() => (
                SubscriptionState::Missing,
                entry.apply_event(user, created_at, &mut self.spare_text),
            ),
            Phase::Missing => (SubscriptionState::Missing, UserUpdate::default()),
            Phase::Queued | Phase::Queried => (SubscriptionState::Pending, UserUpdate::default()),
            Phase::Released => (SubscriptionState::Released, UserUpdate::default()),
        }
    }

    /// Takes back a change that nobody needs any more. The next one uses its memory.
    pub(super) fn recycle(&mut self, change: Change) {
        if let Some(text) = change.previous.last_active {
            self.spare_text = text;
        }
    }

    /// Applies an answer that subscribed the user. `None` when the user is not requested.
    pub(super) fn apply_answer(&mut self, user: &User, origin: UserOrigin) -> Option<UserUpdate> {
        let number = self.ids.number(user.id())?;
        let entry = &mut self.entries[number];
        if entry.phase == Phase::Released {
            return None;
        }
        entry.phase = Phase::Subscribed;
        let sample = FingerprintSample {
            origin,
            fingerprint: Fingerprint::of(user),
        };
        let seen = &user.presence();
        let seen = ObservedUser::new(seen, Some(sample));
        let change = entry.update(&seen, &mut self.spare_text);
        Some(UserUpdate {
            change,
            out_of_order: false,
        })
    }

    /// Records that a user was deleted. They stay requested, without a state.
    pub(super) fn mark_deleted(&mut self, id: &str) {
        if let Some(entry) = self.entry_mut(id)
            && entry.phase != Phase::Released
        {
            entry.forget_state();
        }
    }

    /// Puts in a state from an earlier run.
    pub(super) fn remember(&mut self, id: &str, known: KnownUser) {
        let entry = self.entry_mut(id);
        if let Some(entry) = entry.filter(|entry| entry.phase != Phase::Released) {
            entry.restore(&known);
        } else {
            // The members of a channel are unknown before the channel's answer has arrived.
            self.remembered.insert(id.into(), known);
        }
    }

    /// Forgets the states from an earlier run of users who were not requested.
    pub(super) fn forget_remembered(&mut self) {
        self.remembered = HashMap::new();
    }

    /// The last known presence of a user.
    pub(super) fn presence(&self, id: &str) -> Option<Presence> {
        let state = self.entry(id)?.state.as_ref()?;
        Some(state.presence())
    }

    /// All users with a known state.
    pub(super) fn known_users(&self) -> impl Iterator<Item = (&str, KnownUser)> {
        self.iter()
            .filter_map(|(id, entry)| Some((id, entry.state.as_ref()?.known_user())))
    }

    /// Whether there may be users to query.
    pub(super) const fn may_have_queued(&self) -> bool {
        self.has_queued_before_cursor || self.cursor < self.entries.len()
    }

    /// How many users may be queried next, at most.
    pub(super) const fn queued_count(&self) -> usize {
        self.entries.len() - self.cursor
    }

    /// The next users to query, at most `max`, in the order in which they were first requested. From here on their
    /// answers are awaited.
    pub(super) fn take_queued(&mut self, max: usize) -> Vec<Box<str>> {
        let mut ids = Vec::new();
        loop {
            while ids.len() < max
                && let Some(entry) = self.entries.get_mut(self.cursor)
            {
                if entry.phase == Phase::Queued {
                    entry.phase = Phase::Queried;
                    ids.push(self.ids.id(self.cursor).into());
                }
                self.cursor += 1;
            }
            if ids.len() == max || !std::mem::take(&mut self.has_queued_before_cursor) {
                return ids;
            }
            self.cursor = 0;
        }
    }

    /// How many users the service does not know.
    pub(super) fn missing_count(&self) -> usize {
        let is_missing = |entry: &&UserEntry| entry.phase == Phase::Missing;
        self.entries.iter().filter(is_missing).count()
    }

    /// The numbers of the users in a phase, in the order of their ids.
    fn numbers_in(&self, is_wanted: impl Fn(Phase) -> bool) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| is_wanted(entry.phase))
            .map(|(number, _)| number)
            .collect();
        numbers.sort_unstable_by_key(|number| self.ids.id(*number as usize));
        numbers
    }

    pub(super) fn coverage(&self) -> Coverage {
        let is_missing = |phase| !matches!(phase, Phase::Subscribed | Phase::Released);
        let is_requested = |entry: &&UserEntry| entry.phase != Phase::Released;
        let requested = self.entries.iter().filter(is_requested).count();
        let missing = self.numbers_in(is_missing);
        let id = |number: &u32| self.ids.id(*number as usize).to_owned();
        let reason = |number: &u32| self.entries[*number as usize].missing_reason;
        Coverage {
            missing_reasons: missing
                .iter()
                .map(|number| (id(number), reason(number)))
                .collect(),
            requested,
            subscribed: requested - missing.len(),
            missing: missing.iter().map(id).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PresenceFields;

    fn user(json: &str) -> User {
        serde_json::from_str(json).unwrap()
    }

    fn answered(table: &mut Subscriptions, user: &User) -> Option<UserUpdate> {
        table.apply_answer(user, UserOrigin::User)
    }

    fn receive(table: &mut Subscriptions, json: &str, at: &str) -> UserUpdate {
        let user = EventUser::parse(json).unwrap();
        let entry = table.entry_mut(&user.id);
        entry.map_or_else(UserUpdate::default, |entry| {
            entry.apply_event(&user, Some(at), &mut String::new())
        })
    }

    fn changed(news: UserUpdate) -> PresenceFields {
        news.change.unwrap().changed
    }

    #[test]
    fn the_first_sight_is_no_change_and_the_second_is_compared() {
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        assert_eq!(table.state("amy"), SubscriptionState::Pending);
        let first = answered(
            &mut table,
            &user(r#"{"id":"amy","online":false,"status":"a"}"#),
        );
        assert_eq!(first, Some(UserUpdate::default()));
        assert_eq!(table.state("amy"), SubscriptionState::Subscribed);
        let news = receive(
            &mut table,
            r#"{"id":"amy","online":true,"status":"a","last_active":"2026-01-01T00:00:00Z"}"#,
            "2026-01-01T00:00:00Z",
        );
        let change = news.change.unwrap();
        assert_eq!(
            change.changed,
            [PresenceField::Online, PresenceField::LastActive]
        );
        assert_eq!(change.previous.online, Some(false));
        assert_eq!(change.previous.last_active, None);
        assert_eq!(
            changed(receive(
                &mut table,
                r#"{"id":"amy","online":true,"status":"a","last_active":"2026-01-01T00:00:00Z"}"#,
                "2026-01-01T00:00:00Z"
            )),
            [],
            "the same again is an event and no change"
        );
    }

    #[test]
    fn agrees_with_the_rule_of_the_domain() {
        let states = [
            r#"{"id":"a","online":true,"status":"x","last_active":"2026-01-01T00:00:00Z","invisible":true}"#,
            r#"{"id":"a","online":false,"last_active":"2026-01-01T00:00:01Z"}"#,
            r#"{"id":"a","online":false,"status":"y"}"#,
            r#"{"id":"a","invisible":false,"last_active":"odd"}"#,
        ];
        for before in states {
            for after in states {
                let mut table = Subscriptions::default();
                table.request("a", Reason::Named);
                receive(&mut table, before, "x");
                let ours = receive(&mut table, after, "x").change.unwrap();
                let theirs = Change::between(&user(before).presence(), &user(after).presence());
                assert_eq!(ours.changed, theirs.changed, "{before} {after}");
                assert_eq!(
                    table.presence("a").unwrap(),
                    user(after).presence().merged(&user(before).presence())
                );
            }
        }
    }

    #[test]
    fn a_new_connection_voids_subscriptions_and_keeps_knowledge() {
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        table.request("bob", Reason::Named);
        answered(&mut table, &user(r#"{"id":"amy","online":true}"#));
        assert_eq!(table.coverage().missing, ["bob"]);
        table.invalidate_all();
        assert_eq!(table.take_queued(usize::MAX), ["amy".into(), "bob".into()]);
        assert!(table.take_queued(usize::MAX).is_empty(), "once is enough");
        let news = answered(&mut table, &user(r#"{"id":"amy","online":false}"#));
        assert_eq!(changed(news.unwrap()), [PresenceField::Online]);
        table.mark_missing("amy", MissingReason::NotFound);
        table.mark_missing("bob", MissingReason::NotFound);
        assert_eq!(table.state("amy"), SubscriptionState::Subscribed);
        assert_eq!(table.state("bob"), SubscriptionState::Missing);
        table.retry_missing();
        assert_eq!(table.take_queued(usize::MAX), ["bob".into()]);
        assert_eq!(
            table.coverage(),
            Coverage {
                requested: 2,
                subscribed: 1,
                missing: vec!["bob".to_owned()],
                missing_reasons: [("bob".to_owned(), MissingReason::NotFound)].into(),
            }
        );
    }

    #[test]
    fn membership_is_counted_by_channel() {
        let mut table = Subscriptions::default();
        assert!(table.request("amy", Reason::Member(0)));
        assert!(!table.request("amy", Reason::Member(1)));
        assert!(!table.request("amy", Reason::Member(1)), "told twice");
        assert!(!table.remove_member("amy", 0));
        assert!(table.remove_member("amy", 1));
        assert_eq!(table.state("amy"), SubscriptionState::Released);
        assert!(!table.remove_member("amy", 1), "told twice");
        assert_eq!(table.state("bob"), SubscriptionState::NotRequested);
        table.request("amy", Reason::Named);
        assert!(!table.remove_member("amy", 1), "a named user stays");
        table.request("cem", Reason::Member(1));
        table.retain_members(1, &HashSet::from(["dan"]));
        assert_eq!(table.state("cem"), SubscriptionState::Released);
    }

    #[test]
    fn an_older_event_is_applied_and_noticed() {
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        receive(
            &mut table,
            r#"{"id":"amy","online":false}"#,
            "2026-01-01T00:00:02Z",
        );
        let news = receive(
            &mut table,
            r#"{"id":"amy","online":true}"#,
            "2026-01-01T00:00:01Z",
        );
        assert!(news.out_of_order);
        assert_eq!(changed(news), [PresenceField::Online]);
        let again = receive(
            &mut table,
            r#"{"id":"amy","online":true}"#,
            "2026-01-01T00:00:02Z",
        );
        assert!(!again.out_of_order, "the newest seen still counts");
    }

    #[test]
    fn an_answer_does_not_turn_last_active_back() {
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        receive(
            &mut table,
            r#"{"id":"amy","last_active":"2026-01-01T00:00:05.5Z"}"#,
            "x",
        );
        let news = answered(
            &mut table,
            &user(r#"{"id":"amy","last_active":"2026-01-01T00:00:05Z"}"#),
        );
        assert_eq!(changed(news.unwrap()), []);
        let news = answered(
            &mut table,
            &user(r#"{"id":"amy","last_active":"2026-01-01T00:00:06Z"}"#),
        );
        assert_eq!(changed(news.unwrap()), [PresenceField::LastActive]);
    }

    #[test]
    fn a_deleted_user_is_missing_and_starts_afresh() {
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        answered(&mut table, &user(r#"{"id":"amy","online":true}"#));
        table.mark_deleted("amy");
        assert_eq!(table.coverage().missing, ["amy"]);
        assert_eq!(table.presence("amy"), None);
        assert_eq!(
            answered(&mut table, &user(r#"{"id":"amy","online":false}"#)),
            Some(UserUpdate::default())
        );
    }

    #[test]
    fn state_of_an_earlier_run_is_kept_until_it_is_queried() {
        let mut table = Subscriptions::default();
        let online = KnownUser {
            presence: Presence {
                online: Some(true),
                ..Presence::default()
            },
            fingerprint: None,
        };
        table.remember("amy", online.clone());
        table.remember("bob", online);
        assert_eq!(table.presence("amy"), None);
        table.request("amy", Reason::Member(0));
        assert_eq!(table.presence("amy").unwrap().online, Some(true));
        table.forget_remembered();
        table.request("bob", Reason::Named);
        assert_eq!(table.presence("bob"), None);
    }

    #[test]
    fn a_change_of_the_rest_is_noticed_once_wherever_it_shows() {
        let named = |name: &str, at: u32| {
            format!(
                r#"{{"id":"amy","online":true,"name":"{name}","updated_at":"2026-01-01T00:00:0{at}Z"}}"#
            )
        };
        let rest = |news: UserUpdate| {
            let change = news.change.unwrap();
            assert_eq!(change.changed, []);
            change.other_fields_delta != 0
        };
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        answered(&mut table, &user(&named("A", 1)));
        assert!(!rest(receive(&mut table, &named("A", 1), "x")));
        assert!(rest(receive(&mut table, &named("B", 2), "x")));
        assert!(!rest(receive(&mut table, &named("B", 2), "x")));
        let mut answered = |name, at| {
            rest(
                table
                    .apply_answer(&user(&named(name, at)), UserOrigin::User)
                    .unwrap(),
            )
        };
        assert!(!answered("B", 2), "an event told it");
        assert!(answered("C", 3));
        assert!(!answered("C", 3));
    }

    #[test]
    fn without_a_rest_to_compare_with_nothing_changed() {
        let amy = user(r#"{"id":"amy","online":true,"name":"A"}"#);
        let mut table = Subscriptions::default();
        table.request("amy", Reason::Named);
        let mut known = KnownUser {
            presence: amy.presence(),
            fingerprint: None,
        };
        table.remember("amy", known.clone());
        let news = answered(&mut table, &amy).unwrap();
        assert_eq!(news.change, Some(Change::default()));
        known.fingerprint = Some(FingerprintSample {
            origin: UserOrigin::User,
            fingerprint: Fingerprint::of(&amy),
        });
        assert_eq!(
            table.known_users().collect::<Vec<_>>(),
            [("amy", known.clone())]
        );
        let mut later = Subscriptions::default();
        later.remember("amy", known);
        later.request("amy", Reason::Member(0));
        let news = answered(
            &mut later,
            &user(r#"{"id":"amy","online":true,"name":"B"}"#),
        );
        assert_ne!(news.unwrap().change.unwrap().other_fields_delta, 0);
    }

    #[test]
    fn a_list_is_queried_in_parts() {
        let mut table = Subscriptions::for_users(["c", "a", "b"].into_iter().collect());
        assert_eq!(table.take_queued(2), ["c".into(), "a".into()]);
        table.invalidate("c");
        assert_eq!(table.take_queued(2), ["b".into(), "c".into()]);
        table.request("d", Reason::Member(0));
        assert_eq!(table.take_queued(2), ["d".into()]);
        assert!(!table.may_have_queued());
        table.invalidate_all();
        assert_eq!(table.take_queued(9).len(), 4);
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<UserEntry>(), 16);
        assert!(size_of::<UserState>() <= 56, "{}", size_of::<UserState>());
    }
}
