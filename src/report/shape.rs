//! Finds the fields of a line without parsing it, if it has the shape of an earlier line.
//!
//! Lines of a stream differ in a few values only. The shape of a line is its type and source, its names and their order:
//! everything but its other values. A line of a known shape whose values are valid is valid, too, and has the same
//! fields in the same places. So it need not be parsed. Its text is compared with the earlier line, and only those values
//! are scanned that a report needs or that differ.

use std::borrow::Cow;
use std::ops::Range;

use crate::domain::event::{
    MEMBER_REMOVED, USER_DELETED, USER_PRESENCE_CHANGED, USER_UPDATED, USER_WATCHING_START,
    USER_WATCHING_STOP,
};
use crate::json::scanner::{Json, Malformed, Text};

/// How many shapes are known at once.
const SHAPES_MAX: usize = 8;

/// The longest line whose shape is remembered. Longer lines are parsed each time, so that memory stays bounded.
const LINE_MAX_BYTES: usize = 16 * 1024;

/// The type of a record, as far as it matters to reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordType {
    Snapshot,
    /// `user.presence.changed` or `user.updated`.
    UserChanged,
    /// `user.deleted` or `member.removed`.
    UserRemoved,
    /// `user.watching.start` or `user.watching.stop`.
    UserWatching,
    ConnectionChanged,
    ConnectionRecovered,
    Gap,
    Coverage,
    End,
    Other,
}

impl RecordType {
    fn of(name: &str) -> Self {
        match name {
            "presence.snapshot" => Self::Snapshot,
            USER_PRESENCE_CHANGED | USER_UPDATED => Self::UserChanged,
            USER_DELETED | MEMBER_REMOVED => Self::UserRemoved,
            USER_WATCHING_START | USER_WATCHING_STOP => Self::UserWatching,
            "connection.changed" => Self::ConnectionChanged,
            "connection.recovered" => Self::ConnectionRecovered,
            "presence.gap" => Self::Gap,
            "presence.coverage" => Self::Coverage,
            "stream.end" => Self::End,
            _ => Self::Other,
        }
    }
}

/// What all lines of a shape have in common.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommonFields {
    /// `type`; `None` if it is no string.
    pub(super) record_type: Option<RecordType>,
    /// Whether `source` is `resync`.
    pub(super) is_resync: bool,
    /// Whether `deleted` is true.
    pub(super) is_deleted: bool,
    /// `online` beside the user: whether there is a connection.
    pub(super) connected: Option<bool>,
}

/// A field whose value differs from line to line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineField {
    ReceivedAt,
    CreatedAt,
    Seq,
    From,
    To,
    /// `repaired` or `missing`.
    Ids,
    UserId,
    UserOnline,
    UserName,
    UserStatus,
}

impl LineField {
    const COUNT: usize = Self::UserStatus as usize + 1;

    const fn is_of_user(self) -> bool {
        self as usize >= Self::UserId as usize
    }
}

/// Where values start in a line.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FieldPositions([Option<usize>; LineField::COUNT]);

impl FieldPositions {
    /// Where the value of a field starts. `None` if the line does not have it.
    pub(super) const fn of(&self, field: LineField) -> Option<usize> {
        self.0[field as usize]
    }
}

/// The shapes of the latest lines, the last one first.
#[derive(Debug)]
pub(super) struct LineShapes {
    shapes: Vec<LineShape>,
    /// Whether a report needs names and status texts.
    texts: bool,
}

impl LineShapes {
    pub(super) const fn new(texts: bool) -> Self {
        Self {
            shapes: Vec::new(),
            texts,
        }
    }

    /// Validates a line and finds its fields. `None` if it is not a JSON object.
    #[inline]
    pub(super) fn find(
        &mut self,
        line: &str,
        json: Json<'_>,
    ) -> Option<(CommonFields, FieldPositions)> {
        for (place, shape) in self.shapes.iter().enumerate() {
            if let Some(positions) = shape.find(line.as_bytes(), json) {
                let common = shape.common;
                if place > 0 {
                    self.shapes[..=place].rotate_right(1);
                }
                return Some((common, positions));
            }
        }
        self.learn(line, json)
    }

