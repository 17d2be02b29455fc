//! Who is asked for, who is subscribed, and how everybody was last seen: the memory of a watcher, without I/O.
//!
//! A subscription belongs to a connection: a new one makes everybody awaited again. What was known before stays, since
//! that is what a repair compares with. Kept small, since a watcher may follow a hundred thousand users: of what is not
//! presence there is only a number that tells whether it changed.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroI64;

use foldhash::fast::RandomState;

use crate::domain::event::EventUser;
use crate::domain::record::Coverage;
use crate::domain::{
    Change, Fingerprint, FingerprintSample, Presence, PresenceField, User, UserOrigin,
};
use crate::events::channel_sets::{ChannelSet, ChannelSets};
use crate::events::timestamp::{self, Timestamp};

/// Why a user is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// By name.
    Named,
    /// As a member of the channel with this number.
    Member(u16),
}

/// Where a user stands on the current connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    /// Never asked for.
    Stranger,
    /// Asked for once, and no longer.
    Left,
    /// Asked for; the answer is still to come.
    Awaited,
    /// Asked for, and the service does not know him.
    Missing,
    /// Answered for: subscribed, and known.
    Live,
}

/// What an event or an answer said about a user that was not known before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserUpdate {
    /// How the presence moved; `None` when there is nothing earlier to compare with.
    pub(super) change: Option<Change>,
    /// Whether the event is older than one that came before it.
    pub(super) out_of_order: bool,
}

/// How a user was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownUser {
    /// His presence.
    pub presence: Presence,
    /// Everything else, where that is known.
    pub rest: Option<FingerprintSample>,
}

impl KnownUser {
    /// The user as he was before a change.
    #[must_use]
    pub fn before_change(self, change: &Change) -> Self {
        Self {
            presence: change.revert(&self.presence),
            rest: self
                .rest
                .map(|rest| rest.before_delta(change.other_fields_delta)),
        }
    }
}

/// How far a user's subscription on the current connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Awaited,
    Asked,
    Missing,
    Live,
}

#[derive(Debug, Default)]
struct UserEntry {
    online: Option<bool>,
    invisible: Option<bool>,
    status: Option<Box<str>>,
    last_active: Option<Timestamp>,
    /// Everything else about the user, and where it was seen; it says nothing before.
    rest: Fingerprint,
    view: Option<UserOrigin>,
    /// Whether the fields above were ever told.
    known: bool,
    named: bool,
    stage: Phase,
    /// When the last event about the user happened, by the server's clock.
    last_event: Option<NonZeroI64>,
    channels: ChannelSet,
}

impl UserEntry {
    const fn wanted(&self) -> bool {
        self.named || !self.channels.is_empty()
    }

    fn presence(&self) -> Presence {
        Presence {
            online: self.online,
            invisible: self.invisible,
            status: self.status.as_deref().map(str::to_owned),
            last_active: self.last_active.as_ref().map(Timestamp::text),
        }
    }

    fn sight(&self) -> Option<FingerprintSample> {
        let rest = self.rest;
        self.view.map(|view| FingerprintSample { view, rest })
    }

    fn recall(&mut self, known: &KnownUser) {
        let presence = &known.presence;
        self.update(&ObservedUser {
            online: presence.online,
            invisible: presence.invisible,
            status: presence.status.as_deref(),
            last_active: presence.last_active.as_deref(),
            rest: known.rest,
        });
    }

    /// Takes over what an event says.
    fn hear(&mut self, user: &EventUser<'_>, created_at: Option<&str>) -> UserUpdate {
        let at = created_at
            .and_then(timestamp::ticks)
            .and_then(NonZeroI64::new);
        let out_of_order = at < self.last_event && at.is_some();
        if !out_of_order {
            self.last_event = at.or(self.last_event);
        }
        let change = self.update(&ObservedUser {
            online: user.online,
            invisible: user.invisible,
            status: user.status.as_deref(),
            last_active: user.last_active.as_deref(),
            rest: Some(FingerprintSample {
                view: UserOrigin::Event,
                rest: user.rest,
            }),
        });
        UserUpdate {
            change,
            out_of_order,
        }
    }

