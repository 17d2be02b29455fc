//! Merges answers and events into one stream that leaves its reader with the correct state of every user.
//!
//! Two sources describe the same users: events on the socket, in order, and answers to queries, which show the state at
//! some moment between request and response. The service subscribes first and reads then, so everything that an answer
//! does not show yet arrives as an event. Hence the ordering rule: *first the answer, then every event that was received
//! since the query was sent*. Applying an event again that the answer already shows is harmless, because each event
//! carries the user's whole state and the last one is the newest.
//!
//! While the stream is complete, only an event about a user whose own answer is pending is held until the answer has
//! arrived. After a loss, the reader must see the gap and all users who changed in it before the next event, so all
//! events are queued until the last answer.
//!
//! No I/O and no clock: frames, answers and the time come in; records to emit and queries to send go out.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::api::ChannelState;
use crate::domain::coalesce::{CoalesceRule, keep_latest};
use crate::domain::event::{
    CHANNEL_DELETED, Event, MEMBER_ADDED, MEMBER_REMOVED, NOTIFICATION_CHANNEL_DELETED,
    USER_DELETED, USER_PRESENCE_CHANGED, USER_UPDATED, USER_WATCHING_START, USER_WATCHING_STOP,
};
use crate::domain::record::{ConnectionChanged, Coverage, Gap, MissingReason};
use crate::domain::time::{millis, millis_after};
use crate::domain::{Change, Cid, IdSet, PresenceField, User, UserOrigin};
use crate::events::shard::Shard;
use crate::events::subscribe::{Answer, Query, covers_all, member_count};
use crate::events::subscriptions::{Reason, SubscriptionState, Subscriptions};

/// How many bytes of frames may be buffered before superseded ones are dropped.
const BUFFER_SOFT_LIMIT_BYTES: usize = 32 << 20;

/// By how much the service may send an event too late. Its events are only nearly sorted by their times, and a gap that
/// begins too late hides a loss.
const MAX_REORDERING: TimeDelta = TimeDelta::seconds(1);

/// A frame with the time of its arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct ReceivedFrame {
    pub(super) at: DateTime<Utc>,
    pub(super) text: Utf8Bytes,
}

/// A record or notice that is to be emitted before the next frame.
#[derive(Debug)]
pub(super) enum Pending {
    Snapshot(Box<User>),
    /// An event in the service's form, made from an answer that differs from the known state.
    Resync {
        user_id: String,
        text: String,
        change: Change,
    },
    Gap(Gap),
    Coverage(Coverage),
    Connection(ConnectionChanged),
    Recovered,
    Notice(String),
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Emit it now, with the change of the user's state if that is known.
    Emit(Option<Change>),
    /// Do not emit it now: it is held, or concerns a user who is not requested.
    Suppress,
}

/// A gap that is being repaired.
#[derive(Debug)]
struct Repair {
    from: DateTime<Utc>,
    note: String,
    reconnected: bool,
    pending: Vec<Pending>,
    repaired: Vec<String>,
}

/// The state of all merging.
#[derive(Debug)]
pub(super) struct Reconciler {
    pub(super) subscriptions: Subscriptions,
    /// Channels by number, as [`Reason::Member`] refers to them.
    channels: Vec<String>,
    /// Channels that have answered since everything was invalidated.
    answered_channels: HashSet<u16>,
    /// Channels that are not watched, because they were deleted or the service refuses them.
    lost_channels: HashSet<u16>,
    observer: String,
    shard: Shard,
    raw: bool,
    pending: VecDeque<(DateTime<Utc>, Pending)>,
    /// All frames, in order, until a repair ends or the members of all channels are known.
    queue: VecDeque<ReceivedFrame>,
    queue_bytes: usize,
    queue_limit: usize,
    /// Frames about users whose own answer is pending.
    held: Vec<(Box<str>, ReceivedFrame)>,
    held_bytes: usize,
    held_limit: usize,
    repair: Option<Repair>,
    awaits_members: bool,
    last: Option<ReceivedFrame>,
    coverage: Option<Coverage>,
    /// Events that arrived up to this time may be older than the answers before them.
    uncertain_until: Option<DateTime<Utc>>,
    /// Whether something happened since [`Self::conclude`] was last called.
    needs_conclusion: bool,
}