    #[cold]
    fn learn(&mut self, line: &str, json: Json<'_>) -> Option<(CommonFields, FieldPositions)> {
        let shape = LineShape::learn(line, json, self.texts).ok()?;
        let found = (shape.common, shape.positions());
        if line.len() <= LINE_MAX_BYTES {
            self.shapes.truncate(SHAPES_MAX - 1);
            self.shapes.insert(0, shape);
        }
        Some(found)
    }
}

/// A value of a line.
#[derive(Debug, Clone, Copy)]
struct LineValue {
    start: usize,
    end: usize,
    field: Option<LineField>,
}

/// A line that stands for all lines of its shape.
#[derive(Debug)]
struct LineShape {
    line: Box<[u8]>,
    common: CommonFields,
    /// All values in order, except those that are common to all lines.
    values: Vec<LineValue>,
}

impl LineShape {
    /// Parses a line. If a field is repeated, the last one counts.
    fn learn(line: &str, json: Json<'_>, texts: bool) -> Result<Self, Malformed> {
        let mut common = CommonFields::default();
        let mut values: Vec<LineValue> = Vec::new();
        let end = json.object(json.blanks(0), |name, start| {
            let field = match name {
                b"type" => {
                    let (end, text) = json.text(start)?;
                    common.record_type =
                        text.and_then(Text::read).map(|text| RecordType::of(&text));
                    return Ok(end);
                }
                b"source" => {
                    let (end, text) = json.text(start)?;
                    common.is_resync = text.and_then(Text::read).as_deref() == Some("resync");
                    return Ok(end);
                }
                b"deleted" => {
                    common.is_deleted = flag(json, start) == Some(true);
                    return json.value(start);
                }
                b"online" => {
                    common.connected = flag(json, start);
                    return json.value(start);
                }
                b"user" => {
                    values.iter_mut().for_each(LineValue::forget_user);
                    return learn_user(json, start, texts, &mut values);
                }
                b"received_at" => Some(LineField::ReceivedAt),
                b"created_at" => Some(LineField::CreatedAt),
                b"seq" => Some(LineField::Seq),
                b"from" => Some(LineField::From),
                b"to" => Some(LineField::To),
                b"repaired" | b"missing" => Some(LineField::Ids),
                _ => None,
            };
            let end = json.value(start)?;
            values.push(LineValue { start, end, field });
            Ok(end)
        })?;
        json.end(end)?;
        Ok(Self {
            line: line.as_bytes().into(),
            common,
            values,
        })
    }

    /// The positions of the fields in the line that was parsed.
    fn positions(&self) -> FieldPositions {
        let mut positions = FieldPositions::default();
        for value in &self.values {
            if let Some(field) = value.field {
                positions.0[field as usize] = Some(value.start);
            }
        }
        positions
    }

    /// The positions of the fields in another line. `None` unless it has this shape.
    #[inline]
    fn find(&self, line: &[u8], json: Json<'_>) -> Option<FieldPositions> {
        let mut positions = FieldPositions::default();
        // A position in the line, the same place in the line of the shape, and the next value there.
        let (mut at, mut known, mut next) = (0, 0, 0);
        for (place, value) in self.values.iter().enumerate() {
            let Some(field) = value.field else { continue };
            at = self.skip(line, json, at, known..value.start, next..place)?;
            positions.0[field as usize] = Some(at);
            at = json.value(at).ok()?;
            (known, next) = (value.end, place + 1);
        }
        let rest = known..self.line.len();
        let end = self.skip(line, json, at, rest, next..self.values.len())?;
        (end == line.len()).then_some(positions)
    }

    /// Skips a part of the line, if it is the same as that of the shape, apart from its values.
    #[inline]
    fn skip(
        &self,
        line: &[u8],
        json: Json<'_>,
        at: usize,
        part: Range<usize>,
        values: Range<usize>,
    ) -> Option<usize> {
        if line[at..].starts_with(&self.line[part.clone()]) {
            return Some(at + part.len());
        }
        self.skip_values(line, json, at, part, &self.values[values])
    }

