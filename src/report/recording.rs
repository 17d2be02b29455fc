//! Turns one recorded stream into a sequence of facts in order of time.
//!
//! Lines are only nearly in order: a gap is recorded after it is over, so it starts before lines that are already
//! written. A killed watcher leaves no `stream.end`. So facts wait in a queue until no earlier line can follow: for a
//! minute of the stream's own time, and for as long as the connection is down.

use std::collections::VecDeque;

use anyhow::Context;

use super::batch::{Batch, BatchBody, BatchLine, Batches};
use super::input::InputSource;
use super::intervals::{Fact, Texts, UserIndex};
use crate::domain::time::Millis;

/// By how much lines may be out of order, in the stream's own time.
pub(super) const REORDER_WINDOW: Millis = 60_000;
/// How long a query of a watcher may take: its calls end after 30 s unless a flag says otherwise.
const CALL_DURATION_MAX: Millis = 30_000;
/// How many facts may wait to be put in order.
const REORDER_QUEUE_MAX: usize = 1 << 16;
/// How many watchers may write alternating lines into one input.
const INTERLEAVED_RUNS_MAX: usize = 64;

/// A fact and its time.
#[derive(Debug)]
pub(super) struct Dated {
    pub(super) at: Millis,
    /// How many earlier facts of this recording have the same time.
    pub(super) order: u32,
    pub(super) fact: Fact,
    pub(super) texts: Option<Box<Texts>>,
}

/// Assigns numbers to users, and knows which of them are requested.
pub(super) trait Register {
    /// The number of a user; `None` if the user is not requested.
    fn register(&mut self, id: &str) -> Option<UserIndex>;
}

/// Problems of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RecordingProblems {
    /// Lines that are not records.
    pub(super) foreign: u64,
    /// Observations that arrived too late to be used.
    pub(super) late: u64,
    /// Whether it is a recording of requests.
    pub(super) is_traffic_recording: bool,
    /// Whether compressed data is incomplete.
    pub(super) truncated: bool,
}

/// What a recording says about a user besides facts.
#[derive(Debug, Clone, Copy)]
struct RecordedUser {
    /// A fingerprint of their last texts; 0 if this recording does not have their state.
    texts: u64,
    /// When they were last shown by the answer to a query.
    answered_at: Millis,
}

/// A recorded stream that is being read.
#[derive(Debug)]
pub(super) struct Recording {
    name: String,
    batches: Batches,
    queue: VecDeque<Dated>,
    /// The time of the last fact that was taken.
    handed_out: Millis,
    /// The latest time of any line.
    latest: Millis,
    /// The time up to which facts can be taken. It does not advance while the connection is down.
    watermark: Millis,
    /// The last `seq` of each watcher in this input. The watcher of the last line is last.
    runs: Vec<u64>,
    is_down: bool,
    has_ended: bool,
    is_exhausted: bool,
    gap_end: Millis,
    users: Vec<RecordedUser>,
    keep_texts: bool,
    pub(super) problems: RecordingProblems,
}

impl Recording {
    /// Starts reading.
    pub(super) fn open(
        source: &InputSource,
        threads: usize,
        keep_texts: bool,
    ) -> anyhow::Result<Self> {
        let name = source.name();
        let blocks = source.open()?;
        Ok(Self {
            name,
            batches: Batches::start(blocks, threads, keep_texts),
            queue: VecDeque::new(),
            handed_out: Millis::MIN,
            latest: Millis::MIN,
            watermark: Millis::MIN,
            runs: Vec::new(),
            is_down: false,
            has_ended: true,
            is_exhausted: false,
            gap_end: Millis::MIN,
            users: Vec::new(),
            keep_texts,
            problems: RecordingProblems::default(),
        })
    }

    /// The name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The latest time of any line read so far.
    pub(super) fn latest(&self) -> Option<Millis> {
        (self.latest > Millis::MIN).then_some(self.latest)
    }

    /// The next fact, without taking it. `None` at the end.
    pub(super) fn peek(&mut self, register: &mut impl Register) -> anyhow::Result<Option<&Dated>> {
        while !self.is_settled() {
            let batch = self
                .batches
                .next()
                .with_context(|| format!("cannot read {}", self.name))?;
            match batch {
                Some(batch) => self.take(&batch, register),
                None => self.exhaust(),
            }
        }
        Ok(self.queue.front())
    }

    /// The fact that [`Self::peek`] returned last.
    pub(super) fn head(&self) -> Option<&Dated> {
        self.queue.front()
    }

