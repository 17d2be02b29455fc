//! Answers and events brought together: what a watcher may say, in an order that leaves its reader with the truth.
//!
//! Two streams describe the same users: events on the socket, in order, and answers to queries, from some moment
//! between their question and their arrival. The service subscribes first and reads then, so everything that an answer
//! does not show yet arrives as an event. Hence the one rule: *first the answer, then every event that was received
//! since the question was put*. Applying again an event that the answer already shows does no harm, because each carries
//! the user's whole state and the last one is the newest.
//!
//! While the stream is whole this needs no waiting: an event about a user whose answer is still to come is held until
//! it is there. After a loss the reader must hear of the gap and of everybody who changed in it before the next event,
//! so then all events wait until the last answer.
//!
//! No I/O and no clock: frames, answers and the time come in; what to say and whom to ask for goes out.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::api::ChannelState;
use crate::domain::event::{
    Event, MEMBER_ADDED, MEMBER_REMOVED, USER_DELETED, USER_PRESENCE_CHANGED, USER_UPDATED,
    USER_WATCHING_START, USER_WATCHING_STOP,
};
use crate::domain::record::{ConnectionChanged, Coverage, Gap};
use crate::domain::time::{millis, millis_after};
use crate::domain::{Change, Cid, PresenceField, User, UserOrigin};
use crate::events::shard::Shard;
use crate::events::subscribe::{Answer, Query, covers_all, member_count};
use crate::events::subscriptions::{Reason, SubscriptionState, Tracker};

/// How much text may wait for answers before it is folded.
const WAITING_BYTES: usize = 32 << 20;

/// How much later than an event that arrives after it an event may have happened. The service means to send in order, but
/// what it sends is sorted by their times only nearly, and a gap that begins too late hides a loss.
const OVERTAKING: TimeDelta = TimeDelta::seconds(1);

/// A frame with the time of its arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedFrame {
    pub(super) at: DateTime<Utc>,
    pub(super) text: Utf8Bytes,
}

/// Something to say that is no frame.
#[derive(Debug)]
pub(super) enum Pending {
    Snapshot(Box<User>),
    /// An event in the service's shape, made from the answer to a query.
    Resync {
        text: String,
        change: Change,
    },
    Gap(Gap),
    Coverage(Coverage),
    Link(ConnectionChanged),
    Recovered,
    Notice(String),
}

/// What is to become of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is told, with how the user's presence moved.
    Emit(Option<Change>),
    /// It is not told now, or concerns nobody who was asked for.
    Suppress,
}

/// A loss that is being made good.
#[derive(Debug)]
struct Repair {
    from: DateTime<Utc>,
    note: String,
    reconnected: bool,
    said: Vec<Pending>,
    repaired: Vec<String>,
}

/// The state of a watcher's knowledge.
#[derive(Debug)]
pub(super) struct Reconciler {
    pub(super) tracker: Tracker,
    /// Channels by number, as [`Reason::Member`] refers to them.
    channels: Vec<String>,
    /// Channels that have answered since everything was void.
    standing: HashSet<u16>,
    observer: String,
    shard: Shard,
    raw: bool,
    said: VecDeque<(DateTime<Utc>, Pending)>,
    /// Frames in order, waiting for a repair or for memberships.
    waiting: VecDeque<ReceivedFrame>,
    waiting_bytes: usize,
    waiting_bound: usize,
    /// Frames about users whose own answer is still to come.
    held: Vec<(Box<str>, ReceivedFrame)>,
    held_bytes: usize,
    held_bound: usize,
    repair: Option<Repair>,
    awaits_members: bool,
    last: Option<ReceivedFrame>,
    coverage: Option<Coverage>,
    /// Up to which arrival events are not the last word on their users.
    unsure_until: Option<DateTime<Utc>>,
    /// Whether something happened that [`Self::settle`] has not looked at.
    unsettled: bool,
}

