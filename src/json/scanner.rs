//! A JSON scanner: validates JSON text in one pass and returns the positions of values, without building them.
//!
//! A stream looks at a few fields of every frame, and copies the rest without parsing it. So the scanner only finds
//! where values start and end. It is as strict as a parser: a frame that is not JSON is refused, because every line that
//! is written must be JSON.
//!
//! Each function takes a start position and returns the position after what it read, instead of moving a cursor.
//! Positions then stay in registers, which makes the scanner fast.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2_iter;
use wide::u8x16;

/// The error of text that is not JSON, with the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The number of valid bytes before the error.
    pub at: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not JSON from byte {} on", self.at)
    }
}

impl std::error::Error for Malformed {}

/// A string as it is written in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The decoded string, without a copy unless it contains escapes. `None` for half a surrogate pair, which is valid
    /// JSON but not text.
    #[inline]
    pub(crate) fn read(self) -> Option<Cow<'a, str>> {
        if self.escaped {
            return decode(self.inner).map(Cow::Owned);
        }
        Some(Cow::Borrowed(self.inner))
    }
}

#[cold]
fn decode(inner: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{inner}\"")).ok()
}

type Result<T> = std::result::Result<T, Malformed>;

#[cold]
#[inline(never)]
const fn malformed<T>(at: usize) -> Result<T> {
    Err(Malformed { at })
}

/// A scanner of a text that should be JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json<'a> {
    text: &'a str,
}

impl<'a> Json<'a> {
    /// A scanner of this text. Invalid control characters are searched for here, once for all strings: the text up to
    /// the first one is scanned.
    pub(crate) fn new(text: &'a str) -> Self {
        Self::with_plain_flag(text).0
    }

    /// Like the constructor; also returns whether the text is *plain*. A plain text can be copied to the output
    /// unchanged: it has no line feed and no control character, not even those that JSON allows in strings. (The second
    /// half of these begins with the byte 0xC2 in UTF-8, and little else does.)
    #[inline]
    pub(crate) fn with_plain_flag(text: &'a str) -> (Self, bool) {
        let bytes = text.as_bytes();
        let (mut least, mut odd) = (u8x16::splat(u8::MAX), u8x16::ZERO);
        in_chunks(bytes, |chunk| {
            least = least.min(chunk);
            odd |= chunk.simd_eq(u8x16::splat(0x7f)) | chunk.simd_eq(u8x16::splat(0xc2));
        });
        let control = least.simd_eq(least.min(u8x16::splat(b' ' - 1)));
        if control.to_bitmask() == 0 {
            return (Self { text }, odd.to_bitmask() == 0);
        }
        let text = match control_in_string(bytes) {
            Some(at) => &text[..at],
            None => text,
        };
        (Self { text }, false)
    }