    /// Takes the fact that [`Self::peek`] returned.
    pub(super) fn next(&mut self) -> Option<Dated> {
        let fact = self.queue.pop_front()?;
        self.handed_out = fact.at;
        Some(fact)
    }

    /// Whether the first fact of the queue is certainly the next one.
    fn is_settled(&self) -> bool {
        self.is_exhausted
            || self.queue.len() > REORDER_QUEUE_MAX
            || self
                .queue
                .front()
                .is_some_and(|first| first.at < self.watermark.saturating_sub(REORDER_WINDOW))
    }

    fn take(&mut self, batch: &Batch, register: &mut impl Register) {
        self.problems.foreign += batch.foreign;
        self.problems.is_traffic_recording |= batch.is_traffic_recording;
        self.problems.truncated |= batch.truncated;
        for line in &batch.lines {
            self.take_line(batch, line, register);
        }
    }

    fn take_line(&mut self, batch: &Batch, line: &BatchLine, register: &mut impl Register) {
        if self.is_restart(line) {
            self.end();
        }
        if self.latest == Millis::MIN {
            self.push(line.at, Fact::Alive, None);
        }
        self.latest = self.latest.max(line.at);
        let is_link = matches!(
            line.body,
            BatchBody::ConnectionLost | BatchBody::ConnectionMade
        );
        if !(self.is_down && is_link) {
            self.watermark = self.watermark.max(line.at);
        }
        self.has_ended = false;
        // The end of a gap is rounded up, and the time of a record is rounded down.
        let at = if line.at + 1 == self.gap_end {
            self.gap_end
        } else {
            line.at
        };
        match &line.body {
            BatchBody::Other | BatchBody::ConnectionMade => {}
            BatchBody::Observed {
                user,
                online,
                visited,
                happened,
            } => {
                self.reconnected_without_gap(at);
                let Some(index) = register.register(batch.str(&user.id)) else {
                    return;
                };
                if *visited && !self.follows(index) {
                    return;
                }
                let texts =
                    self.changed_texts(index, batch, user.name.as_ref(), user.status.as_ref());
                let is_answer = happened.is_none() && !visited;
                let at = self.after_answer(index, at, is_answer);
                let fact = Fact::Observed {
                    user: index,
                    online: *online,
                    happened: *happened,
                };
                self.push(at, fact, texts);
            }
            BatchBody::Gone(id) => {
                if let Some(user) = register.register(batch.str(id))
                    && self.follows(user)
                {
                    self.push(at, Fact::Gone { user }, None);
                    self.user(user).texts = 0;
                }
            }
            BatchBody::ConnectionLost => {
                if !self.is_down {
                    self.push(at, Fact::GapStarted, None);
                }
                self.is_down = true;
            }
            BatchBody::ConnectionRecovered => self.end_loss(at),
            BatchBody::Gap(gap) => {
                let (from, to, repaired) = &**gap;
                let repaired = repaired.iter().map(|id| batch.str(id));
                let repaired = indices(repaired, register);
                self.gap_end = (*to).max(*from);
                self.push(*from, Fact::GapStarted, None);
                self.end_loss(self.gap_end);
                self.push(self.gap_end, Fact::GapEnded { repaired }, None);
            }
            BatchBody::Coverage(missing) => {
                let missing = missing.iter().map(|id| batch.str(id));
                let users = indices(missing, register);
                self.push(at, Fact::Missing { users }, None);
            }
            BatchBody::End => self.end(),
        }
    }

    /// Whether a line starts another run of the watcher: its number is not higher than the last one, and it does not
    /// continue another watcher's lines in this input.
    fn is_restart(&mut self, line: &BatchLine) -> bool {
        let Some(seq) = line.seq else {
            return false;
        };
        if let Some(last) = self.runs.last_mut().filter(|last| is_next(**last, seq)) {
            *last = seq;
            return false;
        }
        if let Some(run) = self.runs.iter().rposition(|last| is_next(*last, seq)) {
            self.runs.remove(run);
            self.runs.push(seq);
            return false;
        }
        match self.runs.last_mut() {
            Some(last) if *last < seq => {
                *last = seq;
                false
            }
            // These lines are out of order.
            Some(_) if line.at <= self.latest => false,
            last => {
                let restarted = last.is_some();
                if self.runs.len() == INTERLEAVED_RUNS_MAX {
                    self.runs.remove(0);
                }
                self.runs.push(seq);
                restarted
            }
        }
    }