impl Reconciler {
    pub(super) fn new(observer: &str, shard: Shard, raw: bool) -> Self {
        Self {
            tracker: Tracker::default(),
            channels: Vec::new(),
            standing: HashSet::new(),
            observer: observer.to_owned(),
            shard,
            raw,
            said: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_bound: WAITING_BYTES,
            held: Vec::new(),
            held_bytes: 0,
            held_bound: WAITING_BYTES,
            repair: None,
            awaits_members: false,
            last: None,
            coverage: None,
            unsure_until: None,
            unsettled: true,
        }
    }

    /// Asks for a user by name.
    pub(super) fn want(&mut self, id: &str) {
        if self.shard.contains(id) {
            self.tracker.want(id, Reason::Named);
        }
    }

    /// Queues something to say.
    pub(super) fn say(&mut self, now: DateTime<Utc>, said: Pending) {
        self.said.push_back((now, said));
    }

    /// The next thing to say, before any further frame.
    pub(super) fn next_said(&mut self) -> Option<(DateTime<Utc>, Pending)> {
        self.said.pop_front()
    }

    /// Whether it is open who is a member where, so that nobody can tell yet whom an event concerns.
    pub(super) const fn set_awaits_members(&mut self, awaits: bool) {
        self.awaits_members = awaits;
    }

    /// How many frames wait to be told.
    #[cfg(test)]
    fn untold(&self) -> usize {
        self.waiting.len() + self.held.len()
    }

    /// Takes note of the first frame of a connection.
    pub(super) fn begin(&mut self, hello: &ReceivedFrame) {
        self.last = Some(hello.clone());
    }

    /// Takes a frame in. It comes back if it can be judged at once.
    pub(super) fn receive(&mut self, frame: ReceivedFrame) -> Option<ReceivedFrame> {
        self.last = Some(frame.clone());
        if self.raw || !self.is_waiting() {
            return Some(frame);
        }
        self.waiting_bytes += frame.text.len();
        self.waiting.push_back(frame);
        if self.waiting_bytes > self.waiting_bound {
            self.fold();
        }
        None
    }

    /// The next frame that waited and can be judged now.
    pub(super) fn next_waiting(&mut self) -> Option<ReceivedFrame> {
        if self.is_waiting() {
            return None;
        }
        let frame = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.text.len();
        Some(frame)
    }

    /// Whether nothing is being repaired, and nothing waits to be told but what is found ([`Self::found`]).
    pub(super) fn is_whole(&self) -> bool {
        let is_gap = |(_, said): &(DateTime<Utc>, Pending)| matches!(said, Pending::Gap(_));
        self.repair.is_none()
            && self.waiting.is_empty()
            && self.held.is_empty()
            && !self.said.iter().any(is_gap)
    }

    /// Who was found to be otherwise, or to be there, and waits to be told of; with the change, unless he is new.
    pub(super) fn found(&self) -> impl Iterator<Item = (String, Option<&Change>)> {
        self.said.iter().filter_map(|(_, said)| match said {
            Pending::Snapshot(user) => Some((user.id().to_owned(), None)),
            Pending::Resync { text, change } => {
                let event =
                    Event::parse(text).expect("the reconciler makes events that can be read");
                let id = event.user?.id.into_owned();
                Some((id, Some(change)))
            }
            Pending::Gap(_)
            | Pending::Coverage(_)
            | Pending::Link(_)
            | Pending::Recovered
            | Pending::Notice(_) => None,
        })
    }

    /// Whether there is something to say, or a frame that waited and can be judged.
    pub(super) fn has_more(&self) -> bool {
        !self.said.is_empty() || (!self.is_waiting() && !self.waiting.is_empty())
    }

    const fn is_waiting(&self) -> bool {
        self.repair.is_some() || self.awaits_members
    }