    /// The text between two positions.
    pub(crate) fn slice(self, start: usize, end: usize) -> &'a str {
        &self.text[start..end]
    }

    /// The byte at a position.
    #[inline(always)]
    pub(crate) fn peek(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Skips white space. Usually there is none.
    #[inline(always)]
    pub(crate) fn blanks(self, at: usize) -> usize {
        match self.peek(at) {
            Some(byte) if byte > b' ' => at,
            _ => self.all_blanks(at),
        }
    }

    /// Scans any value.
    #[inline(always)]
    pub(crate) fn value(self, at: usize) -> Result<usize> {
        match self.peek(at) {
            Some(b'"') => Ok(self.string(at)?.0),
            Some(b'{' | b'[') => self.nested(at),
            _ => self.scalar(at),
        }
    }

    /// Scans any value, and returns it if it is a string.
    #[inline(always)]
    pub(crate) fn text(self, at: usize) -> Result<(usize, Option<Text<'a>>)> {
        if self.peek(at) != Some(b'"') {
            return Ok((self.value(at)?, None));
        }
        let (end, escaped) = self.string(at)?;
        let inner = self.slice(at + 1, end - 1);
        Ok((end, Some(Text { inner, escaped })))
    }

    /// Scans an object. `field` is called with each name and the position of its value, which it must scan. A name with
    /// half a surrogate pair is reported as the empty string.
    #[inline(always)]
    pub(crate) fn object(
        self,
        at: usize,
        mut field: impl FnMut(&[u8], usize) -> Result<usize>,
    ) -> Result<usize> {
        let bytes = self.text.as_bytes();
        let mut at = match bytes.get(at..) {
            Some([b'{', b'"', ..]) => at + 1,
            Some([b'{', ..]) => match self.first_name(at + 1)? {
                Some(name) => name,
                None => return Ok(self.blanks(at + 1) + 1),
            },
            _ => return malformed(at),
        };
        let mut decoded;
        loop {
            // The position is at the opening quote of a name.
            let tail = bytes.get(at + 1..).unwrap_or_default();
            let Some((mut name, after)) = tail.split_at_checked(special(tail)) else {
                return malformed(at);
            };
            let value = match after {
                [b'"', b':', next, ..] if *next > b' ' => at + name.len() + 3,
                [b'"', ..] => self.colon(at + name.len() + 2)?,
                _ => {
                    let (end, _) = self.odd_string(at + 1 + name.len())?;
                    decoded = decode(self.slice(at + 1, end - 1)).unwrap_or_default();
                    name = decoded.as_bytes();
                    self.colon(end)?
                }
            };
            at = field(name, value)?;
            at = match bytes.get(at..) {
                Some([b',', b'"', ..]) => at + 1,
                Some([b'}', ..]) => return Ok(at + 1),
                _ => match self.comma(at)? {
                    Some(at) => at,
                    None => return Ok(self.blanks(at) + 1),
                },
            };
        }
    }

    /// Skips white space up to the first name of an object. `None` if the object is empty.
    #[cold]
    #[inline(never)]
    fn first_name(self, at: usize) -> Result<Option<usize>> {
        let at = self.blanks(at);
        match self.peek(at) {
            Some(b'"') => Ok(Some(at)),
            Some(b'}') => Ok(None),
            _ => malformed(at),
        }
    }

    /// Scans a name.
    #[inline(always)]
    fn name(self, at: usize) -> Result<(usize, bool)> {
        if self.peek(at) != Some(b'"') {
            return malformed(at);
        }
        self.string(at)
    }

    /// Scans a colon with white space around it.
    #[cold]
    #[inline(never)]
    fn colon(self, at: usize) -> Result<usize> {
        let at = self.blanks(at);
        if self.peek(at) != Some(b':') {
            return malformed(at);
        }
        Ok(self.blanks(at + 1))
    }

    /// Scans a comma with white space around it. `None` if the object ends instead.
    #[cold]
    #[inline(never)]
    fn comma(self, at: usize) -> Result<Option<usize>> {
        let at = self.blanks(at);
        match self.peek(at) {
            Some(b',') => match self.blanks(at + 1) {
                name if self.peek(name) == Some(b'"') => Ok(Some(name)),
                other => malformed(other),
            },
            Some(b'}') => Ok(None),
            _ => malformed(at),
        }
    }

    /// Scans an array. `item` is called with the position of each value, which it must scan.
    pub(crate) fn array(
        self,
        at: usize,
        mut item: impl FnMut(usize) -> Result<usize>,
    ) -> Result<usize> {
        if self.peek(at) != Some(b'[') {
            return malformed(at);
        }
        let mut at = self.blanks(at + 1);
        if self.peek(at) == Some(b']') {
            return Ok(at + 1);
        }
        loop {
            at = self.blanks(item(at)?);
            match self.peek(at) {
                Some(b',') => at = self.blanks(at + 1),
                Some(b']') => return Ok(at + 1),
                _ => return malformed(at),
            }
        }
    }

    /// Checks that nothing follows the last value.
    #[inline]
    pub(crate) fn end(self, at: usize) -> Result<()> {
        let at = self.blanks(at);
        if at == self.text.len() {
            return Ok(());
        }
        malformed(at)
    }

    #[cold]
    #[inline(never)]
    fn all_blanks(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek(at) {
            at += 1;
        }
        at
    }

    /// Scans a name and its colon.
    #[inline(always)]
    fn key(self, at: usize) -> Result<usize> {
        let (end, _) = self.name(at)?;
        match self.text.as_bytes().get(end..) {
            Some([b':', next, ..]) if *next > b' ' => Ok(end + 1),
            _ => self.colon(end),
        }
    }

    /// Scans a string from its opening quote. Also returns whether it contains escapes.
    #[inline(always)]
    fn string(self, start: usize) -> Result<(usize, bool)> {
        let tail = self.text.as_bytes().get(start + 1..).unwrap_or_default();
        let length = special(tail);
        match tail.get(length) {
            Some(b'"') => Ok((start + length + 2, false)),
            _ => self.odd_string(start + 1 + length),
        }
    }

    /// Scans the rest of a string from its first escape on.
    #[cold]
    #[inline(never)]
    fn odd_string(self, mut at: usize) -> Result<(usize, bool)> {
        loop {
            match self.peek(at) {
                Some(b'"') => return Ok((at + 1, true)),
                Some(b'\\') => {
                    at = self.escape(at)?;
                    at += special(self.text.as_bytes().get(at..).unwrap_or_default());
                }
                _ => return malformed(at),
            }
        }
    }

    fn escape(self, at: usize) -> Result<usize> {
        match &self.text.as_bytes()[at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Ok(at + 2),
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(at + 6)
            }
            _ => malformed(at),
        }
    }

    #[inline(never)]
    fn scalar(self, at: usize) -> Result<usize> {
        match self.text.as_bytes().get(at..).unwrap_or_default() {
            [b't', b'r', b'u', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => Ok(at + 4),
            [b'f', b'a', b'l', b's', b'e', ..] => Ok(at + 5),
            rest @ [b'-' | b'0'..=b'9', ..] => match number(rest) {
                Some(length) => Ok(at + length),
                None => malformed(at),
            },
            _ => malformed(at),
        }
    }

    /// Scans an object or array with everything in it. Uses no stack frame per level, so depth is no problem.
    #[inline(never)]
    fn nested(self, mut at: usize) -> Result<usize> {
        let mut levels = Levels::default();
        'value: loop {
            let mut fresh = false;
            match self.peek(at) {
                Some(bracket @ (b'{' | b'[')) => {
                    at += 1;
                    levels.push(bracket == b'{');
                    fresh = true;
                }
                Some(b'"') => at = self.string(at)?.0,
                _ => at = self.scalar(at)?,
            }
            loop {
                let Some(in_object) = levels.top() else {
                    return Ok(at);
                };
                at = self.blanks(at);
                let end = if in_object { b'}' } else { b']' };
                match self.peek(at) {
                    Some(byte) if byte == end => {
                        at += 1;
                        levels.pop();
                        fresh = false;
                        continue;
                    }
                    Some(_) if fresh => {}
                    Some(b',') => at = self.blanks(at + 1),
                    _ => return malformed(at),
                }
                if in_object {
                    at = self.key(at)?;
                }
                continue 'value;
            }
        }
    }
}

