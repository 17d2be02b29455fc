//! A recorded stream, played on a clock of its own.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio::time::Instant;

use crate::domain::event::Event;
use crate::domain::record::{EndReason, Record, RecordBody, RecordSource, StreamEnd};
use crate::exit::{Code, Failure};
use crate::report;
use crate::report::input::{Blocks, InputSource};

/// A recording that is being played.
#[derive(Debug)]
pub struct Replay {
    lines: Lines,
    /// The next line, if it is read already, and when it was received.
    next: Option<(String, DateTime<Utc>)>,
    clock: ReplayClock,
    /// The number of the latest record.
    seq: u64,
    has_ended: bool,
}

/// The time in a recording, which passes `speed` times as fast.
#[derive(Debug, Clone, Copy)]
struct ReplayClock {
    speed: f64,
    /// The time in the recording at `since`.
    base: DateTime<Utc>,
    since: Instant,
    is_paused: bool,
}

/// What every record has.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    received_at: DateTime<Utc>,
    #[serde(default)]
    seq: u64,
    #[serde(default, borrow)]
    source: Cow<'a, str>,
}

impl Replay {
    /// Opens a recording. Its clock starts with its first record.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds no record.
    pub fn open(input: &InputSource, speed: f64, now: Instant) -> anyhow::Result<Self> {
        let mut lines = Lines {
            blocks: input.open()?,
            block: Vec::new(),
            position: 0,
            is_traffic_recording: false,
        };
        let next = lines.next_record()?;
        let Some((_, base)) = &next else {
            return Err(no_record(&input.name(), lines.is_traffic_recording).into());
        };
        let base = *base;
        Ok(Self {
            lines,
            next,
            clock: ReplayClock {
                speed,
                base,
                since: now,
                is_paused: false,
            },
            seq: 0,
            has_ended: false,
        })
    }

    /// How many times as fast as recorded it is played.
    pub fn speed(&self) -> f64 {
        self.clock.speed
    }

    /// Whether all records are played.
    pub fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// The time in the recording.
    pub fn time(&self, now: Instant) -> DateTime<Utc> {
        if self.is_over() {
            self.clock.base
        } else {
            self.clock.time(now)
        }
    }

    /// Stops the clock, or lets it go on.
    pub fn toggle_pause(&mut self, now: Instant) {
        self.clock.base = self.clock.time(now);
        self.clock.since = now;
        self.clock.is_paused = !self.clock.is_paused;
    }

    /// When the next record is due. `None` while paused and at the end.
    pub fn next_due(&self) -> Option<Instant> {
        let (_, at) = self.next.as_ref()?;
        self.clock.instant_of(*at)
    }

    /// Passes the records that are due to `apply`, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// Reading failed.
    pub fn play(
        &mut self,
        now: Instant,
        limit: usize,
        mut apply: impl FnMut(&Record<'_>),
    ) -> anyhow::Result<()> {
        for _ in 0..limit {
            if self.next_due().is_none_or(|due| due > now) {
                break;
            }
            let Some((line, at)) = self.next.take() else {
                break;
            };
            self.next = self.lines.next_record()?;
            let head = head(&line).map_or(0, |head| head.seq);
            if head <= self.seq && !self.has_ended {
                // Another run began without a last record of the one before: it was killed.
                apply(&killed(self.clock.base));
            }
            self.seq = head;
            if let Some(record) = parse(&line) {
                self.has_ended = matches!(record.body, RecordBody::End(_));
                apply(&record);
            }
            let skips_pause = match (&self.next, self.has_ended) {
                // Nothing is known of the time between two runs.
                (Some((_, next)), true) => Some(*next),
                (None, _) => Some(at),
                (Some(_), false) => None,
            };
            if let Some(time) = skips_pause {
                self.clock.base = time;
                self.clock.since = now;
            } else if at > self.clock.time(now) {
                self.clock.base = at;
                self.clock.since = now;
            }
        }
        Ok(())
    }
}

impl ReplayClock {
    fn time(&self, now: Instant) -> DateTime<Utc> {
        if self.is_paused {
            return self.base;
        }
        let passed = now.saturating_duration_since(self.since).as_secs_f64() * self.speed;
        self.base
            .checked_add_signed(TimeDelta::milliseconds((passed * 1000.0) as i64))
            .unwrap_or(self.base)
    }

    fn instant_of(&self, time: DateTime<Utc>) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        let ahead = (time - self.base).num_milliseconds().max(0) as f64 / 1000.0 / self.speed;
        self.since
            .checked_add(Duration::try_from_secs_f64(ahead).ok()?)
    }
}

/// The lines of a recording.
#[derive(Debug)]
struct Lines {
    blocks: Blocks,
    block: Vec<u8>,
    position: usize,
    /// Whether a line was the first of a recording of requests.
    is_traffic_recording: bool,
}

impl Lines {
    /// The next line that is a record, and when it was received.
    fn next_record(&mut self) -> anyhow::Result<Option<(String, DateTime<Utc>)>> {
        loop {
            if self.position >= self.block.len() {
                self.position = 0;
                if !self.blocks.next(&mut self.block)? {
                    self.block.clear();
                    return Ok(None);
                }
            }
            let rest = &self.block[self.position..];
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..length];
            self.position += length + 1;
            self.is_traffic_recording |= report::starts_traffic_recording(line);
            if let Ok(line) = std::str::from_utf8(line)
                && let Some(head) = head(line)
            {
                return Ok(Some((line.to_owned(), head.received_at)));
            }
        }
    }
}

