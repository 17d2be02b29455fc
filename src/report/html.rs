//! Renders the picture of presence as one HTML page, which loads nothing from the network.
//!
//! The page's content security policy allows exactly its own style and script, by their digests. Names reach the page
//! as data and are inserted as text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::intervals::Edge;
use super::picture::{Picture, PictureRow, Span};
use crate::domain::time::Millis;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The data for the page's script. Times are milliseconds; those of spans are relative to the start of the window.
#[derive(Serialize)]
struct PageData<'a> {
    from: Millis,
    to: Millis,
    zone: String,
    /// Offsets from UTC, each with the time from which it is valid.
    offsets: Vec<(Millis, Millis)>,
    edges: [&'static str; 4],
    statuses: Vec<&'a str>,
    users: Vec<PageUser<'a>>,
}

#[derive(Serialize)]
struct PageUser<'a> {
    id: &'a str,
    name: &'a str,
    spans: Vec<PageSpan>,
}

/// Start, length, online, unknown, start reason, end reason, and the index of the status from 1; 0 if there is none.
type PageSpan = (Millis, Millis, Millis, Millis, u8, u8, usize);

const EDGES: [Edge; 4] = [Edge::Observed, Edge::Gap, Edge::DataStart, Edge::DataEnd];

/// Renders the page.
///
/// # Errors
///
/// The data cannot be written as JSON.
pub fn draw(picture: &Picture<'_>) -> anyhow::Result<String> {
    let mut statuses = std::collections::HashMap::new();
    let mut listed = Vec::new();
    let mut user = |row: &'_ PictureRow<'_>| -> Vec<PageSpan> {
        let mut span = |span: &Span| -> PageSpan {
            let status = span.status.as_deref().map_or(0, |status| {
                *statuses.entry(status.to_owned()).or_insert_with(|| {
                    listed.push(status.to_owned());
                    listed.len()
                })
            });
            (
                span.from - picture.from,
                span.to - span.from,
                span.online,
                span.unknown,
                edge(span.start),
                edge(span.end),
                status,
            )
        };
        row.spans.iter().map(&mut span).collect()
    };
    let users = picture
        .rows
        .iter()
        .map(|row| PageUser {
            id: &row.id,
            name: &row.label,
            spans: user(row),
        })
        .collect();
    let data = PageData {
        from: picture.from,
        to: picture.to,
        zone: picture.zone.to_string(),
        offsets: picture.zone.offsets(picture.from, picture.to),
        edges: EDGES.map(Edge::name),
        statuses: listed.iter().map(String::as_str).collect(),
        users,
    };
    let data = serde_json::to_string(&data)?;
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    // The template is replaced in one pass, so a name that looks like a placeholder stays text.
    let mut page = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    for part in PAGE.split("{{") {
        match part.split_once("}}") {
            Some(("policy", rest)) => page.extend([&policy, rest]),
            Some(("style", rest)) => page.extend([STYLE, rest]),
            Some(("script", rest)) => page.extend([SCRIPT, rest]),
            Some(("data", rest)) => page.extend([&inert(&data), rest]),
            _ => page.push_str(part),
        }
    }
    Ok(page)
}

fn edge(edge: Edge) -> u8 {
    EDGES
        .iter()
        .zip(0..)
        .find_map(|(known, place)| (*known == edge).then_some(place))
        .unwrap_or(0)
}

/// JSON that is safe inside a script element: it cannot end the element or start a comment.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}