/// Whether a text can be put between quotes unchanged: ASCII without characters that need an escape in JSON or on a
/// terminal.
pub(crate) fn needs_no_escape(text: &str) -> bool {
    let mut odd = u8x16::ZERO;
    in_chunks(text.as_bytes(), |chunk| {
        // Bytes below the space wrap around to large values.
        let from_blank = chunk - u8x16::splat(b' ');
        odd |= from_blank.simd_eq(from_blank.max(u8x16::splat(0x7f - b' ')))
            | chunk.simd_eq(u8x16::splat(b'"'))
            | chunk.simd_eq(u8x16::splat(b'\\'));
    });
    odd.to_bitmask() == 0
}

/// Escapes the control characters that JSON allows in strings, from `start` on, because some terminals act on them.
/// Outside of strings, JSON does not contain them.
pub(crate) fn escape_controls(out: &mut Vec<u8>, start: usize) {
    let is_control =
        |text: &[u8], at: usize| text[at] == 0x7f || matches!(text.get(at + 1), Some(0x80..=0x9f));
    let text = &out[start..];
    let Some(first) = memchr2_iter(0x7f, 0xc2, text).find(|&at| is_control(text, at)) else {
        return;
    };
    let rest = out.split_off(start + first);
    let mut copied = 0;
    for at in memchr2_iter(0x7f, 0xc2, &rest).filter(|&at| is_control(&rest, at)) {
        out.extend_from_slice(&rest[copied..at]);
        let (code, bytes) = match rest[at] {
            0x7f => (0x7f, 1),
            // In UTF-8 the second byte of these characters is their code.
            _ => (rest[at + 1], 2),
        };
        out.extend_from_slice(format!("\\u00{code:02x}").as_bytes());
        copied = at + bytes;
    }
    out.extend_from_slice(&rest[copied..]);
}

