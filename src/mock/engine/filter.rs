//! The service's filter language: read once into a tree that cannot be wrong any more, then asked row by row.
//!
//! A filter knows fields by name and kind only. What rows there are, and which of them need not be looked at because
//! an index knows better, is decided elsewhere, from [`Filter::ids`] and [`Filter::id_range`].

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Bound;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::error::Reject;

/// What a field of a row is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    /// Not there.
    Missing,
    /// Text.
    Text(&'a str),
    /// A boolean.
    Flag(bool),
    /// A count.
    Count(usize),
    /// A time.
    Time(DateTime<Utc>),
    /// A list of texts.
    Texts(Vec<&'a str>),
    /// Custom data.
    Json(&'a Value),
}

/// Something that a filter or a sort can look at.
pub(crate) trait Row {
    /// The field of a name; dots reach into custom objects.
    fn field(&self, name: &str) -> Field<'_>;
}

/// What a built-in field holds; `None` for custom data, which may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A boolean.
    Flag,
    /// A count.
    Count,
    /// A time.
    Time,
    /// A list of texts.
    Texts,
}

/// What fields there are: the kind of a built-in one, or a refusal for one that cannot be asked for.
pub(crate) type Schema = fn(&str) -> Result<Option<Kind>, Reject>;

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Time(DateTime<Utc>),
    Json(Value),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(Literal),
    NotEqual(Literal),
    In(Set),
    NotIn(Set),
    Compare(Comparison, Literal),
    Exists(bool),
    /// Lower-case prefix.
    Autocomplete(String),
    Contains(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A set of literals. Texts, which may be a million, are hashed.
#[derive(Debug, Clone, PartialEq, Default)]
struct Set {
    texts: HashSet<String>,
    others: Vec<Literal>,
}

/// A condition on rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// All of them; none is true.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
    /// None of them.
    None(Vec<Self>),
    /// One test of one field.
    Field(FieldTest),
}

/// One test of one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldTest {
    name: String,
    test: Test,
}

impl Filter {
    /// Reads `filter_conditions`.
    pub(crate) fn parse(conditions: &Map<String, Value>, schema: Schema) -> Result<Self, Reject> {
        let mut all = Vec::with_capacity(conditions.len());
        for (key, value) in conditions {
            all.push(match key.as_str() {
                "$and" => Self::All(branches(key, value, schema)?),
                "$or" => Self::Any(branches(key, value, schema)?),
                "$nor" => Self::None(branches(key, value, schema)?),
                operator if operator.starts_with('$') => {
                    return Err(Reject::input(format!(
                        "filter_conditions: unknown operator {operator:?}"
                    )));
                }
                name => Self::parse_field(name, value, schema)?,
            });
        }
        Ok(Self::All(all))
    }

    fn parse_field(name: &str, value: &Value, schema: Schema) -> Result<Self, Reject> {
        let kind = schema(name)?;
        let tests = match value {
            Value::Object(tests) if tests.keys().any(|key| key.starts_with('$')) => tests,
            bare => {
                return Ok(Self::Field(FieldTest {
                    name: name.to_owned(),
                    test: Test::Equal(literal(name, kind, bare)?),
                }));
            }
        };
        let mut all = Vec::with_capacity(tests.len());
        for (operator, operand) in tests {
            all.push(Self::Field(FieldTest {
                name: name.to_owned(),
                test: parse_test(name, kind, operator, operand)?,
            }));
        }
        Ok(Self::All(all))
    }

    /// Whether the row fulfils the condition.
    pub(crate) fn matches(&self, row: &impl Row) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.matches(row)),
            Self::Any(any) => any.iter().any(|filter| filter.matches(row)),
            Self::None(none) => !none.iter().any(|filter| filter.matches(row)),
            Self::Field(FieldTest { name, test }) => test.passes(&row.field(name)),
        }
    }

    /// Texts of which `field` must be one (or, for a list, hold one), where the condition says so; unordered.
    pub(crate) fn ids(&self, field: &str) -> Option<Vec<&str>> {
        match self {
            Self::All(all) => all.iter().find_map(|filter| filter.ids(field)),
            Self::Field(FieldTest { name, test }) if name == field => match test {
                Test::Equal(Literal::Json(Value::String(id))) => Some(vec![id]),
                Test::Contains(Value::String(id)) => Some(vec![id]),
                Test::In(Set { texts, others }) if others.is_empty() => {
                    Some(texts.iter().map(String::as_str).collect())
                }
                // A list equals only a list with the same members: looking at those who have the first is enough.
                Test::Equal(Literal::Json(Value::Array(list))) => {
                    list.first()?.as_str().map(|first| vec![first])
                }
                _ => None,
            },
            Self::Any(_) | Self::None(_) | Self::Field(_) => None,
        }
    }

    /// The fields that the condition is about.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::All(all) | Self::Any(all) | Self::None(all) => {
                all.iter().flat_map(Self::names).collect()
            }
            Self::Field(FieldTest { name, .. }) => vec![name],
        }
    }

    /// The range that `id` must be in, as far as the condition says so.
    pub(crate) fn id_range(&self) -> (Bound<&str>, Bound<&str>) {
        let mut range = (Bound::Unbounded, Bound::Unbounded);
        self.narrow(&mut range);
        range
    }

    fn narrow<'a>(&'a self, range: &mut (Bound<&'a str>, Bound<&'a str>)) {
        match self {
            Self::All(all) => all.iter().for_each(|filter| filter.narrow(range)),
            Self::Field(FieldTest {
                name,
                test: Test::Compare(comparison, Literal::Json(Value::String(id))),
            }) if name == "id" => match comparison {
                Comparison::Greater => range.0 = Bound::Excluded(id),
                Comparison::GreaterOrEqual => range.0 = Bound::Included(id),
                Comparison::Less => range.1 = Bound::Excluded(id),
                Comparison::LessOrEqual => range.1 = Bound::Included(id),
            },
            Self::Any(_) | Self::None(_) | Self::Field(_) => {}
        }
    }
}

