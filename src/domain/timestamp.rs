//! The service's timestamps in 16 bytes: compared as instants, and written back exactly as they were read.
//!
//! A watcher of a hundred thousand users keeps a `last_active` for each of them and must print it as it was sent. The
//! service trims trailing zeros, so the number of digits is part of the text. A text in any other form than the
//! service's usual one (`2026-01-05T10:00:00.123Z`) is kept as text.
//!
//! Only the order of timestamps matters here, not the distance between them. So the calendar needs no table and no
//! search: every month has 31 days, and some of these days never occur.

use std::cmp::Ordering;

use chrono::DateTime;

/// A point in time as the service wrote it. Two timestamps are equal if their texts are equal. [`Self::compare`]
/// compares the instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timestamp {
    /// Written in the usual form, with this many digits after the point (0: no point).
    Parsed { ticks: CalendarNanos, digits: u8 },
    /// Written in any other form.
    Verbatim(Box<VerbatimText>),
}

/// Nanoseconds since 1970 in a calendar in which every month has 31 days. A later instant has a larger number.
pub(crate) type CalendarNanos = i64;

/// A text behind one thin pointer. A `Box<str>` is two words, which would make every [`Timestamp`] larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VerbatimText(Box<str>);

impl Timestamp {
    /// Reads any text; it need not be a timestamp.
    pub(crate) fn parse(text: &str) -> Self {
        match parse_usual(text) {
            Some((ticks, digits)) => Self::Parsed { ticks, digits },
            None => Self::Verbatim(Box::new(VerbatimText(text.into()))),
        }
    }

    /// The text that it was read from.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }

    /// Appends the text that it was read from.
    pub(crate) fn write_to(&self, out: &mut String) {
        match self {
            Self::Parsed { ticks, digits } => write_usual(*ticks, usize::from(*digits), out),
            Self::Verbatim(text) => out.push_str(&text.0),
        }
    }

    /// Compares two instants, in whatever form they were written. `None` if one of them is not a timestamp.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Parsed { ticks: a, .. }, Self::Parsed { ticks: b, .. }) => Some(a.cmp(b)),
            _ => {
                let instant = |time: &Self| DateTime::parse_from_rfc3339(&time.text()).ok();
                Some(instant(self)?.cmp(&instant(other)?))
            }
        }
    }

    /// Whether this timestamp is newer than `known`: a later instant. The same instant in another form is not newer,
    /// and neither is an older copy. Texts that are not timestamps count as newer if they differ.
    ///
    /// The service shows the same instant with nanoseconds where a user was just active and with microseconds
    /// elsewhere, so beside microseconds the nanoseconds do not count.
    pub(crate) fn is_newer_than(&self, known: &Self) -> bool {
        if let (
            Self::Parsed { ticks: new, digits },
            Self::Parsed {
                ticks: old,
                digits: known_digits,
            },
        ) = (self, known)
            && (*digits > MICROS_DIGITS) != (*known_digits > MICROS_DIGITS)
        {
            return new / NANOS_PER_MICRO > old / NANOS_PER_MICRO;
        }
        match self.compare(known) {
            Some(order) => order == Ordering::Greater,
            None => self != known,
        }
    }
}

/// A number to compare a timestamp by; `None` unless it has the usual form.
pub(crate) fn parse_ticks(text: &str) -> Option<CalendarNanos> {
    Some(parse_usual(text)?.0)
}

