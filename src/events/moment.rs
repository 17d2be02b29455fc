//! The service's timestamps in 16 bytes, exact to the letter.
//!
//! A watcher of a hundred thousand users keeps a `last_active` for each and must give it back as it was sent, digits
//! and all: the service trims trailing zeros, so the number of digits is part of the text. What is not written the
//! usual way is kept as text.

use std::cmp::Ordering;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

/// A point in time as the service wrote it. Two are equal when their texts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nanoseconds since 1970, and how many digits of the fraction were written (0 for none).
    Usual { nanos: i64, digits: u8 },
    /// Written in any other way.
    Other(Box<Unusual>),
}

/// A text behind one pointer rather than a pointer and a length, which would make every moment larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusual(Box<str>);

impl Moment {
    pub(super) fn read(text: &str) -> Self {
        usual(text).unwrap_or_else(|| Self::Other(Box::new(Unusual(text.into()))))
    }

    /// The text it was read from.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Usual { nanos, digits } => written(*nanos, usize::from(*digits)),
            Self::Other(text) => text.0.to_string(),
        }
    }

    /// Which is earlier; `None` where that cannot be told.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Usual { nanos: a, .. }, Self::Usual { nanos: b, .. }) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Writes a timestamp in the usual form. It runs for nearly every event, since a user who comes or goes has a new
/// `last_active`, and the general formatter costs more than reading the whole event.
fn written(nanos: i64, digits: usize) -> String {
    let time = DateTime::from_timestamp_nanos(nanos).naive_utc();
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |range: std::ops::Range<usize>, mut number: u32| {
        for digit in text[range].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).expect("a digit is below ten");
            number /= 10;
        }
    };
    put(0..4, time.year().unsigned_abs());
    put(5..7, time.month());
    put(8..10, time.day());
    put(11..13, time.hour());
    put(14..16, time.minute());
    put(17..19, time.second());
    put(20..29, time.nanosecond());
    // `2026-01-01T00:00:00` has 19 characters; the point comes only with a digit.
    let keep = match digits {
        0 => 19,
        digits => 20 + digits,
    };
    text[keep] = b'Z';
    String::from_utf8_lossy(&text[..=keep]).into_owned()
}

/// Nanoseconds since 1970 of a timestamp in the usual form.
pub(super) fn nanos(text: &str) -> Option<i64> {
    match usual(text)? {
        Moment::Usual { nanos, .. } => Some(nanos),
        Moment::Other(_) => None,
    }
}

/// Reads `YYYY-MM-DDThh:mm:ss[.f]Z`. It runs for every event, where a general parser would cost as much as everything
/// else together.
fn usual(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let (&b'Z', bytes) = bytes.split_last()? else {
        return None;
    };
    let (seconds, fraction) = bytes.split_at_checked(19)?;
    let number = |range: std::ops::Range<usize>| {
        seconds[range].iter().try_fold(0u32, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u32::from(digit - b'0'))
        })
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, sign)| seconds[at] != sign) {
        return None;
    }
    let digits = match fraction {
        [] => &[][..],
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let mut sub = 0i64;
    for at in 0..9 {
        let digit = digits.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        sub = sub * 10 + i64::from(digit - b'0');
    }
    let year = i32::try_from(number(0..4)?).ok()?;
    let seconds = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?
        .and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?)?
        .and_utc()
        .timestamp();
    Some(Moment::Usual {
        nanos: seconds.checked_mul(1_000_000_000)?.checked_add(sub)?,
        digits: u8::try_from(digits.len()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "2026-01-05T10:00:00Z",
            "2026-01-05T10:00:00.1Z",
            "2026-01-05T10:00:00.100Z",
            "1969-12-31T23:59:59.999999999Z",
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
            let moment = Moment::read(text);
            assert_eq!(moment.text(), text);
        }
        assert!(size_of::<Option<Moment>>() <= 24);
    }

    #[test]
    fn a_trimmed_zero_is_another_text_and_the_same_time() {
        let short = Moment::read("2026-01-05T10:00:00Z");
        assert_ne!(short, Moment::read("2026-01-05T10:00:00.0Z"));
        assert_eq!(
            short.order(&Moment::read("2026-01-05T10:00:00.0Z")),
            Some(Ordering::Equal)
        );
        assert_eq!(
            short.order(&Moment::read("2026-01-05T10:00:00.000000001Z")),
            Some(Ordering::Less)
        );
        assert_eq!(short.order(&Moment::read("soon")), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_general_parser(seconds in -5_000_000_000i64..5_000_000_000, sub in 0u32..1_000_000_000) {
            let time = DateTime::from_timestamp(seconds, sub).unwrap();
            let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
            prop_assert_eq!(nanos(&text), time.timestamp_nanos_opt());
            prop_assert_eq!(Moment::read(&text).text(), text);
        }
    }
}