fn branches(key: &str, value: &Value, schema: Schema) -> Result<Vec<Filter>, Reject> {
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        return Err(Reject::input(format!(
            "filter_conditions: {key} needs a list of conditions"
        )));
    };
    list.iter()
        .map(|branch| match branch {
            Value::Object(conditions) => Filter::parse(conditions, schema),
            _ => Err(Reject::input(format!(
                "filter_conditions: {key} needs a list of conditions"
            ))),
        })
        .collect()
}

fn parse_test(
    name: &str,
    kind: Option<Kind>,
    operator: &str,
    operand: &Value,
) -> Result<Test, Reject> {
    let needs = |what: &str| {
        Reject::input(format!(
            "filter_conditions: {operator} on field {name:?} needs {what}"
        ))
    };
    let set = |operand: &Value| {
        let Value::Array(list) = operand else {
            return Err(needs("a list"));
        };
        let mut set = Set::default();
        for item in list {
            match literal(name, kind, item)? {
                Literal::Json(Value::String(text)) => {
                    set.texts.insert(text);
                }
                other => set.others.push(other),
            }
        }
        Ok(set)
    };
    let compare = |comparison| match literal(name, kind, operand)? {
        Literal::Json(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(needs("a text, a number or a time"))
        }
        literal => Ok(Test::Compare(comparison, literal)),
    };
    Ok(match operator {
        "$eq" => Test::Equal(literal(name, kind, operand)?),
        "$ne" => Test::NotEqual(literal(name, kind, operand)?),
        "$in" => Test::In(set(operand)?),
        "$nin" => Test::NotIn(set(operand)?),
        "$gt" => compare(Comparison::Greater)?,
        "$gte" => compare(Comparison::GreaterOrEqual)?,
        "$lt" => compare(Comparison::Less)?,
        "$lte" => compare(Comparison::LessOrEqual)?,
        "$exists" => Test::Exists(operand.as_bool().ok_or_else(|| needs("true or false"))?),
        "$autocomplete" => match operand {
            Value::String(prefix) if !prefix.is_empty() => {
                Test::Autocomplete(prefix.to_lowercase())
            }
            _ => return Err(needs("a non-empty text")),
        },
        "$contains" => match kind {
            None | Some(Kind::Texts) => Test::Contains(operand.clone()),
            Some(Kind::Text | Kind::Flag | Kind::Count | Kind::Time) => {
                return Err(needs("a field that holds a list"));
            }
        },
        _ => {
            return Err(Reject::input(format!(
                "filter_conditions: unknown operator {operator:?} on field {name:?}"
            )));
        }
    })
}

fn literal(name: &str, kind: Option<Kind>, value: &Value) -> Result<Literal, Reject> {
    let wrong = |what: &str| {
        Err(Reject::input(format!(
            "filter_conditions: field {name:?} is compared with {}, and needs {what}",
            brief(value)
        )))
    };
    match (kind, value) {
        (_, Value::Null) => Ok(Literal::Json(Value::Null)),
        (Some(Kind::Time), Value::String(text)) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(Literal::Time(time.to_utc())),
            Err(_) => wrong("a time (RFC 3339)"),
        },
        (Some(Kind::Time), _) => wrong("a time (RFC 3339)"),
        (Some(Kind::Text), Value::String(_))
        | (Some(Kind::Flag), Value::Bool(_))
        | (Some(Kind::Count), Value::Number(_))
        | (Some(Kind::Texts), Value::String(_) | Value::Array(_))
        | (None, _) => Ok(Literal::Json(value.clone())),
        (Some(Kind::Text), _) => wrong("a text"),
        (Some(Kind::Flag), _) => wrong("true or false"),
        (Some(Kind::Count), _) => wrong("a number"),
        (Some(Kind::Texts), _) => wrong("a text or a list of texts"),
    }
}