/// How many digits of a second microseconds have.
const MICROS_DIGITS: u8 = 6;
const NANOS_PER_MICRO: CalendarNanos = 1000;
/// The first year that ticks can express.
const FIRST_YEAR: u64 = 1970;
/// The first year after those that ticks can express: the nanoseconds would overflow.
const END_YEAR: u64 = 2254;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Parses `YYYY-MM-DDThh:mm:ss[.f]Z`. It runs twice per event, and a general parser would take as long as all other
/// work on the event.
fn parse_usual(text: &str) -> Option<(CalendarNanos, u8)> {
    let (time, fraction) = text.as_bytes().split_first_chunk::<19>()?;
    let date = digit_pairs(time.first_chunk()?, const { Form::new(b"0000-00-") })?;
    let day_on = digit_pairs(time[8..].first_chunk()?, const { Form::new(b"00T00:00") })?;
    let clock = digit_pairs(time.last_chunk()?, const { Form::new(b"00:00:00") })?;
    let (year, month) = (
        u64::from(date[0]) * 100 + u64::from(date[2]),
        u64::from(date[5]),
    );
    let (day, hour) = (u64::from(day_on[0]), u64::from(clock[0]));
    let (minute, second) = (u64::from(clock[3]), u64::from(clock[6]));
    let (sub, digits) = match fraction {
        b"Z" => (0, 0),
        [b'.', digits @ .., b'Z'] => (nanos(digits)?, digits.len() as u8),
        _ => return None,
    };
    let possible = (FIRST_YEAR..END_YEAR).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !possible {
        return None;
    }
    let days = ((year - FIRST_YEAR) * 12 + month - 1) * 31 + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some((
        i64::try_from(seconds * NANOS_PER_SECOND + sub).ok()?,
        digits,
    ))
}

/// Parses one to nine digits of a fraction of a second.
#[inline]
fn nanos(digits: &[u8]) -> Option<u64> {
    let (first, last) = match *digits {
        [] => return None,
        [a, b, c, d, e, f, g, h, last] => ([a, b, c, d, e, f, g, h], last),
        _ => {
            let mut first = [b'0'; 8];
            first.get_mut(..digits.len())?.copy_from_slice(digits);
            (first, b'0')
        }
    };
    let pairs = digit_pairs(&first, const { Form::new(b"00000000") })?;
    let pair = |at: usize| u64::from(pairs[at]);
    let last = last.wrapping_sub(b'0');
    let first = ((pair(0) * 100 + pair(2)) * 100 + pair(4)) * 100 + pair(6);
    (last <= 9).then_some(first * 10 + u64::from(last))
}

/// Eight bytes of a timestamp: which of them are digits, and what the others are.
#[derive(Clone, Copy)]
struct Form {
    /// All bits of a byte are set where a digit is.
    is_digit: u64,
    /// The bytes, with `0` for each digit.
    text: u64,
}

impl Form {
    /// The form of this text, where `0` stands for any digit.
    const fn new(text: &[u8; 8]) -> Self {
        let mut is_digit = [0; 8];
        let mut at = 0;
        while at < 8 {
            if text[at] == b'0' {
                is_digit[at] = u8::MAX;
            }
            at += 1;
        }
        Self {
            is_digit: u64::from_le_bytes(is_digit),
            text: u64::from_le_bytes(*text),
        }
    }
}

/// Parses eight bytes of a form. Byte `i` of the result is the number made by the digits `i` and `i + 1`. All eight bytes
/// are handled in one register: no two-digit number is large enough to carry into the next byte.
#[inline]
fn digit_pairs(letters: &[u8; 8], form: Form) -> Option<[u8; 8]> {
    let digits = u64::from_le_bytes(*letters) ^ form.text;
    if digits & !form.is_digit != 0 || (digits | digits.wrapping_add(ABOVE_NINE)) & HIGH_BITS != 0 {
        return None;
    }
    Some((digits * 10 + (digits >> 8)).to_le_bytes())
}

/// Added to a byte, sets its highest bit if the byte is above nine.
const ABOVE_NINE: u64 = u64::from_le_bytes([0x80 - 10; 8]);
/// The highest bit of every byte.
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);

/// Writes what [`parse_usual`] has read.
fn write_usual(ticks: CalendarNanos, digits: usize, out: &mut String) {
    let (seconds, sub) = div_rem::<NANOS_PER_SECOND>(ticks.unsigned_abs());
    let (minutes, second) = div_rem::<60>(seconds);
    let (hours, minute) = div_rem::<60>(minutes);
    let (days, hour) = div_rem::<24>(hours);
    let (months, day) = div_rem::<31>(days);
    let (years, month) = div_rem::<12>(months);
    let mut text = *b"0000-00-00T00:00:00.000000000Z  ";
    write_digits::<4>(&mut text, 0, years + FIRST_YEAR);
    write_digits::<2>(&mut text, 5, month + 1);
    write_digits::<2>(&mut text, 8, day + 1);
    write_digits::<2>(&mut text, 11, hour);
    write_digits::<2>(&mut text, 14, minute);
    write_digits::<2>(&mut text, 17, second);
    write_digits::<9>(&mut text, 20, sub);
    // `2026-01-01T00:00:00` has 19 characters. The point is written only before a digit.
    let keep = match digits {
        0 => 19,
        digits => 20 + digits,
    };
    text[keep] = b'Z';
    let text = str::from_utf8(&text).expect("digits and punctuation are UTF-8");
    out.push_str(&text[..=keep]);
}

