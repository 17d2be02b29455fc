//! The service's timestamps in 16 bytes, exact to the letter.
//!
//! A watcher of a hundred thousand users keeps a `last_active` for each and must give it back as it was sent, digits
//! and all: the service trims trailing zeros, so the number of digits is part of the text. What is not written the
//! usual way is kept as text.
//!
//! Nobody here asks how long something lasted, only what was written and which came first. So the calendar is one that
//! needs no table and no search: every month has 31 days, and some of the days are never written.

use std::cmp::Ordering;

/// A point in time as the service wrote it. Two are equal when their texts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timestamp {
    /// Written the usual way, with so many digits after the point (0 for none, and no point).
    Parsed { ticks: Ticks, digits: u8 },
    /// Written in any other way.
    Verbatim(Box<VerbatimText>),
}

/// Nanoseconds since 1970, if every month had 31 days. Later ones are larger.
pub(super) type Ticks = i64;

/// A text behind one pointer rather than a pointer and a length, which would make every moment larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerbatimText(Box<str>);

impl Timestamp {
    pub(super) fn read(text: &str) -> Self {
        match usual(text) {
            Some((ticks, digits)) => Self::Parsed { ticks, digits },
            None => Self::Verbatim(Box::new(VerbatimText(text.into()))),
        }
    }

    /// The text it was read from.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Parsed { ticks, digits } => written(*ticks, usize::from(*digits)),
            Self::Verbatim(text) => text.0.to_string(),
        }
    }

    /// Which is earlier; `None` where that cannot be told.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Parsed { ticks: a, .. }, Self::Parsed { ticks: b, .. }) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// A number to compare a timestamp by, if it is written the usual way.
pub(super) fn ticks(text: &str) -> Option<Ticks> {
    Some(usual(text)?.0)
}

/// The first year that has a number.
const FIRST: u64 = 1970;
/// The first year that has none: the nanoseconds would not fit.
const BEYOND: u64 = 2254;
const SECOND: u64 = 1_000_000_000;

/// Reads `YYYY-MM-DDThh:mm:ss[.f]Z`. It runs twice for each event, where a general parser would cost as much as
/// everything else together.
fn usual(text: &str) -> Option<(Ticks, u8)> {
    let (time, fraction) = text.as_bytes().split_first_chunk::<19>()?;
    let date = pairs(time.first_chunk()?, b"0000-00-")?;
    let day_on = pairs(time[8..].first_chunk()?, b"00T00:00")?;
    let clock = pairs(time.last_chunk()?, b"00:00:00")?;
    let (year, month) = (
        u64::from(date[0]) * 100 + u64::from(date[2]),
        u64::from(date[5]),
    );
    let (day, hour) = (u64::from(day_on[0]), u64::from(clock[0]));
    let (minute, second) = (u64::from(clock[3]), u64::from(clock[6]));
    let (sub, digits) = match fraction {
        b"Z" => (0, 0),
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut above_nine = false;
            let sub = digits.iter().fold(0, |sum, letter| {
                let digit = letter.wrapping_sub(b'0');
                above_nine |= digit > 9;
                sum * 10 + u64::from(digit)
            });
            if above_nine {
                return None;
            }
            (sub * TENS[9 - digits.len()], digits.len() as u8)
        }
        _ => return None,
    };
    let possible = (FIRST..BEYOND).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !possible {
        return None;
    }
    let days = ((year - FIRST) * 12 + month - 1) * 31 + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some((i64::try_from(seconds * SECOND + sub).ok()?, digits))
}

/// Reads eight letters, digits where `form` has a `0` and otherwise the same as there. At each place of the result stands
/// the number that two digits make, of which the first is at this place. All at once, with the letters in one register:
/// no sum of two digits reaches its neighbour.
#[inline]
fn pairs(letters: &[u8; 8], form: &[u8; 8]) -> Option<[u8; 8]> {
    let mut is_digit = [0; 8];
    for (is_digit, form) in is_digit.iter_mut().zip(form) {
        *is_digit = if *form == b'0' { u8::MAX } else { 0 };
    }
    let (is_digit, form) = (u64::from_le_bytes(is_digit), u64::from_le_bytes(*form));
    let digits = u64::from_le_bytes(*letters) ^ form;
    if digits & !is_digit != 0 || (digits | digits.wrapping_add(NINE)) & HIGH != 0 {
        return None;
    }
    Some((digits * 10 + (digits >> 8)).to_le_bytes())
}

