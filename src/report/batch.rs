//! Parses the lines of an input on several threads and returns them in order.
//!
//! Parsing is most of the work, and lines can be parsed in any order. Threads take turns reading blocks, and parse
//! their block while another thread reads the next one. The consumer gets the blocks in their original order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::input::Blocks;
use super::line::{LineBody, LineReader, RecordedLine, UserText, starts_traffic_recording};
use crate::domain::time::Millis;

/// The parsed lines of one block.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    pub(super) lines: Vec<BatchLine>,
    /// How many lines were not records.
    pub(super) foreign: u64,
    /// Whether they are those of a recording of requests.
    pub(super) is_traffic_recording: bool,
    /// Whether the compressed data is incomplete.
    pub(super) truncated: bool,
}

/// A range of bytes in a batch's text.
type TextRange = Range<u32>;

/// A parsed line. Its strings are ranges of the batch's text.
#[derive(Debug)]
pub(super) struct BatchLine {
    pub(super) at: Millis,
    pub(super) seq: Option<u64>,
    pub(super) body: BatchBody,
}

/// The content of a line; compare [`LineBody`].
#[derive(Debug)]
pub(super) enum BatchBody {
    Other,
    Observed {
        user: UserSpan,
        online: bool,
        /// A user who only visits the channel may not be subscribed.
        visited: bool,
        happened: Option<Millis>,
    },
    Gone(TextRange),
    ConnectionLost,
    ConnectionMade,
    ConnectionRecovered,
    Gap(Box<(Millis, Millis, Vec<TextRange>)>),
    Coverage(Box<[TextRange]>),
    End,
}

/// The texts of a user.
#[derive(Debug)]
pub(super) struct UserSpan {
    pub(super) id: TextRange,
    pub(super) name: Option<TextRange>,
    pub(super) status: Option<TextRange>,
}

impl Batch {
    /// A string of this batch.
    pub(super) fn str(&self, span: &TextRange) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn parse(&mut self, reader: &mut LineReader, block: &[u8]) {
        // A block is validated as a whole. Only if it is not UTF-8, its lines are checked one by one.
        match std::str::from_utf8(block) {
            Ok(block) => {
                for line in memchr_lines(block) {
                    self.push(reader, line.as_bytes(), Some(line));
                }
            }
            Err(_) => {
                for line in block.split(|byte| *byte == b'\n') {
                    self.push(reader, line, std::str::from_utf8(line).ok());
                }
            }
        }
    }

    fn push(&mut self, reader: &mut LineReader, line: &[u8], text: Option<&str>) {
        if let Some(record) = text.and_then(|text| reader.read(text)) {
            self.keep(record);
        } else if !line.trim_ascii().is_empty() {
            self.foreign += 1;
            self.is_traffic_recording |= starts_traffic_recording(line);
        }
    }

    fn keep(&mut self, line: RecordedLine<'_>) {
        let mut keep = |text: Cow<'_, str>| {
            let start = self.text.len();
            self.text.push_str(&text);
            // A block is far shorter than 4 GiB, and so are its strings.
            u32::try_from(start).unwrap_or(u32::MAX)
                ..u32::try_from(self.text.len()).unwrap_or(u32::MAX)
        };
        let mut user = |user: UserText<'_>| UserSpan {
            id: keep(user.id),
            name: user.name.map(&mut keep),
            status: user.status.map(&mut keep),
        };
        let body = match line.body {
            LineBody::Other => BatchBody::Other,
            LineBody::Observed {
                user: of,
                online,
                happened,
            } => BatchBody::Observed {
                user: user(of),
                online,
                visited: false,
                happened,
            },
            LineBody::Visited { user: of, online } => BatchBody::Observed {
                user: user(of),
                online,
                visited: true,
                happened: None,
            },
            LineBody::Gone { id } => BatchBody::Gone(keep(id)),
            LineBody::ConnectionLost => BatchBody::ConnectionLost,
            LineBody::ConnectionMade => BatchBody::ConnectionMade,
            LineBody::ConnectionRecovered => BatchBody::ConnectionRecovered,
            LineBody::Gap { from, to, repaired } => {
                let repaired = repaired.into_iter().map(keep).collect();
                BatchBody::Gap(Box::new((from, to, repaired)))
            }
            LineBody::Coverage { missing } => {
                BatchBody::Coverage(missing.into_iter().map(keep).collect())
            }
            LineBody::End => BatchBody::End,
        };
        self.lines.push(BatchLine {
            at: line.at,
            seq: line.seq,
            body,
        });
    }
}

fn memchr_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', text.as_bytes())
        .chain([text.len()])
        .map(move |end| {
            let line = &text[start.min(end)..end];
            start = end + 1;
            line
        })
}

/// The batches of an input, in order.
#[derive(Debug)]
pub(super) struct Batches {
    receiver: Receiver<(u64, io::Result<Batch>)>,
    next: u64,
    early: BTreeMap<u64, io::Result<Batch>>,
}

/// The block's position in the input, and the reader.
struct Turn {
    blocks: Blocks,
    next: u64,
    ended: bool,
}

impl Batches {
    /// Starts threads that parse an input. `texts` says whether names and status texts are needed.
    pub(super) fn start(blocks: Blocks, threads: usize, texts: bool) -> Self {
        let (sender, receiver) = sync_channel(threads);
        let turn = Arc::new(Mutex::new(Turn {
            blocks,
            next: 0,
            ended: false,
        }));
        for _ in 0..threads {
            let (turn, sender) = (Arc::clone(&turn), sender.clone());
            thread::spawn(move || parse_blocks(&turn, &sender, texts));
        }
        Self {
            receiver,
            next: 0,
            early: BTreeMap::new(),
        }
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.early.remove(&self.next) {
                self.next += 1;
                return batch.map(Some);
            }
            match self.receiver.recv() {
                Ok((number, batch)) => {
                    self.early.insert(number, batch);
                }
                Err(_) if self.early.is_empty() => return Ok(None),
                // A part of the file would be missing in the report.
                Err(_) => return Err(io::Error::other("a thread that parses lines has ended")),
            }
        }
    }
}

fn parse_blocks(turn: &Mutex<Turn>, sender: &SyncSender<(u64, io::Result<Batch>)>, texts: bool) {
    let (mut block, mut reader) = (Vec::new(), LineReader::new(texts));
    loop {
        let (number, read, truncated) = {
            let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.ended {
                return;
            }
            let read = turn.blocks.next(&mut block);
            turn.ended = !matches!(read, Ok(true));
            turn.next += 1;
            (turn.next - 1, read, turn.blocks.is_truncated())
        };
        let ended = !matches!(read, Ok(true));
        let batch = read.map(|_| {
            let mut batch = Batch {
                truncated,
                ..Batch::default()
            };
            batch.lines.reserve(block.len() / 256);
            batch.parse(&mut reader, &block);
            batch
        });
        // The receiver is gone once the end of the window is reached.
        if sender.send((number, batch)).is_err() || ended {
            return;
        }
    }
}