    /// Takes over what is said, and tells what moved. Silence on `status` means that there is none, for objects of the
    /// service are complete; silence on the others means nothing.
    fn update(&mut self, seen: &ObservedUser<'_>) -> Option<Change> {
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
        let last_active = seen.last_active.map(Timestamp::read);
        if last_active.is_some() && last_active != self.last_active {
            change.changed.insert(PresenceField::LastActive);
            change.previous.last_active = self.last_active.as_ref().map(Timestamp::text);
            self.last_active = last_active;
        }
        if let Some(sight) = seen.rest {
            change.other_fields_delta = self.sight().map_or(0, |earlier| earlier.delta_to(sight));
            (self.view, self.rest) = (Some(sight.view), sight.rest);
        }
        std::mem::replace(&mut self.known, true).then_some(change)
    }
}

/// What an event or an answer says about a user.
struct ObservedUser<'a> {
    online: Option<bool>,
    invisible: Option<bool>,
    status: Option<&'a str>,
    last_active: Option<&'a str>,
    rest: Option<FingerprintSample>,
}

/// The memory of a watcher.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    users: HashMap<Box<str>, UserEntry, RandomState>,
    channels: ChannelSets,
    left: HashSet<Box<str>>,
    /// Whether anybody may be at [`Phase::Awaited`].
    open: bool,
    /// What an earlier run knew about users who are not asked for yet.
    remembered: HashMap<Box<str>, KnownUser>,
}

impl Tracker {
    /// Asks for a user. Whether that is news: he was not asked for, for any reason.
    pub(super) fn want(&mut self, id: &str, why: Reason) -> bool {
        self.left.remove(id);
        if !self.users.contains_key(id) {
            let mut entry = UserEntry::default();
            if let Some(known) = self.remembered.remove(id) {
                entry.recall(&known);
            }
            self.users.insert(id.into(), entry);
            self.open = true;
        }
        let entry = self.users.get_mut(id).expect("it was just put there");
        let news = !entry.wanted();
        match why {
            Reason::Named => entry.named = true,
            Reason::Member(channel) => {
                entry.channels = self.channels.joined(entry.channels, channel);
            }
        }
        news
    }

    /// Takes note that a user is no longer a member of a channel. Whether nobody asks for him any more.
    pub(super) fn leave(&mut self, id: &str, channel: u16) -> bool {
        let Some(entry) = self.users.get_mut(id) else {
            return false;
        };
        entry.channels = self.channels.left(entry.channels, channel);
        let gone = !entry.wanted();
        if gone {
            self.users.remove(id);
            self.left.insert(id.into());
        }
        gone
    }