/// What makes everything above nine show in the highest bit of a byte.
const NINE: u64 = u64::from_le_bytes([0x80 - 10; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// The powers of ten.
const TENS: [u64; 9] = {
    let mut tens = [1; 9];
    let mut at = 1;
    while at < 9 {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// Writes what [`usual`] has read.
fn written(ticks: Ticks, digits: usize) -> String {
    let (seconds, sub) = split::<SECOND>(ticks.unsigned_abs());
    let (minutes, second) = split::<60>(seconds);
    let (hours, minute) = split::<60>(minutes);
    let (days, hour) = split::<24>(hours);
    let (months, day) = split::<31>(days);
    let (years, month) = split::<12>(months);
    let mut text = *b"0000-00-00T00:00:00.000000000Z  ";
    put::<4>(&mut text, 0, years + FIRST);
    put::<2>(&mut text, 5, month + 1);
    put::<2>(&mut text, 8, day + 1);
    put::<2>(&mut text, 11, hour);
    put::<2>(&mut text, 14, minute);
    put::<2>(&mut text, 17, second);
    put::<9>(&mut text, 20, sub);
    // `2026-01-01T00:00:00` has 19 characters; the point comes only with a digit.
    let keep = match digits {
        0 => 19,
        digits => 20 + digits,
    };
    text[keep] = b'Z';
    let text = str::from_utf8(&text).expect("digits and signs are text");
    text[..=keep].to_owned()
}

/// What remains of a number, and what of it is counted in ones.
#[inline]
const fn split<const RANGE: u64>(number: u64) -> (u64, u64) {
    (number / RANGE, number % RANGE)
}

/// Writes so many digits of a number.
#[inline]
fn put<const COUNT: usize>(text: &mut [u8; 32], at: usize, mut number: u64) {
    for place in (at..at + COUNT).rev() {
        text[place] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "2026-01-05T10:00:00Z",
            "2026-01-05T10:00:00.1Z",
            "2026-01-05T10:00:00.100Z",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00Z",
            "2253-12-31T23:59:59.999999999Z",
            "2254-01-01T00:00:00Z",
            "2026-12-31T23:59:60Z",
            "2026-00-10T10:00:00Z",
            "2026-01-05T10:00:0:Z",
            "2024-02-29T00:00:00.68335Z",
            "0001-01-01T00:00:00Z",
            "2026-01-05T10:00:00+02:00",
            "2026-02-30T10:00:00Z",
            "2026-01-05T10:00:00.Z",
            "2026-01-05T10:00:00.1234567890Z",
            "yesterday",
            "",
            "Z",
        ] {
            let moment = Timestamp::read(text);
            assert_eq!(moment.text(), text);
        }
        assert!(size_of::<Option<Timestamp>>() <= 24);
    }

    #[test]
    fn a_trimmed_zero_is_another_text_and_the_same_time() {
        let short = Timestamp::read("2026-01-05T10:00:00Z");
        assert_ne!(short, Timestamp::read("2026-01-05T10:00:00.0Z"));
        assert_eq!(
            short.order(&Timestamp::read("2026-01-05T10:00:00.0Z")),
            Some(Ordering::Equal)
        );
        assert_eq!(
            short.order(&Timestamp::read("2026-01-05T10:00:00.000000001Z")),
            Some(Ordering::Less)
        );
        assert_eq!(short.order(&Timestamp::read("soon")), None);
    }

    proptest! {
        #[test]
        fn what_is_usual_is_kept_without_its_text(seconds in 0i64..8_950_000_000, sub in 0u32..1_000_000_000) {
            let time = DateTime::from_timestamp(seconds, sub).unwrap();
            for form in [SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Nanos] {
                let text = time.to_rfc3339_opts(form, true);
                let moment = Timestamp::read(&text);
                let usual = matches!(moment, Timestamp::Parsed { .. });
                prop_assert!(usual);
                prop_assert_eq!(moment.text(), text);
            }
        }

        #[test]
        fn the_order_is_that_of_the_calendar(a in 0i64..8_950_000_000_000_000_000, days in -70i64..70, b in -3i64..3) {
            let b = a.saturating_add(days * 86_400_000_000_000).saturating_add(b).max(0);
            let text = |nanos| DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true);
            let (first, second) = (Timestamp::read(&text(a)), Timestamp::read(&text(b)));
            prop_assert_eq!(first.order(&second), Some(a.cmp(&b)));
        }

        #[test]
        fn any_text_comes_back(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,10})?[Zz]?|\\PC{0,30}") {
            prop_assert_eq!(Timestamp::read(&text).text(), text);
        }
    }
}