    /// Records that observation ends with the latest line.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.push(self.latest, Fact::Ended, None);
            self.end_loss(self.latest);
        }
    }

    fn exhaust(&mut self) {
        self.end();
        self.is_exhausted = true;
    }

    /// Handles events that arrive although the connection seems to be down, because records of gaps were filtered out.
    /// Events in between may be missing, so all users become unknown.
    fn reconnected_without_gap(&mut self, at: Millis) {
        if self.is_down {
            self.push(at, Fact::Ended, None);
            self.end_loss(at);
        }
    }

    /// Ends the gap that started when the connection was lost, if it is lost.
    fn end_loss(&mut self, at: Millis) {
        if std::mem::take(&mut self.is_down) {
            let repaired = Box::default();
            self.push(at, Fact::GapEnded { repaired }, None);
        }
    }

    /// When the state of a line counts. An event that arrives while a query is under way is written after the answer,
    /// because it is newer, although its `received_at` is earlier.
    fn after_answer(&mut self, user: UserIndex, at: Millis, is_answer: bool) -> Millis {
        let answered_at = &mut self.user(user).answered_at;
        if is_answer {
            *answered_at = at;
        }
        // Lines that are older by more than any query takes are out of order for another reason.
        if (answered_at.saturating_sub(CALL_DURATION_MAX)..*answered_at).contains(&at) {
            return *answered_at;
        }
        at
    }

    /// Adds a fact to the queue, after those with the same time.
    fn push(&mut self, at: Millis, fact: Fact, texts: Option<Box<Texts>>) {
        let mut at = at;
        if at < self.handed_out {
            if matches!(fact, Fact::Observed { .. }) {
                self.problems.late += 1;
                return;
            }
            at = self.handed_out;
        }
        let mut place = self.queue.len();
        while place > 0 && self.queue[place - 1].at > at {
            place -= 1;
        }
        let order = match place.checked_sub(1) {
            Some(before) if self.queue[before].at == at => self.queue[before].order + 1,
            _ => 0,
        };
        let dated = Dated {
            at,
            order,
            fact,
            texts,
        };
        if place == self.queue.len() {
            self.queue.push_back(dated);
        } else {
            self.queue.insert(place, dated);
        }
    }

    /// Whether this recording contains a user's state.
    fn follows(&self, user: UserIndex) -> bool {
        let user = self.users.get(user as usize);
        user.is_some_and(|user| user.texts != 0)
    }

    fn user(&mut self, user: UserIndex) -> &mut RecordedUser {
        let user = user as usize;
        if self.users.len() <= user {
            let new = RecordedUser {
                texts: 0,
                answered_at: Millis::MIN,
            };
            self.users.resize(user + 1, new);
        }
        &mut self.users[user]
    }

    /// A user's texts, if they changed in this recording.
    fn changed_texts(
        &mut self,
        user: UserIndex,
        batch: &Batch,
        name: Option<&std::ops::Range<u32>>,
        status: Option<&std::ops::Range<u32>>,
    ) -> Option<Box<Texts>> {
        if !self.keep_texts {
            self.user(user).texts = 1;
            return None;
        }
        let name = name.map(|name| batch.str(name));
        let status = status.map(|status| batch.str(status));
        let fingerprint = foldhash::quality::FixedState::default();
        let fingerprint = std::hash::BuildHasher::hash_one(&fingerprint, (name, status)) | 1;
        if std::mem::replace(&mut self.user(user).texts, fingerprint) == fingerprint {
            return None;
        }
        Some(Box::new(Texts {
            name: name.map(Into::into),
            status: status.map(Into::into),
        }))
    }
}

fn indices<'a>(
    ids: impl Iterator<Item = &'a str>,
    register: &mut impl Register,
) -> Box<[UserIndex]> {
    let mut users: Vec<UserIndex> = ids.filter_map(|id| register.register(id)).collect();
    users.sort_unstable();
    users.dedup();
    users.into()
}

/// The time of the first record of a file, read without starting to parse all of it.
pub(super) fn first_time(source: &InputSource) -> anyhow::Result<Option<Millis>> {
    let mut blocks = source.open()?;
    let mut reader = super::line::LineReader::new(false);
    let mut block = Vec::new();
    let unreadable = || format!("cannot read {}", source.name());
    while blocks.next(&mut block).with_context(unreadable)? {
        let mut lines = block.split(|byte| *byte == b'\n');
        let first = lines.find_map(|line| reader.read(std::str::from_utf8(line).ok()?));
        if let Some(line) = first {
            return Ok(Some(line.at));
        }
    }
    Ok(None)
}

/// Whether a record's number follows another one.
fn is_next(last: u64, seq: u64) -> bool {
    last.checked_add(1) == Some(seq)
}