    /// Decides about an event, and applies it.
    pub(super) fn judge(&mut self, event: &Event<'_>, frame: &ReceivedFrame) -> Decision {
        let Some(user) = &event.user else {
            return Decision::Emit(None);
        };
        match &*event.kind {
            MEMBER_ADDED => {
                if let Some(channel) = self.channel(event.cid.as_deref())
                    && self.shard.contains(&user.id)
                {
                    self.tracker.want(&user.id, Reason::Member(channel));
                    self.unsettled = true;
                }
            }
            MEMBER_REMOVED => {
                if let Some(channel) = self.channel(event.cid.as_deref()) {
                    self.unsettled |= self.tracker.leave(&user.id, channel);
                }
            }
            USER_DELETED => {
                self.tracker.gone(&user.id);
                self.unsettled = true;
            }
            USER_PRESENCE_CHANGED | USER_UPDATED | USER_WATCHING_START | USER_WATCHING_STOP
                if !self.raw =>
            {
                return self.judge_state(event, frame);
            }
            _ => {}
        }
        if self.raw || self.shard.contains(&user.id) {
            Decision::Emit(None)
        } else {
            Decision::Suppress
        }
    }

    /// Decides about an event that carries a user's current state.
    fn judge_state(&mut self, event: &Event<'_>, frame: &ReceivedFrame) -> Decision {
        let Some(user) = &event.user else {
            return Decision::Emit(None);
        };
        let created_at = event.created_at.as_deref();
        match self.tracker.heard(user, created_at) {
            (SubscriptionState::Live, news) => {
                if news.out_of_order || Some(frame.at) <= self.unsure_until {
                    // A newer event came first, so what was applied last may not be the newest.
                    self.tracker.doubt(&user.id);
                    self.unsettled = true;
                }
                Decision::Emit(news.change)
            }
            (SubscriptionState::Awaited, _) => {
                self.held_bytes += frame.text.len();
                self.held.push((user.id.as_ref().into(), frame.clone()));
                if self.held_bytes > self.held_bound {
                    self.fold_held();
                }
                Decision::Suppress
            }
            (SubscriptionState::Missing, _) => {
                // Whoever is spoken of may exist by now. What this says of somebody who was known before is told, and
                // so the answer is compared with it.
                let news = self.tracker.heard_of_missing(user, created_at);
                self.tracker.doubt(&user.id);
                self.unsettled = true;
                Decision::Emit(news.and_then(|news| news.change))
            }
            (SubscriptionState::Left | SubscriptionState::Stranger, _)
                if user.id == self.observer =>
            {
                Decision::Suppress
            }
            (SubscriptionState::Left, _) if event.cid.is_none() => Decision::Suppress,
            (SubscriptionState::Left | SubscriptionState::Stranger, _)
                if !self.shard.contains(&user.id) =>
            {
                Decision::Suppress
            }
            (SubscriptionState::Left | SubscriptionState::Stranger, _) => Decision::Emit(None),
        }
    }

    /// Applies an answer. Returns the questions that it raises.
    pub(super) fn answered(
        &mut self,
        now: DateTime<Utc>,
        question: Query,
        found: Answer,
    ) -> Vec<Query> {
        self.unsettled = true;
        let mut further = Vec::new();
        match found {
            Answer::Channels {
                states,
                refused,
                more,
            } => {
                for (cid, error) in refused {
                    self.say(
                        now,
                        Pending::Notice(format!("{cid} is not watched: {error}")),
                    );
                }
                if let Query::Matching(filter, offset) = question
                    && more
                {
                    let offset = offset.saturating_add(states.len().try_into().unwrap_or(u32::MAX));
                    further.push(Query::Matching(filter, offset));
                }
                let covered = covers_all(&states);
                for state in states {
                    further.extend(self.take_members_of(now, state, covered));
                }
            }
            Answer::Members { ids, complete } => {
                if let Query::Members(cid, _) = question {
                    let channel = self.number(&cid.to_string());
                    self.take_members(channel, &ids, complete);
                    if !complete {
                        self.say(
                            now,
                            Pending::Notice(format!(
                                "{cid} has more members than the service tells; those beyond {} are not watched",
                                ids.len()
                            )),
                        );
                    }
                }
            }
            Answer::Users(users) => {
                self.take_users(now, users, UserOrigin::User);
                if let Query::Users(ids) = question {
                    for id in &ids {
                        self.tracker.unanswered(id);
                    }
                }
                self.release_held();
            }
        }
        further
    }