    /// Makes the members of a channel exactly these.
    pub(super) fn set_members(&mut self, channel: u16, members: &HashSet<&str>) {
        let gone: Vec<Box<str>> = self
            .users
            .iter()
            .filter(|(id, entry)| {
                self.channels.has(entry.channels, channel) && !members.contains(&***id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.leave(&id, channel);
        }
    }

    pub(super) fn standing(&self, id: &str) -> SubscriptionState {
        match self.users.get(id) {
            Some(entry) => match entry.stage {
                Phase::Awaited | Phase::Asked => SubscriptionState::Awaited,
                Phase::Missing => SubscriptionState::Missing,
                Phase::Live => SubscriptionState::Live,
            },
            None if self.left.contains(id) => SubscriptionState::Left,
            None => SubscriptionState::Stranger,
        }
    }

    /// All subscriptions are void: the connection they belong to is gone, or not to be trusted.
    pub(super) fn void(&mut self) {
        for entry in self.users.values_mut() {
            entry.stage = Phase::Awaited;
        }
        self.open = true;
    }

    /// Those whom the service did not know are to be asked for again.
    pub(super) fn hope(&mut self) {
        for entry in self.users.values_mut() {
            if entry.stage == Phase::Missing {
                entry.stage = Phase::Awaited;
            }
        }
        self.open = true;
    }

    /// One user's state is to be confirmed by another answer.
    pub(super) fn doubt(&mut self, id: &str) {
        if let Some(entry) = self.users.get_mut(id) {
            entry.stage = Phase::Awaited;
            self.open = true;
        }
    }

    /// Takes note that an answer was to hold a user and did not.
    pub(super) fn unanswered(&mut self, id: &str) {
        if let Some(entry) = self.users.get_mut(id)
            && entry.stage == Phase::Asked
        {
            entry.stage = Phase::Missing;
        }
    }

    /// Where a user stands; and if he was answered for, applies an event that carries his current state.
    pub(super) fn heard(
        &mut self,
        user: &EventUser<'_>,
        created_at: Option<&str>,
    ) -> (SubscriptionState, UserUpdate) {
        match self.users.get_mut(&*user.id) {
            Some(entry) if entry.stage == Phase::Live => {
                (SubscriptionState::Live, entry.hear(user, created_at))
            }
            _ => (self.standing(&user.id), UserUpdate::default()),
        }
    }

    /// Applies an event about a user who is missing, if he was known before.
    pub(super) fn heard_of_missing(
        &mut self,
        user: &EventUser<'_>,
        created_at: Option<&str>,
    ) -> Option<UserUpdate> {
        let entry = self.users.get_mut(&*user.id)?;
        entry.known.then(|| entry.hear(user, created_at))
    }

    /// Applies an answer that subscribed the user, whom it shows as that `view` does. `None` when nobody asked for him.
    ///
    /// Copies in answers may lag behind events in `last_active`, which never moves backwards; an older one is not news.
    pub(super) fn answered(&mut self, user: &User, view: UserOrigin) -> Option<UserUpdate> {
        let entry = self.users.get_mut(user.id())?;
        entry.stage = Phase::Live;
        let presence = user.presence();
        let last_active = presence.last_active.as_deref().filter(|fresh| {
            entry
                .last_active
                .as_ref()
                .is_none_or(|own| own.order(&Timestamp::read(fresh)) != Some(Ordering::Greater))
        });
        let change = entry.update(&ObservedUser {
            online: presence.online,
            invisible: presence.invisible,
            status: presence.status.as_deref(),
            last_active,
            rest: Some(FingerprintSample {
                view,
                rest: Fingerprint::of(user),
            }),
        });
        Some(UserUpdate {
            change,
            out_of_order: false,
        })
    }

    /// Takes note that a user was deleted: he stays asked for, without a state.
    pub(super) fn gone(&mut self, id: &str) {
        if let Some(entry) = self.users.get_mut(id) {
            *entry = UserEntry {
                named: entry.named,
                channels: entry.channels,
                stage: Phase::Missing,
                ..UserEntry::default()
            };
        }
    }

    /// Puts in what was known about a user in an earlier run.
    pub(super) fn remember(&mut self, id: &str, known: KnownUser) {
        if let Some(entry) = self.users.get_mut(id) {
            entry.recall(&known);
        } else {
            // Who is a member of a channel is not known before the channel has answered.
            self.remembered.insert(id.into(), known);
        }
    }

    /// Forgets what an earlier run knew about users whom nobody has asked for.
    pub(super) fn forget_remembered(&mut self) {
        self.remembered = HashMap::new();
    }

    /// How a user was last seen.
    pub(super) fn presence(&self, id: &str) -> Option<Presence> {
        self.users
            .get(id)
            .filter(|entry| entry.known)
            .map(UserEntry::presence)
    }

    /// Everybody who was ever seen, and how.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, KnownUser)> {
        let known = |entry: &UserEntry| KnownUser {
            presence: entry.presence(),
            rest: entry.sight(),
        };
        self.users
            .iter()
            .filter(|(_, entry)| entry.known)
            .map(move |(id, entry)| (&**id, known(entry)))
    }

    /// Whether there may be somebody to ask for.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// Those who are to be asked for, sorted. Their answers are awaited from here on.
    pub(super) fn take_open(&mut self) -> Vec<Box<str>> {
        if !std::mem::take(&mut self.open) {
            return Vec::new();
        }
        let ids = self.at(|stage| stage == Phase::Awaited);
        for id in &ids {
            if let Some(entry) = self.users.get_mut(id) {
                entry.stage = Phase::Asked;
            }
        }
        ids
    }

    /// How many the service does not know.
    pub(super) fn missing_count(&self) -> usize {
        let missing = |entry: &&UserEntry| entry.stage == Phase::Missing;
        self.users.values().filter(missing).count()
    }

    fn at(&self, stage: impl Fn(Phase) -> bool) -> Vec<Box<str>> {
        let mut ids: Vec<Box<str>> = self
            .users
            .iter()
            .filter(|(_, entry)| stage(entry.stage))
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn coverage(&self) -> Coverage {
        let missing = self.at(|stage| stage != Phase::Live);
        Coverage {
            requested: self.users.len(),
            subscribed: self.users.len() - missing.len(),
            missing: missing.into_iter().map(String::from).collect(),
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

    fn answered(tracker: &mut Tracker, user: &User) -> Option<UserUpdate> {
        tracker.answered(user, UserOrigin::User)
    }

    fn heard(tracker: &mut Tracker, json: &str, at: &str) -> UserUpdate {
        let user = EventUser::parse(json).unwrap();
        let entry = tracker.users.get_mut(&*user.id);
        entry.map_or_else(UserUpdate::default, |entry| entry.hear(&user, Some(at)))
    }

    fn changed(news: UserUpdate) -> PresenceFields {
        news.change.unwrap().changed
    }

    #[test]
    fn the_first_sight_is_no_change_and_the_second_is_compared() {
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        assert_eq!(tracker.standing("amy"), SubscriptionState::Awaited);
        let first = answered(
            &mut tracker,
            &user(r#"{"id":"amy","online":false,"status":"a"}"#),
        );
        assert_eq!(first, Some(UserUpdate::default()));
        assert_eq!(tracker.standing("amy"), SubscriptionState::Live);
        let news = heard(
            &mut tracker,
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
            changed(heard(
                &mut tracker,
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
                let mut tracker = Tracker::default();
                tracker.want("a", Reason::Named);
                heard(&mut tracker, before, "x");
                let ours = heard(&mut tracker, after, "x").change.unwrap();
                let theirs = Change::between(&user(before).presence(), &user(after).presence());
                assert_eq!(ours.changed, theirs.changed, "{before} {after}");
                assert_eq!(
                    tracker.presence("a").unwrap(),
                    user(after).presence().merged(&user(before).presence())
                );
            }
        }
    }

    #[test]
    fn a_new_connection_voids_subscriptions_and_keeps_knowledge() {
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        tracker.want("bob", Reason::Named);
        answered(&mut tracker, &user(r#"{"id":"amy","online":true}"#));
        assert_eq!(tracker.coverage().missing, ["bob"]);
        tracker.void();
        assert_eq!(tracker.take_open(), ["amy".into(), "bob".into()]);
        assert!(tracker.take_open().is_empty(), "once is enough");
        let news = answered(&mut tracker, &user(r#"{"id":"amy","online":false}"#));
        assert_eq!(changed(news.unwrap()), [PresenceField::Online]);
        tracker.unanswered("amy");
        tracker.unanswered("bob");
        assert_eq!(tracker.standing("amy"), SubscriptionState::Live);
        assert_eq!(tracker.standing("bob"), SubscriptionState::Missing);
        tracker.hope();
        assert_eq!(tracker.take_open(), ["bob".into()]);
        assert_eq!(
            tracker.coverage(),
            Coverage {
                requested: 2,
                subscribed: 1,
                missing: vec!["bob".to_owned()]
            }
        );
    }

    #[test]
    fn membership_is_counted_by_channel() {
        let mut tracker = Tracker::default();
        assert!(tracker.want("amy", Reason::Member(0)));
        assert!(!tracker.want("amy", Reason::Member(1)));
        assert!(!tracker.want("amy", Reason::Member(1)), "told twice");
        assert!(!tracker.leave("amy", 0));
        assert!(tracker.leave("amy", 1));
        assert_eq!(tracker.standing("amy"), SubscriptionState::Left);
        assert!(!tracker.leave("amy", 1), "told twice");
        assert_eq!(tracker.standing("bob"), SubscriptionState::Stranger);
        tracker.want("amy", Reason::Named);
        assert!(!tracker.leave("amy", 1), "a named user stays");
        tracker.want("cem", Reason::Member(1));
        tracker.set_members(1, &HashSet::from(["dan"]));
        assert_eq!(tracker.standing("cem"), SubscriptionState::Left);
    }

    #[test]
    fn an_older_event_is_applied_and_noticed() {
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        heard(
            &mut tracker,
            r#"{"id":"amy","online":false}"#,
            "2026-01-01T00:00:02Z",
        );
        let news = heard(
            &mut tracker,
            r#"{"id":"amy","online":true}"#,
            "2026-01-01T00:00:01Z",
        );
        assert!(news.out_of_order);
        assert_eq!(changed(news), [PresenceField::Online]);
        let again = heard(
            &mut tracker,
            r#"{"id":"amy","online":true}"#,
            "2026-01-01T00:00:02Z",
        );
        assert!(!again.out_of_order, "the newest seen still counts");
    }

    #[test]
    fn an_answer_does_not_turn_last_active_back() {
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        heard(
            &mut tracker,
            r#"{"id":"amy","last_active":"2026-01-01T00:00:05.5Z"}"#,
            "x",
        );
        let news = answered(
            &mut tracker,
            &user(r#"{"id":"amy","last_active":"2026-01-01T00:00:05Z"}"#),
        );
        assert_eq!(changed(news.unwrap()), []);
        let news = answered(
            &mut tracker,
            &user(r#"{"id":"amy","last_active":"2026-01-01T00:00:06Z"}"#),
        );
        assert_eq!(changed(news.unwrap()), [PresenceField::LastActive]);
    }

    #[test]
    fn a_deleted_user_is_missing_and_starts_afresh() {
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        answered(&mut tracker, &user(r#"{"id":"amy","online":true}"#));
        tracker.gone("amy");
        assert_eq!(tracker.coverage().missing, ["amy"]);
        assert_eq!(tracker.presence("amy"), None);
        assert_eq!(
            answered(&mut tracker, &user(r#"{"id":"amy","online":false}"#)),
            Some(UserUpdate::default())
        );
    }

    #[test]
    fn an_earlier_run_is_remembered_until_somebody_asks() {
        let mut tracker = Tracker::default();
        let online = KnownUser {
            presence: Presence {
                online: Some(true),
                ..Presence::default()
            },
            rest: None,
        };
        tracker.remember("amy", online.clone());
        tracker.remember("bob", online);
        assert_eq!(tracker.presence("amy"), None);
        tracker.want("amy", Reason::Member(0));
        assert_eq!(tracker.presence("amy").unwrap().online, Some(true));
        tracker.forget_remembered();
        tracker.want("bob", Reason::Named);
        assert_eq!(tracker.presence("bob"), None);
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
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        answered(&mut tracker, &user(&named("A", 1)));
        assert!(!rest(heard(&mut tracker, &named("A", 1), "x")));
        assert!(rest(heard(&mut tracker, &named("B", 2), "x")));
        assert!(!rest(heard(&mut tracker, &named("B", 2), "x")));
        let mut answered = |name, at| {
            rest(
                tracker
                    .answered(&user(&named(name, at)), UserOrigin::User)
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
        let mut tracker = Tracker::default();
        tracker.want("amy", Reason::Named);
        let mut known = KnownUser {
            presence: amy.presence(),
            rest: None,
        };
        tracker.remember("amy", known.clone());
        let news = answered(&mut tracker, &amy).unwrap();
        assert_eq!(news.change, Some(Change::default()));
        known.rest = Some(FingerprintSample {
            view: UserOrigin::User,
            rest: Fingerprint::of(&amy),
        });
        assert_eq!(
            tracker.known().collect::<Vec<_>>(),
            [("amy", known.clone())]
        );
        let mut later = Tracker::default();
        later.remember("amy", known);
        later.want("amy", Reason::Member(0));
        let news = answered(
            &mut later,
            &user(r#"{"id":"amy","online":true,"name":"B"}"#),
        );
        assert_ne!(news.unwrap().change.unwrap().other_fields_delta, 0);
    }

    #[test]
    fn an_entry_is_small() {
        assert!(
            size_of::<(Box<str>, UserEntry)>() <= 80,
            "{}",
            size_of::<(Box<str>, UserEntry)>()
        );
    }
}