impl Reconciler {
    pub(super) fn new(observer: &str, shard: Shard, raw: bool) -> Self {
        Self {
            subscriptions: Subscriptions::default(),
            channels: Vec::new(),
            answered_channels: HashSet::new(),
            lost_channels: HashSet::new(),
            observer: observer.to_owned(),
            shard,
            raw,
            pending: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            queue_limit: BUFFER_SOFT_LIMIT_BYTES,
            held: Vec::new(),
            held_bytes: 0,
            held_limit: BUFFER_SOFT_LIMIT_BYTES,
            repair: None,
            awaits_members: false,
            last: None,
            coverage: None,
            uncertain_until: None,
            needs_conclusion: true,
        }
    }

    /// Requests users by name, before anything else.
    pub(super) fn request_all(&mut self, ids: IdSet) {
        if self.shard == Shard::ALL {
            self.subscriptions = Subscriptions::for_users(ids);
            return;
        }
        for id in ids.iter().filter(|id| self.shard.contains(id)) {
            self.subscriptions.request(id, Reason::Named);
        }
    }

    pub(super) fn enqueue(&mut self, now: DateTime<Utc>, pending: Pending) {
        self.pending.push_back((now, pending));
    }

    /// What to emit next, before any further frame.
    pub(super) fn next_pending(&mut self) -> Option<(DateTime<Utc>, Pending)> {
        self.pending.pop_front()
    }

    /// Says whether the members of a channel are still unknown. Until they are known, nothing can tell which events
    /// concern requested users.
    pub(super) const fn set_awaits_members(&mut self, awaits: bool) {
        self.awaits_members = awaits;
    }

    #[cfg(test)]
    fn buffered_frames(&self) -> usize {
        self.queue.len() + self.held.len()
    }

    /// Records the first frame of a connection.
    pub(super) fn connection_opened(&mut self, hello: &ReceivedFrame) {
        self.last = Some(hello.clone());
    }

    /// Takes a frame. Returns it if [`Self::decide`] may be called for it at once; otherwise it is queued.
    pub(super) fn receive(&mut self, frame: ReceivedFrame) -> Option<ReceivedFrame> {
        self.last = Some(frame.clone());
        if self.raw || !self.is_queueing() {
            return Some(frame);
        }
        self.queue_bytes += frame.text.len();
        self.queue.push_back(frame);
        if self.queue_bytes > self.queue_limit {
            self.coalesce_queue();
        }
        None
    }

    /// The next queued frame, once frames are not queued any more.
    pub(super) fn next_queued(&mut self) -> Option<ReceivedFrame> {
        if self.is_queueing() {
            return None;
        }
        let frame = self.queue.pop_front()?;
        self.queue_bytes -= frame.text.len();
        Some(frame)
    }

    /// Whether no repair is under way, and nothing is buffered but [`Self::pending_changes`].
    pub(super) fn is_complete(&self) -> bool {
        let is_gap = |(_, pending): &(DateTime<Utc>, Pending)| matches!(pending, Pending::Gap(_));
        self.repair.is_none()
            && self.queue.is_empty()
            && self.held.is_empty()
            && !self.pending.iter().any(is_gap)
    }

    /// The users whose snapshot or resync is not emitted yet, with the change of a resync.
    pub(super) fn pending_changes(&self) -> impl Iterator<Item = (&str, Option<&Change>)> {
        self.pending
            .iter()
            .filter_map(|(_, pending)| match pending {
                Pending::Snapshot(user) => Some((user.id(), None)),
                Pending::Resync {
                    user_id, change, ..
                } => Some((&**user_id, Some(change))),
                Pending::Gap(_)
                | Pending::Coverage(_)
                | Pending::Connection(_)
                | Pending::Recovered
                | Pending::Notice(_) => None,
            })
    }

    /// Whether [`Self::next_pending`] or [`Self::next_queued`] would return something.
    pub(super) fn has_more(&self) -> bool {
        !self.pending.is_empty() || (!self.is_queueing() && !self.queue.is_empty())
    }

    const fn is_queueing(&self) -> bool {
        self.repair.is_some() || self.awaits_members
    }