    fn take_members_of(
        &mut self,
        now: DateTime<Utc>,
        state: ChannelState,
        covered: bool,
    ) -> Option<Query> {
        let cid: Cid = state.cid()?.parse().ok()?;
        let channel = self.number(&cid.to_string());
        self.standing.insert(channel);
        let total = member_count(&state);
        let ids: Vec<String> = state
            .members
            .iter()
            .filter_map(|member| member.id().map(str::to_owned))
            .collect();
        let complete = total == state.members.len() as u64;
        self.take_members(channel, &ids, complete);
        if covered {
            let users = state.members.into_iter().filter_map(|member| member.user);
            self.take_users(now, users.collect(), UserOrigin::Member);
        }
        (!complete).then_some(Query::Members(cid, total))
    }

    fn take_members(&mut self, channel: u16, ids: &[String], complete: bool) {
        let ids: HashSet<&str> = ids
            .iter()
            .map(String::as_str)
            .filter(|id| self.shard.contains(id))
            .collect();
        if complete {
            self.tracker.set_members(channel, &ids);
        }
        for id in ids {
            self.tracker.want(id, Reason::Member(channel));
        }
    }

    fn take_users(&mut self, now: DateTime<Utc>, users: Vec<User>, view: UserOrigin) {
        for user in users {
            // Subscribed twice, by a channel and by name: what events have told since the first answer is newer.
            if self.tracker.standing(user.id()) == SubscriptionState::Live {
                continue;
            }
            let Some(news) = self.tracker.answered(&user, view) else {
                continue;
            };
            let said = match news.change {
                None => Pending::Snapshot(Box::new(user)),
                Some(change) if change.is_empty() => continue,
                Some(change) => {
                    if let Some(repair) = &mut self.repair {
                        repair.repaired.push(user.id().to_owned());
                    }
                    resync(now, &user, change)
                }
            };
            match &mut self.repair {
                Some(repair) => repair.said.push(said),
                None => self.say(now, said),
            }
        }
    }

    /// Gives back the frames of users whose answer is there: before whatever waits, since they came before it.
    fn release_held(&mut self) {
        for (id, frame) in std::mem::take(&mut self.held).into_iter().rev() {
            if self.tracker.standing(&id) == SubscriptionState::Awaited {
                self.held.push((id, frame));
            } else {
                self.held_bytes -= frame.text.len();
                self.waiting_bytes += frame.text.len();
                self.waiting.push_front(frame);
            }
        }
        self.held.reverse();
    }