    fn skip_values(
        &self,
        line: &[u8],
        json: Json<'_>,
        mut at: usize,
        part: Range<usize>,
        values: &[LineValue],
    ) -> Option<usize> {
        let mut known = part.start;
        for value in values {
            let text = &self.line[known..value.start];
            if !line[at..].starts_with(text) {
                return None;
            }
            at = json.value(at + text.len()).ok()?;
            known = value.end;
        }
        let text = &self.line[known..part.end];
        line[at..].starts_with(text).then_some(at + text.len())
    }
}

impl LineValue {
    /// Of a repeated user, the last one counts.
    fn forget_user(&mut self) {
        self.field = self.field.filter(|field| !field.is_of_user());
    }
}

fn learn_user(
    json: Json<'_>,
    start: usize,
    texts: bool,
    values: &mut Vec<LineValue>,
) -> Result<usize, Malformed> {
    // Any other value is part of the fixed text. As a value that may differ, it would also be known as an object, whose
    // fields this shape does not have.
    if json.peek(start) != Some(b'{') {
        return json.value(start);
    }
    json.object(start, |name, start| {
        let field = match name {
            b"id" => Some(LineField::UserId),
            b"online" => Some(LineField::UserOnline),
            b"name" if texts => Some(LineField::UserName),
            b"status" if texts => Some(LineField::UserStatus),
            _ => None,
        };
        let end = json.value(start)?;
        values.push(LineValue { start, end, field });
        Ok(end)
    })
}

/// The string at a position of valid JSON. `None` for any other value.
pub(super) fn text(json: Json<'_>, at: usize) -> Option<Cow<'_, str>> {
    json.text(at).ok()?.1?.read()
}

/// The boolean at a position of valid JSON. `None` for any other value.
pub(super) fn flag(json: Json<'_>, at: usize) -> Option<bool> {
    match json.peek(at)? {
        b't' => Some(true),
        b'f' => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(lines: &[&str]) -> LineShapes {
        let mut shapes = LineShapes::new(true);
        for line in lines {
            assert!(shapes.find(line, Json::new(line)).is_some(), "{line}");
        }
        shapes
    }

    #[test]
    fn other_values_are_the_same_shape() {
        let shapes = known(&[
            r#"{"type":"a","user":{"id":"x","n":1,"o":{"p":"q"}},"seq":1,"source":"ws"}"#,
            r#"{"type":"a","user":{"id":null,"n":"long","o":{"p":"r"}},"seq":12345,"source":"ws"}"#,
            r#"{"type":"a","user":{"id":"\u0041\"","n":-1.5e3,"o":[]},"seq":true,"source":"ws"}"#,
        ]);
        assert_eq!(shapes.shapes.len(), 1);
    }

    #[test]
    fn another_type_source_name_or_order_is_another_shape() {
        let mut shapes = known(&[
            r#"{"type":"a","seq":1,"source":"ws"}"#,
            r#"{"type":"b","seq":1,"source":"ws"}"#,
            r#"{"type":"a","seq":1,"source":"resync"}"#,
            r#"{"seq":1,"type":"a","source":"ws"}"#,
            r#"{"type":"a","seq":1,"source":"ws","x":1}"#,
            r#"{"type":"a","Seq":1,"source":"ws"}"#,
        ]);
        assert_eq!(shapes.shapes.len(), 6);
        for n in 0..20 {
            let line = format!("{{\"{n}\":1}}");
            assert!(shapes.find(&line, Json::new(&line)).is_some());
        }
        assert_eq!(shapes.shapes.len(), SHAPES_MAX);
        let long = format!("[{}]", "1,".repeat(LINE_MAX_BYTES) + "1");
        let long = format!("{{\"a\":{long}}}");
        assert!(shapes.find(&long, Json::new(&long)).is_some());
        assert!(
            shapes
                .shapes
                .iter()
                .all(|shape| shape.line.len() <= LINE_MAX_BYTES)
        );
    }
}