    /// Applies an event and decides whether it is emitted.
    pub(super) fn decide(&mut self, event: &Event<'_>, frame: &ReceivedFrame) -> Decision {
        if let CHANNEL_DELETED | NOTIFICATION_CHANNEL_DELETED = &*event.kind
            && let Some(channel) = self.channel(event.cid.as_deref())
        {
            self.lose_channel(channel);
            self.subscriptions.retain_members(channel, &HashSet::new());
            self.needs_conclusion = true;
        }
        let Some(user) = &event.user else {
            return Decision::Emit(None);
        };
        match &*event.kind {
            MEMBER_ADDED => {
                if let Some(channel) = self.channel(event.cid.as_deref())
                    && self.shard.contains(&user.id)
                {
                    self.subscriptions
                        .request(&user.id, Reason::Member(channel));
                    self.needs_conclusion = true;
                }
            }
            MEMBER_REMOVED => {
                if let Some(channel) = self.channel(event.cid.as_deref()) {
                    self.needs_conclusion |= self.subscriptions.remove_member(&user.id, channel);
                }
            }
            USER_DELETED => {
                self.subscriptions.mark_deleted(&user.id);
                self.needs_conclusion = true;
            }
            USER_PRESENCE_CHANGED | USER_UPDATED | USER_WATCHING_START | USER_WATCHING_STOP
                if !self.raw =>
            {
                return self.decide_state(event, frame);
            }
            _ => {}
        }
        if self.raw || self.shard.contains(&user.id) {
            Decision::Emit(None)
        } else {
            Decision::Suppress
        }
    }

    /// Decides about an event that carries the current state of a user.
    fn decide_state(&mut self, event: &Event<'_>, frame: &ReceivedFrame) -> Decision {
        let Some(user) = &event.user else {
            return Decision::Emit(None);
        };
        let created_at = event.created_at.as_deref();
        match self.subscriptions.apply_event(user, created_at) {
            (SubscriptionState::Subscribed, update) => {
                if update.out_of_order || Some(frame.at) <= self.uncertain_until {
                    // A newer event came first, so the state that was applied last may not be the newest.
                    self.subscriptions.invalidate(&user.id);
                    self.needs_conclusion = true;
                }
                Decision::Emit(update.change)
            }
            (SubscriptionState::Pending, _) => {
                self.held_bytes += frame.text.len();
                self.held.push((user.id.as_ref().into(), frame.clone()));
                if self.held_bytes > self.held_limit {
                    self.coalesce_held();
                }
                Decision::Suppress
            }
            (SubscriptionState::Missing, update) => {
                // A user with events may exist by now.
                self.subscriptions.invalidate(&user.id);
                self.needs_conclusion = true;
                Decision::Emit(update.change)
            }
            (SubscriptionState::Released | SubscriptionState::NotRequested, _)
                if user.id == self.observer =>
            {
                Decision::Suppress
            }
            (SubscriptionState::Released, _) if event.cid.is_none() => Decision::Suppress,
            (SubscriptionState::Released | SubscriptionState::NotRequested, _)
                if !self.shard.contains(&user.id) =>
            {
                Decision::Suppress
            }
            (SubscriptionState::Released | SubscriptionState::NotRequested, _) => {
                Decision::Emit(None)
            }
        }
    }

    /// Applies an answer. Returns the queries that follow from it.
    pub(super) fn apply_answer(
        &mut self,
        now: DateTime<Utc>,
        query: Query,
        answer: Answer,
    ) -> Vec<Query> {
        self.needs_conclusion = true;
        let mut further = Vec::new();
        match answer {
            Answer::Channels {
                states,
                refused,
                more,
            } => {
                for (cid, error) in refused {
                    let channel = self.number(&cid.to_string());
                    if self.lose_channel(channel) {
                        self.enqueue(
                            now,
                            Pending::Notice(format!("{cid} is not watched: {error}")),
                        );
                    }
                }
                if let Query::Matching(filter, offset) = query
                    && more
                {
                    let offset = offset.saturating_add(states.len().try_into().unwrap_or(u32::MAX));
                    further.push(Query::Matching(filter, offset));
                }
                let covered = covers_all(&states);
                for state in states {
                    further.extend(self.apply_channel(now, state, covered));
                }
            }
            Answer::Members { ids, complete } => {
                if let Query::Members(cid, _) = query {
                    let channel = self.number(&cid.to_string());
                    self.apply_members(channel, &ids, complete);
                    if !complete {
                        self.enqueue(
                            now,
                            Pending::Notice(format!(
                                "{cid} has more members than the service lists; only the first {} are watched",
                                ids.len()
                            )),
                        );
                    }
                }
            }
            Answer::Users(users, reasons) => {
                self.apply_users(now, users, UserOrigin::User);
                if let Query::Users(ids) = query {
                    for id in &ids {
                        let reason = reasons.get(&**id).copied().unwrap_or_default();
                        self.apply_absence(now, id, reason);
                    }
                }
                self.release_held();
            }
        }
        further
    }