    /// Draws the conclusions once no question is open: the end of a repair, and how many users are covered now.
    pub(super) fn settle(&mut self, now: DateTime<Utc>) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let repair = self.repair.take();
        let recovered = repair.as_ref().is_some_and(|repair| repair.reconnected);
        if repair.is_some() {
            self.drop_lost_channels();
        }
        if let Some(repair) = repair {
            if !repair.reconnected {
                // What could not be read may have overtaken an event that came behind it. That one is told after an answer
                // that is newer than it is, and nothing in it shows that.
                self.unsure_until = Some(now);
            }
            let gap = Gap {
                from: millis(repair.from.min(now)),
                to: millis_after(now),
                repaired: repair.repaired,
                note: repair.note,
            };
            self.say(now, Pending::Gap(gap));
            for said in repair.said {
                self.say(now, said);
            }
        }
        let coverage = self.tracker.coverage();
        if self.coverage.as_ref() != Some(&coverage) {
            self.coverage = Some(coverage.clone());
            self.say(now, Pending::Coverage(coverage));
        }
        if recovered {
            self.say(now, Pending::Recovered);
        }
    }

    /// Asks again for the users whom the service did not know.
    pub(super) fn retry_missing(&mut self) {
        self.tracker.hope();
        self.unsettled = true;
    }

    /// Nobody is asked for as a member of a channel that is gone, or matches no more.
    fn drop_lost_channels(&mut self) {
        for channel in 0..self.channels.len() {
            let channel = u16::try_from(channel).unwrap_or(u16::MAX);
            if !self.standing.contains(&channel) {
                self.tracker.set_members(channel, &HashSet::new());
            }
        }
    }

    /// Whether there is anything to conclude once no question is open.
    pub(super) const fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Starts from what an earlier run knew at its end: everything since then is a gap.
    pub(super) fn resume(&mut self, from: DateTime<Utc>, note: &str) {
        self.begin_repair(from, note, false);
    }

    /// Everything known is void, because the link is gone.
    pub(super) fn lost(&mut self, now: DateTime<Utc>, note: &str) {
        let mut from = self.complete_until(now);
        // Frames that never were told belong to the gap; the answers after it will show what they said.
        let untold = self
            .waiting
            .iter()
            .chain(self.held.iter().map(|(_, frame)| frame));
        for frame in untold {
            from = from.min(happened(frame));
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.held.clear();
        self.held_bytes = 0;
        self.awaits_members = false;
        self.begin_repair(from, note, true);
    }

    /// A frame could not be read, so an event may be lost although the link stands.
    pub(super) fn garbled(&mut self, now: DateTime<Utc>, before: &ReceivedFrame, note: &str) {
        let from = if before.text.is_empty() {
            now
        } else {
            happened(before) - OVERTAKING
        };
        self.begin_repair(from, note, false);
    }

    fn begin_repair(&mut self, from: DateTime<Utc>, note: &str, reconnected: bool) {
        self.tracker.void();
        self.standing.clear();
        self.unsettled = true;
        match &mut self.repair {
            // Lost again before it was made good: one gap, from its first beginning.
            Some(repair) => {
                repair.from = repair.from.min(from);
                repair.reconnected |= reconnected;
            }
            None => {
                self.repair = Some(Repair {
                    from,
                    note: note.to_owned(),
                    reconnected,
                    said: Vec::new(),
                    repaired: Vec::new(),
                });
            }
        }
    }

    /// The last moment up to which nothing can be missing: a while before the last frame, which may have overtaken others.
    pub(super) fn complete_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.last
            .as_ref()
            .map_or(now, |frame| happened(frame) - OVERTAKING)
    }

    /// Keeps of the waiting frames only what is needed to end up with the truth, so that waiting for answers takes bounded
    /// memory: the last state of each user, and who joined or left.
    fn fold(&mut self) {
        let oldest = self.waiting.front().map(happened);
        let before = self.waiting.len();
        fold(&mut self.waiting, |_| true);
        self.waiting_bytes = bytes(&self.waiting);
        if self.waiting_bytes > WAITING_BYTES {
            fold(&mut self.waiting, is_about_members);
            self.waiting_bytes = bytes(&self.waiting);
        }
        // What cannot be folded grows with the users and not with time.
        self.waiting_bound = WAITING_BYTES.max(self.waiting_bytes * 2);
        self.tell_of_folding(oldest, before - self.waiting.len());
    }

    /// The same for the frames that wait for their users' answers.
    fn fold_held(&mut self) {
        let oldest = self.held.first().map(|(_, frame)| happened(frame));
        let before = self.held.len();
        let mut newer = HashSet::new();
        let mut kept = Vec::new();
        for (id, frame) in std::mem::take(&mut self.held).into_iter().rev() {
            if newer.insert(id.clone()) {
                kept.push((id, frame));
            }
        }
        kept.reverse();
        self.held_bytes = kept.iter().map(|(_, frame)| frame.text.len()).sum();
        self.held_bound = WAITING_BYTES.max(self.held_bytes * 2);
        self.held = kept;
        self.tell_of_folding(oldest, before - self.held.len());
    }

    /// A repair tells of its own gap, and folded events lie within it.
    fn tell_of_folding(&mut self, oldest: Option<DateTime<Utc>>, folded: usize) {
        if folded > 0
            && self.repair.is_none()
            && let Some(from) = oldest
        {
            let now = self.last.as_ref().map_or(from, |frame| frame.at);
            let gap = Gap {
                from: millis(from),
                to: millis_after(now),
                repaired: Vec::new(),
                note: format!("{folded} events were folded into later ones while subscribing"),
            };
            self.say(now, Pending::Gap(gap));
        }
    }

    fn channel(&self, cid: Option<&str>) -> Option<u16> {
        let cid = cid?;
        let at = self.channels.iter().position(|own| own == cid)?;
        u16::try_from(at).ok()
    }

    /// The number of a channel, given on first sight.
    fn number(&mut self, cid: &str) -> u16 {
        self.channel(Some(cid)).unwrap_or_else(|| {
            self.channels.push(cid.to_owned());
            u16::try_from(self.channels.len() - 1).unwrap_or(u16::MAX)
        })
    }
}

