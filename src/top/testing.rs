//! Records for the tests of `top`.

use chrono::DateTime;
use serde_json::Value;

use super::replay;
use super::state::TopState;
use crate::domain::record::Record;
use crate::domain::time::millis;

/// A time in records, this many seconds after 1970.
pub(super) fn at(second: i64) -> String {
    millis(DateTime::from_timestamp(second, 0).unwrap())
}

/// The record of a line.
pub(super) fn record_of(line: &str) -> Record<'_> {
    replay::parse(line).unwrap()
}

/// Applies records.
pub(super) fn apply(state: &mut TopState, records: &[Value]) {
    for record in records {
        state.apply(&record_of(&record.to_string()));
    }
}