/// Tests all bytes of a text in chunks, without an early exit, so that the compiler uses wide instructions. The last
/// chunk overlaps the one before or is padded with spaces.
#[inline(always)]
fn in_chunks(bytes: &[u8], mut test: impl FnMut(u8x16)) {
    let (chunks, rest) = bytes.as_chunks();
    for chunk in chunks {
        test(u8x16::new(*chunk));
    }
    match bytes.last_chunk() {
        Some(last) => test(u8x16::new(*last)),
        None => {
            let mut padded = [b' '; 16];
            padded[..rest.len()].copy_from_slice(rest);
            test(u8x16::new(padded));
        }
    }
}

/// The distance to the next quote or backslash, or to the end of the text. It tests sixteen bytes at a time: names and
/// most values are shorter, and wider instructions would cost more to set up than they save.
#[inline(always)]
fn special(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let chunk = u8x16::new(*chunk);
        let found = chunk.simd_eq(u8x16::splat(b'"')) | chunk.simd_eq(u8x16::splat(b'\\'));
        let mask = found.to_bitmask();
        if mask != 0 {
            return at + mask.trailing_zeros() as usize;
        }
        at += 16;
    }
    while text
        .get(at)
        .is_some_and(|byte| !matches!(byte, b'"' | b'\\'))
    {
        at += 1;
    }
    at
}

/// The position of the first control character inside a string.
#[cold]
#[inline(never)]
fn control_in_string(bytes: &[u8]) -> Option<usize> {
    let mut strings = StringState::default();
    bytes
        .iter()
        .position(|&byte| strings.is_in_string(byte) && byte < b' ')
}

/// Tells whether bytes are inside a string, in JSON text that is read byte by byte.
#[derive(Debug, Default)]
pub(crate) struct StringState {
    in_string: bool,
    escaped: bool,
}

