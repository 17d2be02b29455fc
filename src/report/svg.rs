//! Renders the picture of presence as a static SVG.
//!
//! Colours come from a style sheet, so that the picture follows the reader's preference for light or dark.

use svg::Document;
use svg::node::Text as TextNode;
use svg::node::element::{
    Definitions, Description, Group, Line, Path, Pattern, Rectangle, Style, Text, Title, path,
};

use super::picture::{Picture, PictureRow};
use crate::domain::time::Millis;
use crate::escape;

const WIDTH: usize = 1200;
const ROW_HEIGHT: usize = 22;
const BAR_HEIGHT: usize = 14;
const AXIS_HEIGHT: usize = 34;
const FOOT_HEIGHT: usize = 34;
const LABEL_WIDTH: usize = 180;
const MARGIN: usize = 16;
const LEGEND_ENTRY_WIDTH: usize = 90;
/// How many characters of a name fit beside a row.
const LABEL_CHARACTERS_MAX: usize = 24;
/// The resolution of a row. Positions are rounded to a tenth of a unit, which limits the number of shapes per row.
const STEPS_PER_ROW: usize = (WIDTH - LABEL_WIDTH - 2 * MARGIN) * 10;

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#24292f}\
.faint{fill:#57606a}.page{fill:#fff}.track{fill:#eef1f4}.online{fill:#1a7f37}.unknown{fill:url(#hatch)}\
.grid{stroke:#d0d7de}.hatch{stroke:#7d8590}.hatched{fill:#e6e9ed}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.page{fill:#0d1117}.track{fill:#1c2129}\
.online{fill:#3fb950}.grid{stroke:#30363d}.hatch{stroke:#656c76}.hatched{fill:#262c36}}";

/// Windows shorter than this are titled with seconds, in milliseconds.
const SHORT_WINDOW_MAX: Millis = 3_600_000;

/// Renders the picture.
pub fn draw(picture: &Picture<'_>) -> String {
    let rows_bottom = MARGIN + AXIS_HEIGHT + picture.rows.len() * ROW_HEIGHT;
    let mut document = draw_page(&title(picture), rows_bottom + FOOT_HEIGHT + MARGIN);
    document = draw_axis(document, picture, rows_bottom);
    for (place, row) in picture.rows.iter().enumerate() {
        let top = MARGIN + AXIS_HEIGHT + place * ROW_HEIGHT;
        document = document.add(draw_row(picture, row, top));
    }
    let mut text = draw_legend(document, rows_bottom + 22).to_string();
    text.push('\n');
    text
}

/// Says who and what period the picture shows.
fn title(picture: &Picture<'_>) -> String {
    let format = if picture.to - picture.from < SHORT_WINDOW_MAX {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    let time = |at: Millis| picture.zone.time(at).format(format).to_string();
    format!(
        "Presence of {} users from {} to {}, times in {}",
        picture.rows.len(),
        time(picture.from),
        time(picture.to),
        picture.zone
    )
}

/// The empty page: its size, style and background, and the title, which screen readers read with a description.
fn draw_page(title: &str, height: usize) -> Document {
    let hatch = Pattern::new()
        .set("id", "hatch")
        .set("width", 6)
        .set("height", 6)
        .set("patternUnits", "userSpaceOnUse")
        .set("patternTransform", "rotate(45)")
        .add(rectangle(0.0, 0, 6.0, 6, "hatched"))
        .add(
            Line::new()
                .set("class", "hatch")
                .set("y2", 6)
                .set("stroke-width", 3),
        );
    Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .set("aria-labelledby", "title desc")
        .add(Title::new(title).set("id", "title"))
        .add(Description::new().set("id", "desc").add(TextNode::new(
            "One row per user. Filled: online. Hatched: not observed.",
        )))
        .add(Style::new(STYLE))
        .add(Definitions::new().add(hatch))
        .add(
            Rectangle::new()
                .set("class", "page")
                .set("width", WIDTH)
                .set("height", height),
        )
        .add(label(MARGIN, MARGIN + 12, "start", "faint", title))
}

/// Adds the time axis: a labelled line through all rows at each round time.
fn draw_axis(mut document: Document, picture: &Picture<'_>, rows_bottom: usize) -> Document {
    let ticks = picture.zone.ticks(picture.from, picture.to, 12);
    for at in ticks.at {
        let place = x(picture, at);
        let line = Line::new()
            .set("class", "grid")
            .set("x1", place)
            .set("x2", place)
            .set("y1", MARGIN + AXIS_HEIGHT - 2)
            .set("y2", rows_bottom);
        let text = picture.zone.tick_label(at, ticks.step);
        document = document
            .add(line)
            .add(label_at(place, MARGIN + AXIS_HEIGHT - 6, &text));
    }
    document
}

/// Adds the legend, whose texts stand on this line.
fn draw_legend(mut document: Document, baseline: usize) -> Document {
    for (place, (class, meaning)) in [
        ("online", "online"),
        ("track", "offline"),
        ("unknown", "not observed"),
    ]
    .into_iter()
    .enumerate()
    {
        let x = LABEL_WIDTH + place * LEGEND_ENTRY_WIDTH;
        document = document
            .add(rectangle(x as f64, baseline - 10, 24.0, 12, class))
            .add(label(x + 30, baseline, "start", "faint", meaning));
    }
    document
}

fn draw_row(picture: &Picture<'_>, row: &PictureRow<'_>, top: usize) -> Group {
    let bar = top + (ROW_HEIGHT - BAR_HEIGHT) / 2;
    let name = escape::escape(&row.label);
    let mut group = Group::new()
        .add(Title::new(name.as_ref()))
        .add(label(
            MARGIN,
            bar + 11,
            "start",
            "",
            &escape::truncate(&name, LABEL_CHARACTERS_MAX),
        ))
        .add(rectangle(
            LABEL_WIDTH as f64,
            bar,
            STEPS_PER_ROW as f64 / 10.0,
            BAR_HEIGHT,
            "track",
        ));
    let (online, unknown) = steps(picture, row);
    for (class, runs) in [("unknown", unknown), ("online", online)] {
        if runs.is_empty() {
            continue;
        }
        let mut data = path::Data::new();
        for (from, to) in runs {
            let (from, to) = (from as f32 / 10.0, to as f32 / 10.0);
            data = data
                .move_to((LABEL_WIDTH as f32 + from, bar))
                .horizontal_line_by(to - from)
                .vertical_line_by(BAR_HEIGHT)
                .horizontal_line_by(from - to)
                .close();
        }
        group = group.add(Path::new().set("class", class).set("d", data));
    }
    group
}

/// The ranges of steps in which the user was online, and in which they were unknown.
type Runs = Vec<(usize, usize)>;

/// The ranges of a row. A session shorter than a step takes one step.
fn steps(picture: &Picture<'_>, row: &PictureRow<'_>) -> (Runs, Runs) {
    let (mut online, mut unknown): (Runs, Runs) = (Vec::new(), Vec::new());
    for span in row.spans {
        let runs = if span.online * 2 >= span.to - span.from - span.unknown && !span.is_unknown() {
            &mut online
        } else {
            &mut unknown
        };
        let from = picture.cell(span.from, STEPS_PER_ROW);
        let to = picture.cell(span.to - 1, STEPS_PER_ROW).max(from) + 1;
        match runs.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => runs.push((from, to)),
        }
    }
    (online, unknown)
}

fn x(picture: &Picture<'_>, at: Millis) -> f64 {
    LABEL_WIDTH as f64 + picture.cell(at, STEPS_PER_ROW) as f64 / 10.0
}

fn rectangle(x: f64, y: usize, width: f64, height: usize, class: &str) -> Rectangle {
    Rectangle::new()
        .set("class", class)
        .set("x", x)
        .set("y", y)
        .set("width", width)
        .set("height", height)
}

fn label(x: usize, y: usize, anchor: &str, class: &str, content: &str) -> Text {
    let label = Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("text-anchor", anchor);
    if class.is_empty() {
        label
    } else {
        label.set("class", class)
    }
}

fn label_at(x: f64, y: usize, content: &str) -> Text {
    Text::new(content)
        .set("x", x)
        .set("y", y)
        .set("text-anchor", "middle")
        .set("class", "faint")
}