    fn apply_channel(
        &mut self,
        now: DateTime<Utc>,
        state: ChannelState,
        covered: bool,
    ) -> Option<Query> {
        let cid: Cid = state.cid()?.parse().ok()?;
        let channel = self.number(&cid.to_string());
        self.answered_channels.insert(channel);
        self.lost_channels.remove(&channel);
        let total = member_count(&state);
        let ids: Vec<String> = state
            .members
            .iter()
            .filter_map(|member| member.id().map(str::to_owned))
            .collect();
        let complete = total == state.members.len() as u64;
        self.apply_members(channel, &ids, complete);
        if covered {
            let users = state.members.into_iter().filter_map(|member| member.user);
            self.apply_users(now, users.collect(), UserOrigin::Member);
        }
        (!complete).then_some(Query::Members(cid, total))
    }

    fn apply_members(&mut self, channel: u16, ids: &[String], complete: bool) {
        let ids = ids.iter().map(String::as_str);
        let ids = ids.filter(|id| self.shard.contains(id));
        if complete {
            let members = ids.clone().collect();
            self.subscriptions.retain_members(channel, &members);
        }
        for id in ids {
            self.subscriptions.request(id, Reason::Member(channel));
        }
    }

    fn apply_users(&mut self, now: DateTime<Utc>, users: Vec<User>, origin: UserOrigin) {
        for user in users {
            // Subscribed twice, by a channel and by name: the events since the first answer are newer than this one.
            if self.subscriptions.state(user.id()) == SubscriptionState::Subscribed {
                continue;
            }
            let Some(update) = self.subscriptions.apply_answer(&user, origin) else {
                continue;
            };
            match update.change {
                None => self.enqueue_after_gap(now, Pending::Snapshot(Box::new(user))),
                Some(change) if change.is_empty() => {}
                Some(change) => self.enqueue_resync(now, &user, change),
            }
        }
    }

    /// Applies the absence of a user from the answer to a query for them: a user whose state is known does not exist
    /// any more, so nothing about them is true any more.
    fn apply_absence(&mut self, now: DateTime<Utc>, id: &str, reason: MissingReason) {
        if let Some(change) = self.subscriptions.mark_missing(id, reason) {
            let user = User::new(Map::from_iter([("id".to_owned(), id.into())])).normalized();
            self.enqueue_resync(now, &user, change);
        }
    }

    fn enqueue_resync(&mut self, now: DateTime<Utc>, user: &User, change: Change) {
        if let Some(repair) = &mut self.repair {
            repair.repaired.push(user.id().to_owned());
        }
        self.enqueue_after_gap(now, resync(now, user, change));
    }

    /// Queues a record about a user; during a repair, behind the record of the gap.
    fn enqueue_after_gap(&mut self, now: DateTime<Utc>, pending: Pending) {
        match &mut self.repair {
            Some(repair) => repair.pending.push(pending),
            None => self.enqueue(now, pending),
        }
    }

    /// Moves the held frames of users whose answer has arrived to the front of the queue: they arrived before it.
    fn release_held(&mut self) {
        for (id, frame) in std::mem::take(&mut self.held).into_iter().rev() {
            if self.subscriptions.state(&id) == SubscriptionState::Pending {
                self.held.push((id, frame));
            } else {
                self.held_bytes -= frame.text.len();
                self.queue_bytes += frame.text.len();
                self.queue.push_front(frame);
            }
        }
        self.held.reverse();
    }