impl StringState {
    /// Whether the next byte belongs to a string. Quotes count as part of the string.
    #[inline]
    pub(crate) const fn is_in_string(&mut self, byte: u8) -> bool {
        if !self.in_string {
            self.in_string = byte == b'"';
            return self.in_string;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
        true
    }
}

/// The length of the number at the start of a text.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let mut at = from;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    let mut at = usize::from(text[0] == b'-');
    at = match text.get(at) {
        Some(b'0') => at + 1,
        _ => digits(at)?,
    };
    match text.get(at) {
        Some(b'.') => at = digits(at + 1)?,
        Some(b'e' | b'E') => {}
        _ => return Some(at),
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Some(at)
}

/// A stack of open brackets, with one bit each: whether it is an object's. A hostile text can open any number.
#[derive(Default)]
struct Levels {
    near: u64,
    count: usize,
    far: Vec<u64>,
}

impl Levels {
    fn push(&mut self, object: bool) {
        if self.count > 0 && self.count.is_multiple_of(64) {
            self.far.push(self.near);
        }
        self.near = self.near << 1 | u64::from(object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.near >>= 1;
        self.count -= 1;
        if self.count > 0 && self.count.is_multiple_of(64) {
            self.near = self.far.pop().unwrap_or_default();
        }
    }

    const fn top(&self) -> Option<bool> {
        match self.count {
            0 => None,
            _ => Some(self.near & 1 == 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::{Map, Value};

    use crate::fuzz::{self, FuzzTarget};

    fn scan(text: &str) -> Result<&str> {
        let json = Json::new(text);
        let start = json.blanks(0);
        let end = json.value(start)?;
        json.end(end)?;
        if json.peek(start) == Some(b'[') {
            assert_eq!(json.array(start, |at| json.value(at)), Ok(end), "{text}");
        } else {
            json.array(start, |at| json.value(at)).unwrap_err();
        }
        Ok(json.slice(start, end))
    }

    fn agrees(text: &str) {
        let theirs = serde_json::from_str::<IgnoredAny>(text).is_ok();
        let ours = scan(text);
        assert_eq!(ours.is_ok(), theirs, "{text:?}: {ours:?}");
        if let Ok(value) = ours {
            let blanks = [' ', '\t', '\n', '\r'];
            assert_eq!(value, text.trim_matches(blanks), "{text:?}");
        }
    }

    /// The value at a place, built from what the scanner finds.
    fn build(json: Json<'_>, at: usize) -> Result<(usize, Value)> {
        match json.peek(at) {
            Some(b'{') => {
                let mut fields = Map::new();
                let end = json.object(at, |name, at| {
                    let (end, value) = build(json, at)?;
                    fields.insert(String::from_utf8(name.to_vec()).unwrap(), value);
                    Ok(end)
                })?;
                Ok((end, fields.into()))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                let end = json.array(at, |at| {
                    let (end, value) = build(json, at)?;
                    items.push(value);
                    Ok(end)
                })?;
                Ok((end, items.into()))
            }
            Some(b'"') => {
                let (end, text) = json.text(at)?;
                Ok((end, text.unwrap().read().unwrap().into()))
            }
            _ => {
                let end = json.value(at)?;
                Ok((end, serde_json::from_str(json.slice(at, end)).unwrap()))
            }
        }
    }

    #[test]
    fn fuzz_scanner() {
        const WORDS: &[&str] = &[
            "a",
            "type",
            "user",
            "a longer string of words",
            "\\ud800",
            "é😀",
        ];
        let target = FuzzTarget {
            name: "scanner",
            inputs: 20_000,
            generate: |rng| fuzz::json(rng, WORDS),
            words: WORDS,
        };
        target.run(|text| {
            agrees(text);
            let (json, is_plain) = Json::with_plain_flag(text);
            assert!(!is_plain || !text.contains(char::is_control));
            // Half surrogates and numbers that are too large are JSON, but no values.
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                let (_, built) = build(json, json.blanks(0)).unwrap();
                assert_eq!(built, value);
            }
        });
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in [
            "0", "-0", "10", "-1.5", "1e5", "1E+5", "0.10e-07", "1e999", "00", "01", "-", "+1",
            ".5", "1.", "1.e5", "1e", "1e+", "--1", "0x1", "1_0", "Infinity", "NaN", "-a", "1 2",
        ] {
            agrees(text);
            agrees(&format!("[{text}]"));
            agrees(&format!("{{\"a\":{text} }}"));
        }
    }

    #[test]
    fn strings_are_those_of_json() {
        for inner in [
            "",
            "a",
            "é😀",
            r"\n",
            r"\/",
            r#"\""#,
            r"\\",
            r"\u00e9",
            r"\ud800",
            r"\u12",
            r"\u12g4",
            r"\x",
            r"\",
            "\u{1f}",
            "\u{7f}",
            "\n",
            "1234567",
            "12345678",
            "12345678\u{0}",
            "\u{80}",
        ] {
            for before in [0, 1, 7, 8, 13, 14, 15, 16, 17, 31, 32] {
                agrees(&format!("\"{}{inner}\"", "x".repeat(before)));
                agrees(&format!("[\"{}{inner}\", 1234567]", "x".repeat(before)));
            }
        }
    }

    #[test]
    fn a_plain_text_has_no_control_character_of_any_kind() {
        for (inner, plain) in [
            ("", true),
            ("a~é😀", true),
            (r"\n", true),
            ("\u{7f}", false),
            ("\u{80}", false),
            ("\u{9f}", false),
        ] {
            for before in [0, 1, 7, 12, 13, 14, 15, 16, 31] {
                for after in [0, 1, 14, 15, 16, 40] {
                    let text = format!("[\"{}{inner}{}\"]", "x".repeat(before), "y".repeat(after));
                    assert_eq!(Json::with_plain_flag(&text).1, plain, "{text:?}");
                }
            }
        }
        assert!(
            !Json::with_plain_flag("[1,\n2]").1,
            "a line feed would end a line"
        );
    }

    #[test]
    fn what_needs_no_escape_is_written_as_it_is() {
        for byte in 0..=0x7f_u8 {
            for before in [0, 3, 15, 16, 20] {
                let text = format!("{}{}", "x".repeat(before), char::from(byte));
                let same = serde_json::to_string(&text).unwrap() == format!("\"{text}\"");
                assert_eq!(needs_no_escape(&text), same && byte != 0x7f, "{text:?}");
            }
        }
        assert!(
            needs_no_escape("")
                && !needs_no_escape("é")
                && !needs_no_escape("xxxxxxxxxxxxxxxxxx😀")
        );
    }

    #[test]
    fn control_characters_may_stand_between_values_and_not_in_strings() {
        for text in [
            "{\t\"a\"\n:\r[\"b\",\n\"c\\\"\"]\n}",
            "{\"a\":\"\t\"}",
            "{\"\n\":1}",
            "{\"a\":\"\\\n\"}",
            "{\"a\":\"\\\\\"\n}",
            "{\"a\":\"\\\\\n\"}",
        ] {
            agrees(text);
        }
    }

    #[test]
    fn structure_is_that_of_json() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "{}",
            "[]",
            " { } ",
            "[ ]",
            "{]",
            "[}",
            "[,]",
            "[1,]",
            "[,1]",
            "{,}",
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a" : 1 , "b":[ ]}"#,
            r#"{1:2}"#,
            "{} {}",
            "[1 2]",
            r#"[{"a":[{}]},[[]]]"#,
            "nul",
            "nulll",
            "truefalse",
            "\u{feff}{}",
            "[1]\u{a0}",
            "\u{b}[]",
            r#"{"a":1"b":2}"#,
            r#"[["a"]"#,
        ] {
            agrees(text);
        }
    }

    #[test]
    fn depth_has_no_limit() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200, 100_000] {
            let mixed = (0..depth).map(|level| level % 3 == 0);
            let open: String = mixed
                .clone()
                .map(|object| if object { "{\"a\":" } else { "[" })
                .collect();
            let close: String = mixed
                .rev()
                .map(|object| if object { '}' } else { ']' })
                .collect();
            assert!(scan(&format!("{open}1{close}")).is_ok(), "{depth}");
            assert!(scan(&format!("{open}1{}", &close[1..])).is_err(), "{depth}");
        }
    }