/// Keeps of each user's states the last, and of all other frames those that are needed.
fn fold(frames: &mut VecDeque<ReceivedFrame>, needed: impl Fn(&Event<'_>) -> bool) {
    let mut newer = HashSet::new();
    let mut kept = VecDeque::new();
    for frame in std::mem::take(frames).into_iter().rev() {
        // What cannot be read is a gap of its own, once its turn comes.
        let keep = Event::parse(&frame.text).map_or(true, |event| match &event.user {
            Some(user) if is_state(&event) => newer.insert(user.id.clone().into_owned()),
            _ => needed(&event),
        });
        if keep {
            kept.push_front(frame);
        }
    }
    *frames = kept;
}

fn is_state(event: &Event<'_>) -> bool {
    event.is(USER_PRESENCE_CHANGED) || event.is(USER_UPDATED)
}

fn is_about_members(event: &Event<'_>) -> bool {
    event.is(MEMBER_ADDED) || event.is(MEMBER_REMOVED) || event.is(USER_DELETED)
}

fn bytes(frames: &VecDeque<ReceivedFrame>) -> usize {
    frames.iter().map(|frame| frame.text.len()).sum()
}

/// When what a frame tells happened: by the server's clock or ours, whichever is earlier, since a frame may have been
/// long on its way and the clocks need not agree.
fn happened(frame: &ReceivedFrame) -> DateTime<Utc> {
    Event::parse(&frame.text)
        .ok()
        .and_then(|event| DateTime::parse_from_rfc3339(event.created_at.as_deref()?).ok())
        .map_or(frame.at, |created| frame.at.min(created.to_utc()))
}

/// The event that the service would have sent, had the link stood.
fn resync(now: DateTime<Utc>, user: &User, change: Change) -> Pending {
    // Whatever else of the user it was: that something was updated is all that is said of it.
    let others = change
        .changed
        .iter()
        .any(|field| field != PresenceField::Status);
    let kind = if others {
        USER_PRESENCE_CHANGED
    } else {
        USER_UPDATED
    };
    let event = Map::from_iter([
        ("type".to_owned(), Value::from(kind)),
        ("created_at".to_owned(), Value::from(millis(now))),
        ("user".to_owned(), Value::Object(user.fields().clone())),
    ]);
    Pending::Resync {
        text: Value::Object(event).to_string(),
        change,
    }
}

#[cfg(test)]
mod tests;