/// The error of a file without a record.
fn no_record(name: &str, is_traffic_recording: bool) -> Failure {
    if is_traffic_recording {
        let message = format!(
            "{name} is a recording of `mock record` (requests and responses), not of `watch --tee`"
        );
        return Failure::new(Code::Usage, message)
            .hinted("name a file that `watch --tee` wrote, or replay these requests: presencectl mock start --replay FILE");
    }
    Failure::new(Code::Usage, format!("{name} holds no record"))
        .hinted("name a file that `watch --tee` wrote")
}

fn head(line: &str) -> Option<Head<'_>> {
    serde_json::from_str(line).ok()
}

/// The last record that a killed run did not write.
fn killed(received_at: DateTime<Utc>) -> Record<'static> {
    Record {
        received_at,
        source: RecordSource::Local,
        body: RecordBody::End(StreamEnd {
            reason: EndReason::Lost,
            events: 0,
            gaps: 0,
            reconnects: 0,
            exit_code: 0,
        }),
    }
}

/// Reads a line of a recording. `None` if it is not a record that says anything.
pub(super) fn parse(line: &str) -> Option<Record<'_>> {
    let head = head(line)?;
    let body = match &*head.kind {
        "connection.changed" => RecordBody::ConnectionChanged(serde_json::from_str(line).ok()?),
        "connection.recovered" => RecordBody::ConnectionRecovered,
        "presence.gap" => RecordBody::Gap(serde_json::from_str(line).ok()?),
        "presence.coverage" => RecordBody::Coverage(serde_json::from_str(line).ok()?),
        "stream.end" => RecordBody::End(serde_json::from_str(line).ok()?),
        // A snapshot has the form of an event.
        _ => RecordBody::Event {
            event: Event::parse(line).ok()?,
            change: None,
        },
    };
    Some(Record {
        received_at: head.received_at,
        source: match &*head.source {
            "ws" => RecordSource::Ws,
            "query" => RecordSource::Query,
            "resync" => RecordSource::Resync,
            _ => RecordSource::Local,
        },
        body,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::super::history::OnlineState;
    use super::super::state::{ConnectionStatus, TopState};
    use super::super::testing::at;
    use super::*;

    fn replay(lines: &[Value], speed: f64, now: Instant) -> anyhow::Result<Replay> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.ndjson");
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        fs::write(
            &path,
            format!("not a record\n{}\n{{\"type\":", lines.join("\n")),
        )
        .unwrap();
        Replay::open(&InputSource::File(path), speed, now)
    }

    fn online(seq: u64, second: i64, online: bool) -> Value {
        json!({"type": "user.presence.changed", "seq": seq, "received_at": at(second), "source": "ws",
               "user": {"id": "amy", "online": online}})
    }

    #[test]
    fn records_are_played_when_they_are_due() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let lines = [
            online(1, 1000, true),
            online(2, 1060, false),
            online(3, 1300, true),
        ];
        let mut replay = replay(&lines, 60.0, start).unwrap();
        let mut state = TopState::default();
        replay
            .play(start, 100, |record| state.apply(record))
            .unwrap();
        assert_eq!(state.users()[0].state, OnlineState::Online);
        assert_eq!(replay.next_due(), Some(after(1)));
        replay
            .play(after(1), 100, |record| state.apply(record))
            .unwrap();
        assert_eq!(state.users()[0].state, OnlineState::Offline);
        assert_eq!(replay.time(after(2)).timestamp(), 1120);
        replay.toggle_pause(after(2));
        assert_eq!(
            (replay.next_due(), replay.time(after(9)).timestamp()),
            (None, 1120)
        );
        replay.toggle_pause(after(9));
        assert_eq!(replay.next_due(), Some(after(12)));
        replay
            .play(after(12), 100, |record| state.apply(record))
            .unwrap();
        assert!(replay.is_over());
        assert_eq!(replay.time(after(99)).timestamp(), 1300);
    }

    #[test]
    fn time_between_two_runs_is_skipped_and_unknown() {
        let start = Instant::now();
        let end = json!({"type": "stream.end", "seq": 2, "received_at": at(10), "source": "local", "reason": "timeout",
                         "events": 1, "gaps": 0, "reconnects": 0, "exit_code": 0});
        let lines = [
            online(1, 0, true),
            end,
            online(1, 9000, true),
            online(1, 9010, false),
        ];
        let mut replay = replay(&lines, 1.0, start).unwrap();
        let mut state = TopState::default();
        let mut states = Vec::new();
        replay
            .play(start + Duration::from_secs(10), 100, |record| {
                state.apply(record);
                states.push((record.body.kind().to_owned(), state.users()[0].state));
            })
            .unwrap();
        let state_after = |kind: &str, state| (kind.to_owned(), state);
        assert_eq!(
            states,
            [
                state_after("user.presence.changed", OnlineState::Online),
                state_after("stream.end", OnlineState::Unknown),
                state_after("user.presence.changed", OnlineState::Online),
            ]
        );
        replay
            .play(start + Duration::from_secs(20), 100, |record| {
                state.apply(record);
            })
            .unwrap();
        let user = &state.users()[0];
        assert_eq!(
            (user.state, user.is_since_exact),
            (OnlineState::Offline, false)
        );
        assert!(!matches!(state.connection, ConnectionStatus::Connected));
    }

    #[test]
    fn a_file_without_records_is_refused() {
        let error = replay(&[], 1.0, Instant::now()).unwrap_err();
        assert!(error.to_string().ends_with("day.ndjson holds no record"));
        let requests = json!({"type": "recording.start", "version": 1});
        let error = replay(&[requests], 1.0, Instant::now()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is a recording of `mock record`")
        );
    }
}