    #[test]
    fn fields_are_met_in_order_with_their_texts() {
        let text = r#" {"a":"x\n", "\u0062" : [1, 2 ] ,"\ud800":{"c":null},"a":false} "#;
        let json = Json::new(text);
        let mut met = Vec::new();
        let end = json
            .object(1, |name, at| {
                let end = json.value(at)?;
                met.push((
                    String::from_utf8_lossy(name).into_owned(),
                    json.slice(at, end),
                ));
                Ok(end)
            })
            .unwrap();
        json.end(end).unwrap();
        assert_eq!(
            met,
            [
                ("a".to_owned(), r#""x\n""#),
                ("b".to_owned(), "[1, 2 ]"),
                (String::new(), r#"{"c":null}"#),
                ("a".to_owned(), "false"),
            ]
        );
    }

    #[test]
    fn an_error_has_its_position() {
        assert_eq!(scan(r#"{"a":nope}"#), Err(Malformed { at: 5 }));
    }

    /// Text made of pieces of JSON, most of it nearly right.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\"a\"", "\"b\":", "{\"a\":", "[1", "null",
                "true", "false", "0", "-1", "1.5", "e", "E+", ".", "\\u00", "e9", "\\n", " ", "\n",
                "\"long enough for two words\"", "{}", "[]", "},{", "],[", "\"a\":1,",
            ])
            .prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    /// A document, and the same with one byte's worth of damage.
    fn damaged() -> impl Strategy<Value = String> {
        (
            crate::json::testing::json(),
            any::<prop::sample::Index>(),
            any::<char>(),
            0..4,
        )
            .prop_map(|(text, index, with, how)| {
                let mut chars: Vec<char> = text.chars().collect();
                let at = index.index(chars.len());
                match how {
                    0 => chars[at] = with,
                    1 => {
                        chars.remove(at);
                    }
                    2 => chars.insert(at, with),
                    _ => {}
                }
                chars.into_iter().collect()
            })
    }

    proptest! {
        #[test]
        fn what_is_json_is_what_a_parser_takes(text in pieces()) {
            agrees(&text);
        }

        #[test]
        fn damage_is_seen_where_a_parser_sees_it(text in damaged()) {
            agrees(&text);
        }
    }
}