    /// Ends a repair and reports a changed coverage. To be called when no query is under way.
    pub(super) fn conclude(&mut self, now: DateTime<Utc>) {
        if !std::mem::take(&mut self.needs_conclusion) {
            return;
        }
        let repair = self.repair.take();
        let recovered = repair.as_ref().is_some_and(|repair| repair.reconnected);
        if repair.is_some() {
            self.drop_lost_channels();
        }
        if let Some(repair) = repair {
            if !repair.reconnected {
                // The unreadable frame may have been sent before an older event. That event is applied after an answer
                // that is newer, and nothing in it shows this.
                self.uncertain_until = Some(now);
            }
            let gap = Gap {
                from: millis(repair.from.min(now)),
                to: millis_after(now),
                repaired: repair.repaired,
                note: repair.note,
            };
            self.enqueue(now, Pending::Gap(gap));
            for pending in repair.pending {
                self.enqueue(now, pending);
            }
        }
        let coverage = self.subscriptions.coverage();
        if self.coverage.as_ref() != Some(&coverage) {
            self.coverage = Some(coverage.clone());
            self.enqueue(now, Pending::Coverage(coverage));
        }
        if recovered {
            self.enqueue(now, Pending::Recovered);
        }
    }

    /// Records that a channel is not watched. Returns whether that is new.
    fn lose_channel(&mut self, channel: u16) -> bool {
        self.answered_channels.remove(&channel);
        self.lost_channels.insert(channel)
    }

    /// Whether this channel was found once, or looked for, and is not watched now.
    pub(super) fn has_lost_channel(&self, cid: &Cid) -> bool {
        let channel = self.channel(Some(&cid.to_string()));
        channel.is_some_and(|channel| self.lost_channels.contains(&channel))
    }

    /// Queries the missing users again.
    pub(super) fn retry_missing(&mut self) {
        self.subscriptions.retry_missing();
        self.needs_conclusion = true;
    }

    /// Releases the members of channels that are gone, or do not match any more.
    fn drop_lost_channels(&mut self) {
        for channel in 0..self.channels.len() {
            let channel = u16::try_from(channel).unwrap_or(u16::MAX);
            if !self.answered_channels.contains(&channel) {
                self.subscriptions.retain_members(channel, &HashSet::new());
            }
        }
    }

    /// Whether [`Self::conclude`] is to be called once no query is under way.
    pub(super) const fn needs_conclusion(&self) -> bool {
        self.needs_conclusion
    }

    /// Starts from the states of an earlier run, which was complete up to `from`: everything since then is a gap.
    pub(super) fn resume(&mut self, from: DateTime<Utc>, note: &str) {
        self.begin_repair(from, note, false);
    }

    /// The connection is lost, and all subscriptions with it.
    pub(super) fn connection_lost(&mut self, now: DateTime<Utc>, note: &str) {
        let mut from = self.complete_until(now);
        // Frames that were not emitted belong to the gap. The answers after it will show their effects.
        let buffered = self
            .queue
            .iter()
            .chain(self.held.iter().map(|(_, frame)| frame));
        for frame in buffered {
            from = from.min(occurred_at(frame));
        }
        self.queue.clear();
        self.queue_bytes = 0;
        self.held.clear();
        self.held_bytes = 0;
        self.awaits_members = false;
        self.begin_repair(from, note, true);
    }

    /// A frame could not be parsed, so an event may be lost although the connection is alive.
    pub(super) fn frame_unreadable(
        &mut self,
        now: DateTime<Utc>,
        before: &ReceivedFrame,
        note: &str,
    ) {
        let from = if before.text.is_empty() {
            now
        } else {
            occurred_at(before) - MAX_REORDERING
        };
        self.begin_repair(from, note, false);
    }

    fn begin_repair(&mut self, from: DateTime<Utc>, note: &str, reconnected: bool) {
        self.subscriptions.invalidate_all();
        self.answered_channels.clear();
        self.needs_conclusion = true;
        match &mut self.repair {
            // Lost again before the repair was finished: one gap, from its first beginning.
            Some(repair) => {
                repair.from = repair.from.min(from);
                repair.reconnected |= reconnected;
            }
            None => {
                self.repair = Some(Repair {
                    from,
                    note: note.to_owned(),
                    reconnected,
                    pending: Vec::new(),
                    repaired: Vec::new(),
                });
            }
        }
    }

