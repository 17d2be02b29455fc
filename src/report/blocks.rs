//! Draws the picture of presence for a terminal: a line of block characters per user, under a time axis.

use super::picture::{Picture, Share};
use crate::domain::time::Millis;
use crate::escape;

/// The block characters of a cell, by eighths.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The character for unknown time.
const UNKNOWN: char = '░';
/// The character for offline time.
const OFFLINE: char = '·';
/// The maximal width of a user's name, in cells.
const LABEL_MAX: usize = 24;
/// The minimal number of cells of a row, in a narrow terminal.
const CELLS_MIN: usize = 10;
/// The width of the label of a tick, in cells.
const TICK_CELLS: usize = 9;

/// The size and colour of a picture on the terminal.
#[derive(Debug, Clone, Copy)]
pub struct TerminalLook {
    /// The width of a line in cells.
    pub width: usize,
    /// Whether colour may be used.
    pub colour: bool,
}

/// A styled run of characters.
struct Styled {
    out: String,
    colour: bool,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Good,
    Faint,
}

impl Styled {
    const fn new(colour: bool) -> Self {
        Self {
            out: String::new(),
            colour,
            style: Style::Plain,
        }
    }

    fn push(&mut self, style: Style, character: char) {
        if self.colour && style != self.style {
            self.out.push_str(match style {
                Style::Plain => "\u{1b}[0m",
                Style::Good => "\u{1b}[0;32m",
                Style::Faint => "\u{1b}[0;2m",
            });
            self.style = style;
        }
        self.out.push(character);
    }

    fn end_line(&mut self) {
        if self.style != Style::Plain {
            self.out.push_str("\u{1b}[0m");
            self.style = Style::Plain;
        }
        self.out.push('\n');
    }
}

/// Draws the picture.
pub fn draw(picture: &Picture<'_>, look: TerminalLook) -> String {
    let labels: Vec<String> = picture
        .rows
        .iter()
        .map(|row| escape::truncate(&escape::escape(&row.label), LABEL_MAX).into_owned())
        .collect();
    let label_width = labels
        .iter()
        .map(|label| escape::width(label))
        .max()
        .unwrap_or(0)
        .clamp("online".len(), (look.width / 3).max("online".len()));
    let cells = look.width.saturating_sub(label_width + 1).max(CELLS_MIN);
    let indent = " ".repeat(label_width + 1);
    let mut styled = Styled::new(look.colour);
    styled.out.push_str(&axis(picture, cells, &indent));
    let mut online = vec![0; cells];
    let mut known = vec![false; cells];
    for (row, label) in picture.rows.iter().zip(&labels) {
        let label = escape::truncate(label, label_width);
        styled.out.push_str(&label);
        styled.out.extend(std::iter::repeat_n(
            ' ',
            label_width + 1 - escape::width(&label),
        ));
        let shares = picture.shares(row, cells);
        for share in &shares {
            let (style, character) = block(*share);
            styled.push(style, character);
        }
        styled.end_line();
        for ((share, online), known) in shares.iter().zip(&mut online).zip(&mut known) {
            *online += share.online;
            *known |= share.unknown < share.length;
        }
    }
    draw_online(picture, &online, &known, label_width, &mut styled);
    styled.out
}

/// Shares of a whole as a bar: online, offline, unknown.
pub fn bar(online: Millis, offline: Millis, unknown: Millis, cells: usize) -> String {
    let whole = (online + offline + unknown).max(1);
    let part = |part: Millis| {
        let cells = (part as f64 / whole as f64 * cells as f64).round();
        // A share above zero is always visible.
        (cells as usize).max(usize::from(part > 0))
    };
    let online = part(online).min(cells);
    let unknown = part(unknown).min(cells - online);
    let offline = cells - online - unknown;
    let repeat = |character: char, times: usize| character.to_string().repeat(times);
    repeat('█', online) + &repeat(OFFLINE, offline) + &repeat(UNKNOWN, unknown)
}

/// The character of a cell. A cell that is mostly unknown is shown as unknown. A cell that is online for a moment is
/// not shown as offline.
fn block(share: Share) -> (Style, char) {
    let observed = share.length - share.unknown;
    if share.unknown * 2 > share.length || observed <= 0 && share.unknown > 0 {
        return (Style::Faint, UNKNOWN);
    }
    if share.online <= 0 {
        return (Style::Faint, OFFLINE);
    }
    (Style::Good, LEVELS[level(share.online, observed.max(1))])
}

fn level(part: Millis, whole: Millis) -> usize {
    let level = (part * 8 + whole / 2) / whole;
    usize::try_from(level).unwrap_or(0).clamp(1, 8) - 1
}

/// The number of users online in each cell, on average. The highest bar is full.
fn draw_online(
    picture: &Picture<'_>,
    online: &[Millis],
    known: &[bool],
    label_width: usize,
    styled: &mut Styled,
) {
    let cells = online.len();
    let length = |cell: usize| (picture.edge(cell + 1, cells) - picture.edge(cell, cells)).max(1);
    // In hundredths of a user.
    let mean = |cell: usize| online[cell] * 100 / length(cell);
    let highest = (0..cells).map(mean).max().unwrap_or(0);
    styled.out.push_str("online");
    styled
        .out
        .extend(std::iter::repeat_n(' ', label_width + 1 - "online".len()));
    for (cell, known) in known.iter().enumerate() {
        match mean(cell) {
            _ if !known => styled.push(Style::Faint, UNKNOWN),
            0 => styled.push(Style::Faint, OFFLINE),
            mean => styled.push(Style::Plain, LEVELS[level(mean, highest)]),
        }
    }
    styled.end_line();
    let peak = peak_online(picture);
    let total: Millis = online.iter().sum();
    let length = (picture.to - picture.from).max(1);
    let mean = (total * 10 + length / 2) / length;
    let indent = " ".repeat(label_width + 1);
    let (users, zone) = (picture.rows.len(), &picture.zone);
    let summary = format!(
        "{indent}{peak} of {users} users online at most, {}.{} on average; {UNKNOWN} not observed; times in {zone}\n",
        mean / 10,
        mean % 10,
    );
    styled.out.push_str(&summary);
}

/// The most users online at once.
pub(super) fn peak_online(picture: &Picture<'_>) -> usize {
    let mut changes: Vec<(Millis, bool)> = Vec::new();
    for span in picture.rows.iter().flat_map(|row| row.spans) {
        if span.is_session() && span.to > span.from {
            changes.push((span.from, true));
            changes.push((span.to, false));
        }
    }
    changes.sort_unstable();
    let (mut now, mut peak) = (0_usize, 0);
    for (_, starts) in changes {
        now = if starts { now + 1 } else { now - 1 };
        peak = peak.max(now);
    }
    peak
}

/// Two lines: the labels of round times, and a mark below each.
fn axis(picture: &Picture<'_>, cells: usize, indent: &str) -> String {
    let room = cells / TICK_CELLS;
    let ticks = picture.zone.ticks(picture.from, picture.to, room.max(1));
    let (mut labels, mut marks) = (String::new(), vec!['─'; cells]);
    for at in &ticks.at {
        let cell = picture.cell(*at, cells);
        let label = picture.zone.tick_label(*at, ticks.step);
        let used = escape::width(&labels);
        marks[cell] = '┴';
        if (used == 0 || used < cell) && cell + label.len() <= cells {
            labels.extend(std::iter::repeat_n(' ', cell - used.min(cell)));
            labels.push_str(&label);
        }
    }
    let marks: String = marks.into_iter().collect();
    format!("{indent}{labels}\n{indent}{marks}\n")
}