/// A value as a message shows it: whole if short.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > 64 => {
            format!("{:?}…", text.chars().take(64).collect::<String>())
        }
        other => other.to_string(),
    }
}

impl Test {
    fn passes(&self, field: &Field<'_>) -> bool {
        match self {
            Self::Equal(literal) => equal(field, literal),
            Self::NotEqual(literal) => !equal(field, literal),
            Self::In(set) => set.holds(field),
            Self::NotIn(set) => !set.holds(field),
            Self::Compare(comparison, literal) => {
                compare(field, literal).is_some_and(|order| match comparison {
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                })
            }
            Self::Exists(wanted) => {
                let there = !matches!(field, Field::Missing | Field::Json(Value::Null));
                there == *wanted
            }
            Self::Autocomplete(prefix) => match field {
                Field::Text(text) => starts_with(text, prefix),
                Field::Json(Value::String(text)) => starts_with(text, prefix),
                _ => false,
            },
            Self::Contains(value) => match field {
                Field::Texts(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
                Field::Json(Value::Array(list)) => list.contains(value),
                _ => false,
            },
        }
    }
}

/// Whether `text`, case ignored, starts with a lower-case prefix.
fn starts_with(text: &str, prefix: &str) -> bool {
    let mut lower = text.chars().flat_map(char::to_lowercase);
    prefix.chars().all(|c| lower.next() == Some(c))
}

impl Set {
    fn holds(&self, field: &Field<'_>) -> bool {
        let text = match field {
            Field::Text(text) => Some(*text),
            Field::Json(Value::String(text)) => Some(text.as_str()),
            Field::Texts(texts) => {
                return texts.iter().any(|text| self.texts.contains(*text))
                    || self.others.iter().any(|other| equal(field, other));
            }
            Field::Json(Value::Array(list)) => {
                let overlap = list
                    .iter()
                    .any(|item| item.as_str().is_some_and(|text| self.texts.contains(text)));
                return overlap || self.others.iter().any(|other| equal(field, other));
            }
            _ => None,
        };
        text.map_or_else(
            || self.others.iter().any(|other| equal(field, other)),
            |text| self.texts.contains(text),
        )
    }
}

fn equal(field: &Field<'_>, literal: &Literal) -> bool {
    match (field, literal) {
        (Field::Missing, Literal::Json(Value::Null)) => true,
        (Field::Time(time), Literal::Time(other)) => time == other,
        (Field::Text(text), Literal::Json(Value::String(other))) => text == other,
        (Field::Flag(flag), Literal::Json(Value::Bool(other))) => flag == other,
        (Field::Texts(texts), Literal::Json(Value::String(other))) => {
            texts.contains(&other.as_str())
        }
        (Field::Texts(texts), Literal::Json(Value::Array(others))) => {
            let others: HashSet<&str> = others.iter().filter_map(Value::as_str).collect();
            texts.len() == others.len() && texts.iter().all(|text| others.contains(text))
        }
        (Field::Json(Value::Number(a)), Literal::Json(Value::Number(b))) => {
            a == b || a.as_f64() == b.as_f64()
        }
        (Field::Json(value), Literal::Json(other)) => *value == other,
        (Field::Count(_), _) => compare(field, literal) == Some(Ordering::Equal),
        _ => false,
    }
}

fn compare(field: &Field<'_>, literal: &Literal) -> Option<Ordering> {
    match (field, literal) {
        (Field::Time(time), Literal::Time(other)) => Some(time.cmp(other)),
        (Field::Text(text), Literal::Json(Value::String(other))) => Some((*text).cmp(other)),
        (Field::Json(Value::String(text)), Literal::Json(Value::String(other))) => {
            Some(text.cmp(other))
        }
        (Field::Json(Value::Number(a)), Literal::Json(Value::Number(b))) => {
            a.as_f64()?.partial_cmp(&b.as_f64()?)
        }
        (Field::Count(count), Literal::Json(Value::Number(other))) => {
            let count = f64::from(u32::try_from(*count).ok()?);
            count.partial_cmp(&other.as_f64()?)
        }
        _ => None,
    }
}

/// The custom field of a dotted path; a key that itself holds the dots is preferred.
pub(crate) fn custom<'a>(custom: &'a Map<String, Value>, path: &str) -> Field<'a> {
    if let Some(value) = custom.get(path) {
        return Field::Json(value);
    }
    let mut steps = path.split('.');
    let mut value = steps.next().and_then(|step| custom.get(step));
    for step in steps {
        value = value.and_then(|value| value.get(step));
    }
    value.map_or(Field::Missing, Field::Json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Fake(Map<String, Value>);

    impl Row for Fake {
        fn field(&self, name: &str) -> Field<'_> {
            match name {
                "id" => self.0["id"].as_str().map_or(Field::Missing, Field::Text),
                "teams" => Field::Texts(vec!["red", "blue"]),
                "born" => Field::Time(DateTime::from_timestamp(100, 0).unwrap()),
                "member_count" => Field::Count(3),
                other => custom(&self.0, other),
            }
        }
    }

    fn schema(name: &str) -> Result<Option<Kind>, Reject> {
        Ok(match name {
            "id" => Some(Kind::Text),
            "teams" => Some(Kind::Texts),
            "born" => Some(Kind::Time),
            "member_count" => Some(Kind::Count),
            _ => None,
        })
    }

    fn parse(filter: &Value) -> Result<Filter, Reject> {
        Filter::parse(filter.as_object().unwrap(), schema)
    }

    fn matches(filter: &Value) -> bool {
        let row = json!({"id": "john", "age": 30, "size": 1.5, "tags": ["a", "b"], "deep": {"er": {"x": "Y"}}, "none": null});
        parse(filter)
            .unwrap()
            .matches(&Fake(row.as_object().unwrap().clone()))
    }

    #[test]
    fn every_operator() {
        for (filter, expected) in [
            (json!({}), true),
            (json!({"id": "john"}), true),
            (json!({"id": {"$eq": "jack"}}), false),
            (json!({"id": {"$ne": "jack"}}), true),
            (json!({"id": {"$in": ["jack", "john"]}}), true),
            (json!({"id": {"$nin": ["jack", "john"]}}), false),
            (json!({"id": {"$gt": "jo", "$lt": "jp"}}), true),
            (json!({"id": {"$gte": "john", "$lte": "john"}}), true),
            (json!({"id": {"$autocomplete": "JO"}}), true),
            (json!({"id": {"$autocomplete": "ohn"}}), false),
            (json!({"age": 30.0}), true),
            (json!({"age": {"$gt": 29.5}}), true),
            (json!({"age": {"$gt": "29"}}), false),
            (json!({"age": {"$in": [1, 30]}}), true),
            (json!({"absent": {"$ne": 1}}), true),
            (json!({"absent": {"$exists": false}}), true),
            (json!({"absent": null}), true),
            (json!({"none": {"$exists": false}}), true),
            (json!({"tags": {"$contains": "b"}}), true),
            (json!({"tags": {"$contains": "c"}}), false),
            (json!({"tags": ["a", "b"]}), true),
            (json!({"teams": {"$contains": "red"}}), true),
            (json!({"teams": {"$in": ["green", "blue"]}}), true),
            (json!({"teams": ["blue", "red"]}), true),
            (json!({"teams": ["blue"]}), false),
            (json!({"deep.er.x": "Y"}), true),
            (
                json!({"born": {"$gte": "1970-01-01T00:01:40Z", "$lt": "1970-01-01T00:01:40.000000001Z"}}),
                true,
            ),
            (json!({"member_count": {"$gte": 3}}), true),
            (json!({"$or": [{"id": "jack"}, {"age": 30}]}), true),
            (json!({"$and": [{"id": "john"}, {"age": 31}]}), false),
            (json!({"$nor": [{"id": "jack"}, {"age": 31}]}), true),
        ] {
            assert_eq!(matches(&filter), expected, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_code_4() {
        for filter in [
            json!({"id": {"$in": "john"}}),
            json!({"id": {"$foo": 1}}),
            json!({"$foo": []}),
            json!({"$or": []}),
            json!({"$and": {"id": 1}}),
            json!({"$or": [1]}),
            json!({"id": {"$autocomplete": ""}}),
            json!({"id": 7}),
            json!({"born": "yesterday"}),
            json!({"id": {"$exists": "yes"}}),
            json!({"age": {"$gt": [1]}}),
            json!({"id": {"$contains": "j"}}),
        ] {
            assert_eq!(parse(&filter).unwrap_err().code, 4, "{filter}");
        }
    }

    #[test]
    fn indexes_are_told_what_they_need() {
        let filter = parse(&json!({"age": 1, "$and": [{"id": {"$in": ["a", "b"]}}]})).unwrap();
        let mut ids = filter.ids("id").unwrap();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(
            parse(&json!({"$or": [{"id": "a"}, {"age": 1}]}))
                .unwrap()
                .ids("id"),
            None
        );
        let range = parse(&json!({"id": {"$gt": "m", "$lte": "n"}})).unwrap();
        assert_eq!(
            range.id_range(),
            (Bound::Excluded("m"), Bound::Included("n"))
        );
    }
}
