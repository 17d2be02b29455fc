//! Time zones: UTC offsets, days that start at local midnight, and local times as text.
//!
//! Zones come from the system's database, which the system keeps up to date and which costs no space in the program.

use std::fmt;

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveTime, Offset, TimeZone, Utc};

use crate::domain::time::Millis;

/// Milliseconds of an hour.
pub(super) const HOUR: Millis = 3_600_000;
/// Milliseconds of a day of 24 hours.
pub(super) const DAY: Millis = 24 * HOUR;

/// A time zone.
#[derive(Debug, Clone, Default)]
pub enum Zone {
    /// The machine's local zone.
    #[default]
    Local,
    /// A fixed offset.
    Fixed(FixedOffset),
    /// A zone of the system's database.
    Named(String, tz::TimeZone),
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self::Fixed(Utc.fix())
    }

    /// Parses `local`, `UTC`, an offset such as `+02:00`, or a name such as `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// The system's database has no zone with that name.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "local" => return Ok(Self::Local),
            "UTC" | "utc" | "Z" => return Ok(Self::utc()),
            _ => {}
        }
        if let Ok(offset) = text.parse() {
            return Ok(Self::Fixed(offset));
        }
        let is_name = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte));
        let zone = is_name
            .then(|| tz::TimeZone::from_posix_tz(text).ok())
            .flatten();
        match zone {
            Some(zone) => Ok(Self::Named(text.to_owned(), zone)),
            None => Err(format!(
                "there is no time zone `{text}` on this system; write a name such as Europe/Berlin, an offset such as \
                 +02:00, UTC or local"
            )),
        }
    }

    /// The offset from UTC at a time.
    pub fn offset(&self, at: Millis) -> FixedOffset {
        let seconds = at.div_euclid(1000);
        match self {
            Self::Local => match DateTime::from_timestamp(seconds, 0) {
                Some(time) => time.with_timezone(&Local).offset().fix(),
                None => Utc.fix(),
            },
            Self::Fixed(offset) => *offset,
            Self::Named(_, zone) => zone
                .find_local_time_type(seconds)
                .ok()
                .and_then(|local| FixedOffset::east_opt(local.ut_offset()))
                .unwrap_or(Utc.fix()),
        }
    }

    /// A time with the zone's offset at that time.
    pub fn time(&self, at: Millis) -> DateTime<FixedOffset> {
        let offset = self.offset(at);
        offset.from_utc_datetime(
            &DateTime::from_timestamp_millis(at)
                .unwrap_or_default()
                .naive_utc(),
        )
    }

    /// The local time of day in milliseconds.
    pub(super) fn time_of_day(&self, at: Millis) -> Millis {
        (at + self.offset_millis(at)).rem_euclid(DAY)
    }

    /// The start of the local day that contains a time, and of the next day.
    pub(super) fn day(&self, at: Millis) -> (Millis, Millis) {
        let date = self.time(at).date_naive();
        let next = date.succ_opt().unwrap_or(date);
        (self.midnight(date), self.midnight(next))
    }

    /// The start of a day. If the clocks change at midnight, it is not always 00:00.
    fn midnight(&self, date: NaiveDate) -> Millis {
        let naive = date.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let (before, after) = (
            self.offset_millis(naive - DAY),
            self.offset_millis(naive + DAY),
        );
        let candidates = [naive - before.max(after), naive - before.min(after)];
        let is_midnight = |at: &Millis| at + self.offset_millis(*at) == naive;
        candidates
            .into_iter()
            .find(is_midnight)
            .unwrap_or(naive - before)
    }

    fn offset_millis(&self, at: Millis) -> Millis {
        Millis::from(self.offset(at).local_minus_utc()) * 1000
    }

    /// The offsets in a span, each with the time from which it is valid, for programs without a zone database.
    pub(super) fn offsets(&self, from: Millis, to: Millis) -> Vec<(Millis, Millis)> {
        let mut offsets = vec![(from, self.offset_millis(from))];
        let mut at = from;
        while at < to {
            let next = (at + DAY).min(to);
            let (old, new) = (self.offset_millis(at), self.offset_millis(next));
            if old != new {
                // Finds the second of each change.
                let (mut low, mut high) = (at, next);
                while high - low > 1000 {
                    let middle = low + (high - low) / 2;
                    if self.offset_millis(middle) == old {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                offsets.push((high.div_euclid(1000) * 1000, new));
            }
            at = next;
        }
        offsets
    }

    /// Round times of day in a span, for an axis with this much room.
    pub(super) fn ticks(&self, from: Millis, to: Millis, room: usize) -> AxisTicks {
        const STEPS: [Millis; 16] = [
            1000,
            5000,
            15_000,
            60_000,
            5 * 60_000,
            15 * 60_000,
            HOUR / 2,
            HOUR,
            2 * HOUR,
            3 * HOUR,
            6 * HOUR,
            12 * HOUR,
            DAY,
            2 * DAY,
            7 * DAY,
            28 * DAY,
        ];
        let room = Millis::try_from(room.max(1)).unwrap_or(1);
        let step = STEPS
            .into_iter()
            .find(|step| (to - from) / step <= room)
            .unwrap_or((to - from) / room / DAY * DAY + DAY);
        let mut at = Vec::new();
        if step >= DAY {
            let days = step / DAY;
            let (mut midnight, mut next) = self.day(from);
            let mut day = 0;
            while midnight <= to {
                if midnight >= from {
                    if day % days == 0 {
                        at.push(midnight);
                    }
                    day += 1;
                }
                (midnight, next) = self.day(next);
                if next <= midnight {
                    break;
                }
            }
        } else {
            // Offsets are multiples of a quarter of an hour.
            let stride = step.min(HOUR / 4);
            let mut time = from.div_euclid(stride) * stride;
            while time <= to {
                if time >= from && self.time_of_day(time) % step == 0 {
                    at.push(time);
                }
                time += stride;
            }
        }
        AxisTicks { at, step }
    }

    /// The label of a tick.
    pub(super) fn tick_label(&self, at: Millis, step: Millis) -> String {
        let time = self.time(at);
        if step >= DAY || self.time_of_day(at) == 0 {
            time.format("%b %-d").to_string()
        } else if step >= 60_000 {
            time.format("%H:%M").to_string()
        } else {
            time.format("%H:%M:%S").to_string()
        }
    }
}

/// The ticks of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AxisTicks {
    pub(super) at: Vec<Millis>,
    pub(super) step: Millis,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local time"),
            Self::Fixed(offset) if offset.local_minus_utc() == 0 => f.write_str("UTC"),
            Self::Fixed(offset) => write!(f, "UTC{offset}"),
            Self::Named(name, _) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis()
    }

    #[test]
    fn days_are_as_long_as_the_clocks_say() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (within, start, hours) in [
            ("2026-03-28T12:00:00Z", "2026-03-28T00:00:00+01:00", 24),
            ("2026-03-29T12:00:00Z", "2026-03-29T00:00:00+01:00", 23),
            ("2026-10-25T12:00:00Z", "2026-10-25T00:00:00+02:00", 25),
            ("2026-10-24T21:59:59Z", "2026-10-24T00:00:00+02:00", 24),
        ] {
            let (from, to) = berlin.day(at(within));
            assert_eq!(from, at(start), "{within}");
            assert_eq!((to - from) / HOUR, hours, "{within}");
        }
        // The clocks of Santiago go forward at midnight.
        let santiago = Zone::parse("America/Santiago").unwrap();
        let (from, to) = santiago.day(at("2026-09-06T12:00:00Z"));
        assert_eq!((from, (to - from) / HOUR), (at("2026-09-06T04:00:00Z"), 23));
    }

    #[test]
    fn a_change_of_the_clocks_is_found_to_the_second() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let offsets = berlin.offsets(at("2026-03-28T00:30:00Z"), at("2026-03-30T00:00:00Z"));
        assert_eq!(
            offsets,
            [
                (at("2026-03-28T00:30:00Z"), HOUR),
                (at("2026-03-29T01:00:00Z"), 2 * HOUR)
            ]
        );
    }

    #[test]
    fn ticks_are_round_on_the_wall_clock() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let (from, to) = (at("2026-03-28T22:10:00Z"), at("2026-03-29T09:00:00Z"));
        let ticks = berlin.ticks(from, to, 12);
        let labels: Vec<String> = ticks
            .at
            .iter()
            .map(|at| berlin.tick_label(*at, ticks.step))
            .collect();
        assert_eq!(
            labels,
            [
                "Mar 29", "01:00", "03:00", "04:00", "05:00", "06:00", "07:00", "08:00", "09:00",
                "10:00", "11:00"
            ]
        );
        assert_eq!(berlin.ticks(from, from + 90 * DAY, 10).step, 28 * DAY);
    }

    #[test]
    fn zones_are_named_or_refused() {
        for (text, shown) in [
            ("UTC", "UTC"),
            ("+05:30", "UTC+05:30"),
            ("local", "local time"),
        ] {
            assert_eq!(Zone::parse(text).unwrap().to_string(), shown);
        }
        for wrong in ["Nowhere/City", "", "../etc/passwd", ":/etc/localtime"] {
            assert!(Zone::parse(wrong).is_err(), "{wrong}");
        }
    }
}
