//! Sort keys and pages of queries.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::mock::engine::data::filter::{FieldValue, FilterRow};
use crate::mock::error::Rejection;

/// How many keys a sort may have.
const MAX_SORT_KEYS: usize = 5;

/// A sort key as received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SortParam {
    field: String,
    #[serde(default)]
    direction: Option<i64>,
}

/// A validated sort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SortOrder(Vec<(String, bool)>);

impl SortOrder {
    /// Validates the keys.
    pub(crate) fn parse(params: &[SortParam]) -> Result<Self, Rejection> {
        if params.len() > MAX_SORT_KEYS {
            return Err(Rejection::input(format!(
                "sort: at most {MAX_SORT_KEYS} fields are allowed"
            )));
        }
        params
            .iter()
            .map(|param| {
                let descending = match param.direction {
                    None | Some(1) => false,
                    Some(-1) => true,
                    Some(other) => {
                        return Err(Rejection::input(format!(
                            "sort: the direction of field {:?} must be 1 or -1, not {other}",
                            param.field
                        )));
                    }
                };
                if param.field.is_empty() {
                    return Err(Rejection::input("sort: a field has no name"));
                }
                Ok((param.field.clone(), descending))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there are no keys.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Some(descending)` if this field is the first key. Correct only for unique fields, because later keys are
    /// ignored.
    pub(crate) fn is_by(&self, field: &str) -> Option<bool> {
        self.0
            .first()
            .filter(|(name, _)| name == field)
            .map(|(_, descending)| *descending)
    }

    /// Compares two rows. Missing values come last in both directions.
    pub(crate) fn compare(&self, a: &impl FilterRow, b: &impl FilterRow) -> Ordering {
        for (field, descending) in &self.0 {
            let (a, b) = (a.field(field), b.field(field));
            let order = match (is_missing(&a), is_missing(&b)) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let order = compare(&a, &b);
                    if *descending { order.reverse() } else { order }
                }
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

const fn is_missing(field: &FieldValue<'_>) -> bool {
    matches!(field, FieldValue::Missing | FieldValue::Json(Value::Null))
}

fn compare(a: &FieldValue<'_>, b: &FieldValue<'_>) -> Ordering {
    match (a, b) {
        (FieldValue::Text(a), FieldValue::Text(b)) => a.cmp(b),
        (FieldValue::Flag(a), FieldValue::Flag(b)) => a.cmp(b),
        (FieldValue::Count(a), FieldValue::Count(b)) => a.cmp(b),
        (FieldValue::Time(a), FieldValue::Time(b)) => a.cmp(b),
        (FieldValue::Texts(a), FieldValue::Texts(b)) => a.cmp(b),
        (FieldValue::Json(a), FieldValue::Json(b)) => match (a, b) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => a
                .as_f64()
                .partial_cmp(&b.as_f64())
                .unwrap_or(Ordering::Equal),
            (a, b) => rank(a).cmp(&rank(b)),
        },
        _ => Ordering::Equal,
    }
}

/// The rank of a type: custom data of different types is grouped by type.
const fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// Validates a page: a limit up to `max` (`default` if there is none) and an offset up to `max_offset`.
pub(crate) fn page(
    limit: Option<i64>,
    offset: Option<i64>,
    default: usize,
    max: usize,
    max_offset: usize,
) -> Result<(usize, usize), Rejection> {
    let check = |name: &str, value: Option<i64>, default: usize, max: usize| match value {
        None => Ok(default),
        Some(value) => usize::try_from(value)
            .ok()
            .filter(|value| *value <= max)
            .ok_or_else(|| {
                Rejection::field(name, &format!("must be between 0 and {max}, not {value}"))
            }),
    };
    Ok((
        check("limit", limit, default, max)?,
        check("offset", offset, 0, max_offset)?,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::mock::engine::data::filter::custom;

    struct SortTestRow(Map<String, Value>);

    impl FilterRow for SortTestRow {
        fn field(&self, name: &str) -> FieldValue<'_> {
            custom(&self.0, name)
        }
    }

    fn sort(value: Value) -> Result<SortOrder, Rejection> {
        SortOrder::parse(&serde_json::from_value::<Vec<SortParam>>(value).unwrap())
    }

    #[test]
    fn missing_values_come_last_in_both_directions() {
        let rows = [json!({"n": 2}), json!({}), json!({"n": 10})];
        let mut rows: Vec<SortTestRow> = rows
            .iter()
            .map(|row| SortTestRow(row.as_object().unwrap().clone()))
            .collect();
        let order = |rows: &[SortTestRow]| -> Vec<Value> {
            rows.iter()
                .map(|row| row.0.get("n").cloned().unwrap_or_default())
                .collect()
        };
        let up = sort(json!([{"field": "n"}])).unwrap();
        rows.sort_by(|a, b| up.compare(a, b));
        assert_eq!(order(&rows), [json!(2), json!(10), Value::Null]);
        let down = sort(json!([{"field": "n", "direction": -1}])).unwrap();
        rows.sort_by(|a, b| down.compare(a, b));
        assert_eq!(order(&rows), [json!(10), json!(2), Value::Null]);
    }

    #[test]
    fn limits_are_the_services() {
        let six: Vec<Value> = (0..6).map(|n| json!({"field": format!("f{n}")})).collect();
        assert!(sort(Value::Array(six)).is_err());
        assert!(sort(json!([{"field": "a", "direction": 2}])).is_err());
        assert_eq!(page(None, None, 30, 100, 1000), Ok((30, 0)));
        assert_eq!(page(Some(100), Some(1000), 30, 100, 1000), Ok((100, 1000)));
        assert!(page(Some(101), None, 30, 100, 1000).is_err());
        assert!(page(Some(-1), None, 30, 100, 1000).is_err());
        assert!(page(None, Some(1001), 30, 100, 1000).is_err());
    }
}
