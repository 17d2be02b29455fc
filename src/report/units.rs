//! Times and durations as they appear in records.

use chrono::DateTime;
use serde::{Serialize, Serializer};

use crate::domain::time::Millis;
use crate::domain::time::millis;

/// A time in RFC 3339, UTC, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Millis);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        serializer.serialize_str(&millis(time))
    }
}

/// A duration in seconds, with a fraction only if there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Millis);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

impl Seconds {
    /// As a number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of a million years fit into a double"
    )]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// A ratio with four digits; `None` if the whole is zero.
pub fn ratio(part: Millis, whole: Millis) -> Option<f64> {
    (whole > 0).then(|| (Seconds(part).as_f64() / Seconds(whole).as_f64() * 1e6).round() / 1e6)
}