    /// The time up to which no event can be missing. Before the last frame's time, since older events may come after it.
    pub(super) fn complete_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.last
            .as_ref()
            .map_or(now, |frame| occurred_at(frame) - MAX_REORDERING)
    }

    /// Drops the queued frames that later ones supersede, so that queueing takes bounded memory: kept are the last state
    /// of each user, and who joined or left.
    fn coalesce_queue(&mut self) {
        let oldest = self.queue.front().map(occurred_at);
        let before = self.queue.len();
        coalesce(&mut self.queue, |_| true);
        self.queue_bytes = total_bytes(&self.queue);
        if self.queue_bytes > BUFFER_SOFT_LIMIT_BYTES {
            coalesce(&mut self.queue, is_about_members);
            self.queue_bytes = total_bytes(&self.queue);
        }
        // What is left grows with the number of users and not with time.
        self.queue_limit = BUFFER_SOFT_LIMIT_BYTES.max(self.queue_bytes * 2);
        self.report_coalesced(oldest, before - self.queue.len());
    }

    /// The same for the held frames.
    fn coalesce_held(&mut self) {
        let oldest = self.held.first().map(|(_, frame)| occurred_at(frame));
        let mut held = VecDeque::from(std::mem::take(&mut self.held));
        let removed = keep_latest(&mut held, |(id, _)| {
            CoalesceRule::KeepLatestOf(id.to_string())
        });
        self.held = held.into();
        self.held_bytes = self.held.iter().map(|(_, frame)| frame.text.len()).sum();
        self.held_limit = BUFFER_SOFT_LIMIT_BYTES.max(self.held_bytes * 2);
        self.report_coalesced(oldest, removed);
    }

    /// Reports a gap for dropped frames. During a repair they lie within the gap that it reports.
    fn report_coalesced(&mut self, oldest: Option<DateTime<Utc>>, dropped: usize) {
        if dropped > 0
            && self.repair.is_none()
            && let Some(from) = oldest
        {
            let now = self.last.as_ref().map_or(from, |frame| frame.at);
            let gap = Gap {
                from: millis(from),
                to: millis_after(now),
                repaired: Vec::new(),
                note: format!(
                    "{dropped} events were dropped while subscribing, because later ones superseded them"
                ),
            };
            self.enqueue(now, Pending::Gap(gap));
        }
    }

    fn channel(&self, cid: Option<&str>) -> Option<u16> {
        let cid = cid?;
        let at = self.channels.iter().position(|own| own == cid)?;
        u16::try_from(at).ok()
    }

    /// The number of a channel; a channel that has none gets one.
    fn number(&mut self, cid: &str) -> u16 {
        self.channel(Some(cid)).unwrap_or_else(|| {
            self.channels.push(cid.to_owned());
            u16::try_from(self.channels.len() - 1).unwrap_or(u16::MAX)
        })
    }
}

/// Keeps the last state of each user, and the other frames that are `needed`.
fn coalesce(frames: &mut VecDeque<ReceivedFrame>, needed: impl Fn(&Event<'_>) -> bool) {
    keep_latest(frames, |frame| match Event::parse(&frame.text) {
        // An unreadable frame becomes a gap of its own when its turn comes.
        Err(_) => CoalesceRule::Keep,
        Ok(event) => match &event.user {
            Some(user) if is_state(&event) => {
                CoalesceRule::KeepLatestOf(user.id.clone().into_owned())
            }
            _ if needed(&event) => CoalesceRule::Keep,
            _ => CoalesceRule::Drop,
        },
    });
}

fn is_state(event: &Event<'_>) -> bool {
    event.is(USER_PRESENCE_CHANGED) || event.is(USER_UPDATED)
}

fn is_about_members(event: &Event<'_>) -> bool {
    event.is(MEMBER_ADDED) || event.is(MEMBER_REMOVED) || event.is(USER_DELETED)
}

fn total_bytes(frames: &VecDeque<ReceivedFrame>) -> usize {
    frames.iter().map(|frame| frame.text.len()).sum()
}

/// The time of a frame's event, by the server's clock or by ours, whichever is earlier: a frame may have been under way
/// for long, and the two clocks need not agree.
fn occurred_at(frame: &ReceivedFrame) -> DateTime<Utc> {
    Event::parse(&frame.text)
        .ok()
        .and_then(|event| DateTime::parse_from_rfc3339(event.created_at.as_deref()?).ok())
        .map_or(frame.at, |created| frame.at.min(created.to_utc()))
}

/// The event that the service would have sent over a working connection.
fn resync(now: DateTime<Utc>, user: &User, change: Change) -> Pending {
    // A change of other fields shows as `user.updated`, which does not say which fields.
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
        user_id: user.id().to_owned(),
        text: Value::Object(event).to_string(),
        change,
    }
}

#[cfg(test)]
mod tests;