/// The quotient and the remainder.
#[inline]
const fn div_rem<const RANGE: u64>(number: u64) -> (u64, u64) {
    (number / RANGE, number % RANGE)
}

/// Writes the last `COUNT` digits of a number.
#[inline]
fn write_digits<const COUNT: usize>(text: &mut [u8; 32], at: usize, mut number: u64) {
    for place in (at..at + COUNT).rev() {
        text[place] = b'0' + (number % 10) as u8;
        number /= 10;
    }
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
            let timestamp = Timestamp::parse(text);
            assert_eq!(timestamp.text(), text);
        }
        assert!(size_of::<Option<Timestamp>>() <= 24);
    }

    #[test]
    fn instants_are_compared_whatever_their_form() {
        let compare = |a, b| Timestamp::parse(a).compare(&Timestamp::parse(b));
        let second = "2026-01-05T10:00:00Z";
        for same in [
            "2026-01-05T10:00:00.0Z",
            "2026-01-05T10:00:00.000000000Z",
            "2026-01-05T12:00:00+02:00",
        ] {
            assert_ne!(Timestamp::parse(second), Timestamp::parse(same));
            assert_eq!(compare(second, same), Some(Ordering::Equal), "{same}");
        }
        for later in [
            "2026-01-05T10:00:00.000000001Z",
            "2026-01-05T11:59:59.9+01:00",
        ] {
            assert_eq!(compare(second, later), Some(Ordering::Less), "{later}");
        }
        assert_eq!(compare(second, "soon"), None);
    }

    #[test]
    fn only_a_later_instant_is_newer() {
        let is_newer = |new, known| Timestamp::parse(new).is_newer_than(&Timestamp::parse(known));
        let known = "2026-01-05T10:00:00.5Z";
        assert!(is_newer("2026-01-05T10:00:00.500001Z", known));
        assert!(!is_newer("2026-01-05T10:00:00.500000000Z", known));
        assert!(!is_newer("2026-01-05T10:00:00Z", known));
        let nanos = "2026-01-05T10:00:00.123456789Z";
        assert!(!is_newer(nanos, "2026-01-05T10:00:00.123456Z"));
        assert!(!is_newer("2026-01-05T10:00:00.123456Z", nanos));
        assert!(is_newer("2026-01-05T10:00:00.123457Z", nanos));
        assert!(is_newer(nanos, "2026-01-05T10:00:00.123455Z"));
        assert!(is_newer("2026-01-05T10:00:00.123456790Z", nanos));
        assert!(is_newer("soon", known) && is_newer(known, "soon"));
        assert!(!is_newer("soon", "soon"));
    }

    proptest! {
        #[test]
        fn what_is_usual_is_kept_without_its_text(seconds in 0i64..8_950_000_000, sub in 0u32..1_000_000_000) {
            let time = DateTime::from_timestamp(seconds, sub).unwrap();
            for form in [SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Nanos] {
                let text = time.to_rfc3339_opts(form, true);
                let timestamp = Timestamp::parse(&text);
                let usual = matches!(timestamp, Timestamp::Parsed { .. });
                prop_assert!(usual);
                prop_assert_eq!(timestamp.text(), text);
            }
        }

        #[test]
        fn the_order_is_that_of_the_calendar(a in 0i64..8_950_000_000_000_000_000, days in -70i64..70, b in -3i64..3) {
            let b = a.saturating_add(days * 86_400_000_000_000).saturating_add(b).max(0);
            let text = |nanos| DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true);
            let (first, second) = (Timestamp::parse(&text(a)), Timestamp::parse(&text(b)));
            prop_assert_eq!(first.compare(&second), Some(a.cmp(&b)));
        }

        #[test]
        fn any_text_comes_back(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,10})?[Zz]?|\\PC{0,30}") {
            prop_assert_eq!(Timestamp::parse(&text).text(), text);
        }
    }
}
