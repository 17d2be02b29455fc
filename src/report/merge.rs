//! Merges several recordings: their facts in order of time, turned into intervals.
//!
//! Facts with the same time are ordered by their content, so the order of the files does not matter. A file is opened
//! when its first fact is due, so a month of daily files needs no more memory than a day.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::thread;

use super::input::InputSource;
use super::intervals::{Analysis, Timelines, UserIndex};
use super::recording::{Dated, REORDER_WINDOW, Recording, Register, first_time};
use crate::domain::IdSet;
use crate::domain::time::Millis;

/// How many threads parse the first input. The more inputs are open, the fewer threads parse the next one, because each
/// of them needs memory for two blocks.
const THREADS_MAX: usize = 8;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct ReportRequest {
    /// The inputs.
    pub inputs: Vec<InputSource>,
    /// The start of the window, if later than the first record.
    pub from: Option<Millis>,
    /// The end of the window, if earlier than the last record.
    pub to: Option<Millis>,
    /// The requested users; `None` for all.
    pub users: Option<Vec<String>>,
    /// Whether names and status texts are needed.
    pub texts: bool,
}

/// What was read: the window, the users, and problems of the inputs.
#[derive(Debug)]
pub struct Reading {
    /// The window; `None` if no record lies in it.
    pub window: Option<(Millis, Millis)>,
    /// All users of the report.
    pub timelines: Timelines,
    /// How many lines were not records.
    pub foreign_lines: u64,
    /// How many observations arrived too late to be used.
    pub late_lines: u64,
    /// Files that `mock record` wrote.
    pub traffic_recordings: Vec<String>,
    /// Files whose compressed data is incomplete.
    pub truncated: Vec<String>,
}

/// Reads all inputs and passes the intervals of every user to an analysis.
///
/// # Errors
///
/// An input cannot be read, or the analysis fails.
pub fn analyse<A: Analysis>(request: &ReportRequest, analysis: &mut A) -> anyhow::Result<Reading> {
    let mut merge = Merge::new(request)?;
    let first = merge.pending.iter().map(|(at, ..)| *at).min();
    let first = first.into_iter().chain(merge.first_of_open()?).min();
    let from = match (first, request.from) {
        (Some(first), Some(from)) => first.max(from),
        (Some(first), None) => first,
        (None, _) => return Ok(merge.reading(None)),
    };
    merge.users.timelines.begin(from);
    analysis.begin(from);
    let mut passed_end = false;
    while let Some((input, dated)) = merge.next()? {
        if request.to.is_some_and(|to| dated.at > to) {
            passed_end = true;
            break;
        }
        let timelines = &mut merge.users.timelines;
        cut_until(dated.at, timelines, analysis)?;
        let texts = dated.texts.map(|texts| *texts);
        timelines.take(dated.at, input, &dated.fact, texts, analysis);
    }
    let to = match request.to {
        Some(to) if passed_end => to,
        to => merge.latest.unwrap_or(from).min(to.unwrap_or(Millis::MAX)),
    };
    if to < from {
        return Ok(merge.reading(None));
    }
    let timelines = &mut merge.users.timelines;
    cut_until(to - 1, timelines, analysis)?;
    timelines.finish(to, analysis);
    Ok(merge.reading(Some((from, to))))
}

/// Makes all cuts that are due.
fn cut_until<A: Analysis>(
    at: Millis,
    timelines: &mut Timelines,
    analysis: &mut A,
) -> anyhow::Result<()> {
    while analysis.next_cut().is_some_and(|cut| cut <= at) {
        timelines.report_count(analysis);
        analysis.cut(timelines)?;
    }
    Ok(())
}

struct Merge {
    users: Users,
    /// Files not yet opened, the first one to be opened at the end: when they start, and their number.
    pending: Vec<(Millis, u16, InputSource)>,
    open: Vec<(u16, Recording)>,
    /// Which of the open recordings comes next, and up to when it surely does.
    current: Option<(usize, Millis)>,
    latest: Option<Millis>,
    cores: usize,
    texts: bool,
    foreign_lines: u64,
    late_lines: u64,
    traffic_recordings: Vec<String>,
    truncated: Vec<String>,
}

impl Merge {
    fn new(request: &ReportRequest) -> anyhow::Result<Self> {
        let mut merge = Self {
            users: Users::new(request.inputs.len(), request.users.as_deref()),
            pending: Vec::new(),
            open: Vec::new(),
            current: None,
            latest: None,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            texts: request.texts,
            foreign_lines: 0,
            late_lines: 0,
            traffic_recordings: Vec::new(),
            truncated: Vec::new(),
        };
        for (number, input) in (0..).zip(&request.inputs) {
            let is_plain_file = match input {
                InputSource::File(path) => std::fs::metadata(path).is_ok_and(|data| data.is_file()),
                InputSource::Stdin => false,
            };
            if !is_plain_file {
                merge.start(number, input)?;
                continue;
            }
            match first_time(input)? {
                Some(first) => merge.pending.push((first, number, input.clone())),
                // Lines that are not records are counted there.
                None => merge.start(number, input)?,
            }
        }
        merge
            .pending
            .sort_by_key(|(first, ..)| std::cmp::Reverse(*first));
        Ok(merge)
    }

