//! The data of a picture of presence: for each user a row of spans in which they were online or unknown.
//!
//! A picture needs all intervals at once. If there are more than a picture can show, neighbouring spans are merged. So
//! a picture of a year needs no more memory than one of a day.

use super::intervals::{Analysis, Edge, Interval, PresenceState, UserIndex, UserInfo};
use super::names::Names;
use super::uptime::by_id;
use super::zone::Zone;
use crate::domain::time::Millis;

/// How many spans are stored separately.
const SPANS_MAX: usize = 400_000;
/// The length below which spans are merged first, once there are too many.
const FIRST_RESOLUTION: Millis = 1000;

/// A span of a row. Time between spans is offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Millis,
    pub(super) to: Millis,
    /// How much of it the user was online: all of it, unless several spans were merged.
    pub(super) online: Millis,
    /// How much of it is unknown.
    pub(super) unknown: Millis,
    pub(super) start: Edge,
    pub(super) end: Edge,
    /// The user's status at its end.
    pub(super) status: Option<Box<str>>,
}

impl Span {
    /// Whether it is one session.
    pub(super) const fn is_session(&self) -> bool {
        self.online == self.to - self.from && self.unknown == 0
    }

    /// Whether all of it is unknown.
    pub(super) const fn is_unknown(&self) -> bool {
        self.unknown == self.to - self.from && self.online == 0
    }
}

/// Collects the data of a picture.
#[derive(Debug)]
pub struct PictureData {
    names: Names,
    rows: Vec<Vec<Span>>,
    count: usize,
    resolution: Millis,
}

impl PictureData {
    /// Starts with an empty picture.
    pub const fn new(names: Names) -> Self {
        Self {
            names,
            rows: Vec::new(),
            count: 0,
            resolution: 0,
        }
    }

    /// The picture of a window.
    pub fn picture(
        &self,
        people: &[UserInfo],
        window: (Millis, Millis),
        zone: Zone,
    ) -> Picture<'_> {
        let row = |user: UserIndex| {
            let user_info = &people[user as usize];
            PictureRow {
                id: self.names.id(user_info),
                label: self.names.label(user_info),
                spans: self.rows.get(user as usize).map_or(&[], Vec::as_slice),
            }
        };
        Picture {
            from: window.0,
            to: window.1,
            zone,
            rows: by_id(people).into_iter().map(row).collect(),
        }
    }

    /// Merges spans that are shorter than twice the previous limit.
    fn coarsen(&mut self) {
        while self.count > SPANS_MAX {
            self.resolution = (self.resolution * 2).max(FIRST_RESOLUTION);
            self.count = 0;
            for row in &mut self.rows {
                let mut kept: Vec<Span> = Vec::with_capacity(row.len() / 2);
                for span in row.drain(..) {
                    match kept.last_mut() {
                        Some(last) if span.to - last.from <= self.resolution => {
                            last.to = span.to;
                            last.online += span.online;
                            last.unknown += span.unknown;
                            last.end = span.end;
                            last.status = None;
                        }
                        _ => kept.push(span),
                    }
                }
                self.count += kept.len();
                *row = kept;
            }
        }
    }
}

impl Analysis for PictureData {
    fn interval(&mut self, user: UserIndex, user_info: &UserInfo, interval: &Interval, _: Millis) {
        let length = interval.length();
        let (online, unknown, status) = match interval.state {
            PresenceState::Online if interval.is_session() => {
                (length, 0, self.names.status(user_info))
            }
            PresenceState::Unknown => (0, length, None),
            PresenceState::Online | PresenceState::Offline => return,
        };
        let user = user as usize;
        if self.rows.len() <= user {
            self.rows.resize_with(user + 1, Vec::new);
        }
        self.rows[user].push(Span {
            from: interval.from,
            to: interval.to,
            online,
            unknown,
            start: interval.start,
            end: interval.end,
            status: status.map(Into::into),
        });
        self.count += 1;
        if self.count > SPANS_MAX {
            self.coarsen();
        }
    }
}

/// A picture, ready to be rendered.
#[derive(Debug)]
pub struct Picture<'a> {
    pub(super) from: Millis,
    pub(super) to: Millis,
    pub(super) zone: Zone,
    pub(super) rows: Vec<PictureRow<'a>>,
}

/// A user's row.
#[derive(Debug)]
pub(super) struct PictureRow<'a> {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) spans: &'a [Span],
}

/// A cell of a row: how much of it the user was online, and how much is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) length: Millis,
    pub(super) online: Millis,
    pub(super) unknown: Millis,
}

impl Picture<'_> {
    /// The start of a cell, one of `cells` equal ones.
    pub(super) fn edge(&self, cell: usize, cells: usize) -> Millis {
        let (cell, cells) = (cell as i128, cells.max(1) as i128);
        let length = i128::from(self.to - self.from);
        self.from + Millis::try_from(length * cell / cells).unwrap_or(0)
    }

    /// The cell of a time.
    pub(super) fn cell(&self, at: Millis, cells: usize) -> usize {
        let length = i128::from((self.to - self.from).max(1));
        let cell = i128::from(at - self.from) * cells as i128 / length;
        usize::try_from(cell)
            .unwrap_or(0)
            .min(cells.saturating_sub(1))
    }

    /// A row divided into equal cells.
    pub(super) fn shares(&self, row: &PictureRow<'_>, cells: usize) -> Vec<Share> {
        let mut shares: Vec<Share> = (0..cells)
            .map(|cell| Share {
                length: self.edge(cell + 1, cells) - self.edge(cell, cells),
                ..Share::default()
            })
            .collect();
        for span in row.spans {
            let last = self.cell((span.to - 1).max(span.from), cells);
            for (cell, share) in shares
                .iter_mut()
                .enumerate()
                .take(last + 1)
                .skip(self.cell(span.from, cells))
            {
                let from = span.from.max(self.edge(cell, cells));
                let part = (span.to.min(self.edge(cell + 1, cells)) - from).max(0);
                if span.is_session() {
                    // A session shorter than a millisecond is visible, too.
                    share.online += part.max(1);
                } else {
                    let of = |whole: Millis| {
                        let part = i128::from(whole) * i128::from(part)
                            / i128::from((span.to - span.from).max(1));
                        Millis::try_from(part).unwrap_or(0)
                    };
                    share.online += of(span.online);
                    share.unknown += of(span.unknown);
                }
            }
        }
        shares
    }
}