    fn start(&mut self, number: u16, input: &InputSource) -> anyhow::Result<()> {
        let threads = self.cores.min(THREADS_MAX / (self.open.len() + 1)).max(1);
        let recording = Recording::open(input, threads, self.texts)?;
        self.open.push((number, recording));
        Ok(())
    }

    fn first_of_open(&mut self) -> anyhow::Result<Option<Millis>> {
        let mut first = None;
        for (_, recording) in &mut self.open {
            let at = recording.peek(&mut self.users)?.map(|dated| dated.at);
            first = first.into_iter().chain(at).min();
        }
        Ok(first)
    }

    /// The next fact of all recordings, and which one it comes from.
    fn next(&mut self) -> anyhow::Result<Option<(u16, Dated)>> {
        if let Some((place, until)) = self.current {
            let (number, recording) = &mut self.open[place];
            let next = recording.peek(&mut self.users)?;
            if next.is_some_and(|dated| dated.at < until) {
                let number = *number;
                return Ok(recording.next().map(|dated| (number, dated)));
            }
        }
        self.choose()?;
        Ok(self.current.and_then(|(place, _)| {
            let (number, recording) = &mut self.open[place];
            recording.next().map(|dated| (*number, dated))
        }))
    }

    /// Finds the recording with the next fact, opens files that are due, and drops recordings that are over.
    fn choose(&mut self) -> anyhow::Result<()> {
        let mut place = 0;
        let mut best: Option<usize> = None;
        let mut others = Millis::MAX;
        loop {
            while place < self.open.len() {
                if self.open[place].1.peek(&mut self.users)?.is_none() {
                    let (_, recording) = self.open.remove(place);
                    self.close(&recording);
                    // Indexes have changed, so the search starts again. This happens once per recording.
                    (place, best, others) = (0, None, Millis::MAX);
                    continue;
                }
                let at = self.head(place).map_or(Millis::MAX, |head| head.at);
                let is_first = best.is_none_or(|best| self.comes_before(place, best));
                if is_first {
                    if let Some(head) = best.and_then(|best| self.head(best)) {
                        others = others.min(head.at);
                    }
                    best = Some(place);
                } else {
                    others = others.min(at);
                }
                place += 1;
            }
            let first = best.and_then(|best| self.head(best)).map(|head| head.at);
            match self.pending.last() {
                Some((due, ..)) if first.is_none_or(|first| first >= due - REORDER_WINDOW) => {
                    if let Some((_, number, input)) = self.pending.pop() {
                        self.start(number, &input)?;
                    }
                }
                Some((due, ..)) => {
                    others = others.min(due - REORDER_WINDOW);
                    break;
                }
                None => break,
            }
        }
        self.current = best.map(|best| (best, others));
        Ok(())
    }

    fn head(&self, place: usize) -> Option<&Dated> {
        self.open[place].1.head()
    }

    fn comes_before(&self, one: usize, other: usize) -> bool {
        match (self.head(one), self.head(other)) {
            (Some(one), Some(other)) => {
                (one.at, one.order, &one.fact, &one.texts)
                    < (other.at, other.order, &other.fact, &other.texts)
            }
            (one, _) => one.is_some(),
        }
    }

    fn close(&mut self, recording: &Recording) {
        self.latest = self.latest.max(recording.latest());
        self.foreign_lines += recording.problems.foreign;
        self.late_lines += recording.problems.late;
        if recording.problems.is_traffic_recording {
            self.traffic_recordings.push(recording.name().to_owned());
        }
        if recording.problems.truncated {
            self.truncated.push(recording.name().to_owned());
        }
    }

    fn reading(mut self, window: Option<(Millis, Millis)>) -> Reading {
        for (_, recording) in std::mem::take(&mut self.open) {
            self.close(&recording);
        }
        Reading {
            window,
            timelines: self.users.timelines,
            foreign_lines: self.foreign_lines,
            late_lines: self.late_lines,
            traffic_recordings: self.traffic_recordings,
            truncated: self.truncated,
        }
    }
}

/// All users of all inputs, by id.
struct Users {
    timelines: Timelines,
    /// Their ids; a user has the same number here and there.
    ids: IdSet,
    /// Whether only requested users are in the report.
    is_closed: bool,
}

impl Users {
    fn new(inputs: usize, wanted: Option<&[String]>) -> Self {
        let mut users = Self {
            timelines: Timelines::new(inputs),
            ids: IdSet::default(),
            is_closed: wanted.is_some(),
        };
        for id in wanted.into_iter().flatten().collect::<BTreeSet<_>>() {
            users.ids.insert(id);
            users.timelines.add(id, true);
        }
        users
    }
}

impl Register for Users {
    fn register(&mut self, id: &str) -> Option<UserIndex> {
        let number = if self.is_closed {
            self.ids.number(id)?
        } else {
            let (number, is_new) = self.ids.insert(id);
            if is_new {
                self.timelines.add(id, false);
            }
            number
        };
        UserIndex::try_from(number).ok()
    }
}
