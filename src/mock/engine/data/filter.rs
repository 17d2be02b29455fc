//! The service's filter language: parses a filter into a validated tree, and tests rows against it.
//!
//! A filter knows only the names and types of fields. Callers use [`QueryFilter::ids`] and [`QueryFilter::id_range`] to
//! narrow the rows with an index.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Bound;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::mock::error::Rejection;

/// The value of a field of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldValue<'a> {
    /// The field is missing.
    Missing,
    /// Text.
    Text(&'a str),
    /// A boolean.
    Flag(bool),
    /// A number.
    Count(usize),
    /// A time.
    Time(DateTime<Utc>),
    /// A list of strings.
    Texts(Vec<&'a str>),
    /// Custom data of any type.
    Json(&'a Value),
}

/// A row that filters and sorts can read.
pub(crate) trait FilterRow {
    /// The field with this name. Dots reach into custom objects.
    fn field(&self, name: &str) -> FieldValue<'_>;
}

/// The type of a built-in field; `None` for custom data, which can have any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldType {
    /// Text.
    Text,
    /// A boolean.
    Flag,
    /// A number.
    Count,
    /// A time.
    Time,
    /// A list of strings.
    Texts,
}

/// A function that returns the type of a field, or an error if the field cannot be queried.
pub(crate) type FieldSchema = fn(&str) -> Result<Option<FieldType>, Rejection>;

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
enum FilterLiteral {
    Time(DateTime<Utc>),
    Json(Value),
}

#[derive(Debug, Clone, PartialEq)]
enum FilterTest {
    Equal(FilterLiteral),
    NotEqual(FilterLiteral),
    In(LiteralSet),
    NotIn(LiteralSet),
    Compare(FilterComparison, FilterLiteral),
    Exists(bool),
    /// Lower-case prefix.
    Autocomplete(String),
    Contains(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterComparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A set of literals. Strings are hashed, because there can be a million of them.
#[derive(Debug, Clone, PartialEq, Default)]
struct LiteralSet {
    texts: HashSet<String>,
    others: Vec<FilterLiteral>,
}

/// A condition on rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum QueryFilter {
    /// All conditions must hold. An empty list is true.
    All(Vec<Self>),
    /// At least one condition must hold.
    Any(Vec<Self>),
    /// No condition may hold.
    None(Vec<Self>),
    /// A test of one field.
    Field(FieldCondition),
}

/// A test of one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldCondition {
    name: String,
    test: FilterTest,
}

impl QueryFilter {
    /// Parses `filter_conditions`.
    pub(crate) fn parse(
        conditions: &Map<String, Value>,
        schema: FieldSchema,
    ) -> Result<Self, Rejection> {
        let mut all = Vec::with_capacity(conditions.len());
        for (key, value) in conditions {
            all.push(match key.as_str() {
                "$and" => Self::All(branches(key, value, schema)?),
                "$or" => Self::Any(branches(key, value, schema)?),
                "$nor" => Self::None(branches(key, value, schema)?),
                operator if operator.starts_with('$') => {
                    return Err(Rejection::input(format!(
                        "filter_conditions: unknown operator {operator:?}"
                    )));
                }
                name => Self::parse_field(name, value, schema)?,
            });
        }
        Ok(Self::All(all))
    }

    fn parse_field(name: &str, value: &Value, schema: FieldSchema) -> Result<Self, Rejection> {
        let kind = schema(name)?;
        let tests = match value {
            Value::Object(tests) if tests.keys().any(|key| key.starts_with('$')) => tests,
            bare => {
                return Ok(Self::Field(FieldCondition {
                    name: name.to_owned(),
                    test: FilterTest::Equal(literal(name, kind, bare)?),
                }));
            }
        };
        let mut all = Vec::with_capacity(tests.len());
        for (operator, operand) in tests {
            all.push(Self::Field(FieldCondition {
                name: name.to_owned(),
                test: parse_test(name, kind, operator, operand)?,
            }));
        }
        Ok(Self::All(all))
    }

    /// Whether the row matches the condition.
    pub(crate) fn matches(&self, row: &impl FilterRow) -> bool {
        match self {
            Self::All(all) => all.iter().all(|filter| filter.matches(row)),
            Self::Any(any) => any.iter().any(|filter| filter.matches(row)),
            Self::None(none) => !none.iter().any(|filter| filter.matches(row)),
            Self::Field(FieldCondition { name, test }) => test.passes(&row.field(name)),
        }
    }

    /// The strings of which `field` must be one, if the condition implies that; for a list field, it must contain one.
    /// The order is undefined.
    pub(crate) fn ids(&self, field: &str) -> Option<Vec<&str>> {
        match self {
            Self::All(all) => all.iter().find_map(|filter| filter.ids(field)),
            Self::Field(FieldCondition { name, test }) if name == field => match test {
                FilterTest::Equal(FilterLiteral::Json(Value::String(id))) => Some(vec![id]),
                FilterTest::Contains(Value::String(id)) => Some(vec![id]),
                FilterTest::In(LiteralSet { texts, others }) if others.is_empty() => {
                    Some(texts.iter().map(String::as_str).collect())
                }
                // A list equals only a list with the same items, so the rows that contain the first item are enough.
                FilterTest::Equal(FilterLiteral::Json(Value::Array(list))) => {
                    list.first()?.as_str().map(|first| vec![first])
                }
                _ => None,
            },
            Self::Any(_) | Self::None(_) | Self::Field(_) => None,
        }
    }

    /// The fields that the condition tests.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::All(all) | Self::Any(all) | Self::None(all) => {
                all.iter().flat_map(Self::names).collect()
            }
            Self::Field(FieldCondition { name, .. }) => vec![name],
        }
    }

    /// The range of `id` that the condition implies, as far as it does.
    pub(crate) fn id_range(&self) -> (Bound<&str>, Bound<&str>) {
        let mut range = (Bound::Unbounded, Bound::Unbounded);
        self.narrow(&mut range);
        range
    }

    fn narrow<'a>(&'a self, range: &mut (Bound<&'a str>, Bound<&'a str>)) {
        match self {
            Self::All(all) => all.iter().for_each(|filter| filter.narrow(range)),
            Self::Field(FieldCondition {
                name,
                test: FilterTest::Compare(comparison, FilterLiteral::Json(Value::String(id))),
            }) if name == "id" => match comparison {
                FilterComparison::Greater => range.0 = Bound::Excluded(id),
                FilterComparison::GreaterOrEqual => range.0 = Bound::Included(id),
                FilterComparison::Less => range.1 = Bound::Excluded(id),
                FilterComparison::LessOrEqual => range.1 = Bound::Included(id),
            },
            Self::Any(_) | Self::None(_) | Self::Field(_) => {}
        }
    }
}

fn branches(key: &str, value: &Value, schema: FieldSchema) -> Result<Vec<QueryFilter>, Rejection> {
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        return Err(Rejection::input(format!(
            "filter_conditions: {key} needs a list of conditions"
        )));
    };
    list.iter()
        .map(|branch| match branch {
            Value::Object(conditions) => QueryFilter::parse(conditions, schema),
            _ => Err(Rejection::input(format!(
                "filter_conditions: {key} needs a list of conditions"
            ))),
        })
        .collect()
}

fn parse_test(
    name: &str,
    kind: Option<FieldType>,
    operator: &str,
    operand: &Value,
) -> Result<FilterTest, Rejection> {
    let needs = |what: &str| {
        Rejection::input(format!(
            "filter_conditions: {operator} on field {name:?} needs {what}"
        ))
    };
    let set = |operand: &Value| {
        let Value::Array(list) = operand else {
            return Err(needs("a list"));
        };
        let mut set = LiteralSet::default();
        for item in list {
            match literal(name, kind, item)? {
                FilterLiteral::Json(Value::String(text)) => {
                    set.texts.insert(text);
                }
                other => set.others.push(other),
            }
        }
        Ok(set)
    };
    let compare = |comparison| match literal(name, kind, operand)? {
        FilterLiteral::Json(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(needs("a text, a number or a time"))
        }
        literal => Ok(FilterTest::Compare(comparison, literal)),
    };
    if kind.is_none() && matches!(operator, "$ne" | "$nin") {
        return Err(Rejection::input(format!(
            "operator {operator} is not supported for custom fields"
        )));
    }
    Ok(match operator {
        "$eq" => FilterTest::Equal(literal(name, kind, operand)?),
        "$ne" => FilterTest::NotEqual(literal(name, kind, operand)?),
        "$in" => FilterTest::In(set(operand)?),
        "$nin" => FilterTest::NotIn(set(operand)?),
        "$gt" => compare(FilterComparison::Greater)?,
        "$gte" => compare(FilterComparison::GreaterOrEqual)?,
        "$lt" => compare(FilterComparison::Less)?,
        "$lte" => compare(FilterComparison::LessOrEqual)?,
        "$exists" => FilterTest::Exists(operand.as_bool().ok_or_else(|| needs("true or false"))?),
        "$autocomplete" => match operand {
            Value::String(prefix) if !prefix.is_empty() => {
                FilterTest::Autocomplete(prefix.to_lowercase())
            }
            _ => return Err(needs("a non-empty text")),
        },
        "$contains" => match kind {
            None | Some(FieldType::Texts) => FilterTest::Contains(operand.clone()),
            Some(FieldType::Text | FieldType::Flag | FieldType::Count | FieldType::Time) => {
                return Err(needs("a field that holds a list"));
            }
        },
        _ => {
            return Err(Rejection::input(format!(
                "filter_conditions: unknown operator {operator:?} on field {name:?}"
            )));
        }
    })
}

fn literal(name: &str, kind: Option<FieldType>, value: &Value) -> Result<FilterLiteral, Rejection> {
    let wrong = |what: &str| {
        Err(Rejection::input(format!(
            "filter_conditions: field {name:?} is compared with {}, and needs {what}",
            brief(value)
        )))
    };
    match (kind, value) {
        (_, Value::Null) => Ok(FilterLiteral::Json(Value::Null)),
        (Some(FieldType::Time), Value::String(text)) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(FilterLiteral::Time(time.to_utc())),
            Err(_) => wrong("a time (RFC 3339)"),
        },
        (Some(FieldType::Time), _) => wrong("a time (RFC 3339)"),
        (Some(FieldType::Text), Value::String(_))
        | (Some(FieldType::Flag), Value::Bool(_))
        | (Some(FieldType::Count), Value::Number(_))
        | (Some(FieldType::Texts), Value::String(_) | Value::Array(_))
        | (None, _) => Ok(FilterLiteral::Json(value.clone())),
        (Some(FieldType::Text), _) => Err(Rejection::input(format!(
            "filter_conditions: field {name:?} expects type string"
        ))),
        (Some(FieldType::Flag), _) => wrong("true or false"),
        (Some(FieldType::Count), _) => wrong("a number"),
        (Some(FieldType::Texts), _) => wrong("a text or a list of texts"),
    }
}

/// A value for an error message: the whole value if it is short.
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

impl FilterTest {
    fn passes(&self, field: &FieldValue<'_>) -> bool {
        match self {
            Self::Equal(literal) => equal(field, literal),
            Self::NotEqual(literal) => !equal(field, literal),
            Self::In(set) => set.holds(field),
            Self::NotIn(set) => !set.holds(field),
            Self::Compare(comparison, literal) => {
                compare(field, literal).is_some_and(|order| match comparison {
                    FilterComparison::Greater => order.is_gt(),
                    FilterComparison::GreaterOrEqual => order.is_ge(),
                    FilterComparison::Less => order.is_lt(),
                    FilterComparison::LessOrEqual => order.is_le(),
                })
            }
            Self::Exists(wanted) => {
                let there = !matches!(field, FieldValue::Missing | FieldValue::Json(Value::Null));
                there == *wanted
            }
            Self::Autocomplete(prefix) => match field {
                FieldValue::Text(text) => any_word_starts_with(text, prefix),
                FieldValue::Texts(texts) => {
                    texts.iter().any(|text| any_word_starts_with(text, prefix))
                }
                FieldValue::Json(Value::String(text)) => any_word_starts_with(text, prefix),
                _ => false,
            },
            Self::Contains(value) => match field {
                FieldValue::Texts(texts) => {
                    value.as_str().is_some_and(|text| texts.contains(&text))
                }
                FieldValue::Json(Value::Array(list)) => list.contains(value),
                _ => false,
            },
        }
    }
}

/// Whether a word of `text` starts with a lower-case prefix, ignoring case. The prefix may span several words.
fn any_word_starts_with(text: &str, prefix: &str) -> bool {
    let mut before = None;
    text.char_indices().any(|(at, c)| {
        let is_start = before.is_none_or(|before: char| !before.is_alphanumeric());
        before = Some(c);
        is_start && starts_with(&text[at..], prefix)
    })
}

fn starts_with(text: &str, prefix: &str) -> bool {
    let mut lower = text.chars().flat_map(char::to_lowercase);
    prefix.chars().all(|c| lower.next() == Some(c))
}

impl LiteralSet {
    fn holds(&self, field: &FieldValue<'_>) -> bool {
        let text = match field {
            FieldValue::Text(text) => Some(*text),
            FieldValue::Json(Value::String(text)) => Some(text.as_str()),
            FieldValue::Texts(texts) => {
                return texts.iter().any(|text| self.texts.contains(*text))
                    || self.others.iter().any(|other| equal(field, other));
            }
            FieldValue::Json(Value::Array(list)) => {
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

fn equal(field: &FieldValue<'_>, literal: &FilterLiteral) -> bool {
    match (field, literal) {
        (FieldValue::Missing, FilterLiteral::Json(Value::Null)) => true,
        (FieldValue::Time(time), FilterLiteral::Time(other)) => time == other,
        (FieldValue::Text(text), FilterLiteral::Json(Value::String(other))) => text == other,
        (FieldValue::Flag(flag), FilterLiteral::Json(Value::Bool(other))) => flag == other,
        (FieldValue::Texts(texts), FilterLiteral::Json(Value::String(other))) => {
            texts.contains(&other.as_str())
        }
        (FieldValue::Texts(texts), FilterLiteral::Json(Value::Array(others))) => {
            let others: HashSet<&str> = others.iter().filter_map(Value::as_str).collect();
            texts.len() == others.len() && texts.iter().all(|text| others.contains(text))
        }
        (FieldValue::Json(Value::Number(a)), FilterLiteral::Json(Value::Number(b))) => {
            a == b || a.as_f64() == b.as_f64()
        }
        (FieldValue::Json(value), FilterLiteral::Json(other)) => *value == other,
        (FieldValue::Count(_), _) => compare(field, literal) == Some(Ordering::Equal),
        _ => false,
    }
}

fn compare(field: &FieldValue<'_>, literal: &FilterLiteral) -> Option<Ordering> {
    match (field, literal) {
        (FieldValue::Time(time), FilterLiteral::Time(other)) => Some(time.cmp(other)),
        (FieldValue::Text(text), FilterLiteral::Json(Value::String(other))) => {
            Some((*text).cmp(other))
        }
        (FieldValue::Json(Value::String(text)), FilterLiteral::Json(Value::String(other))) => {
            Some(text.cmp(other))
        }
        (FieldValue::Json(Value::Number(a)), FilterLiteral::Json(Value::Number(b))) => {
            a.as_f64()?.partial_cmp(&b.as_f64()?)
        }
        (FieldValue::Count(count), FilterLiteral::Json(Value::Number(other))) => {
            let count = f64::from(u32::try_from(*count).ok()?);
            count.partial_cmp(&other.as_f64()?)
        }
        _ => None,
    }
}

/// The custom field at a dotted path. A key that contains the dots itself takes precedence.
pub(crate) fn custom<'a>(custom: &'a Map<String, Value>, path: &str) -> FieldValue<'a> {
    if let Some(value) = custom.get(path) {
        return FieldValue::Json(value);
    }
    let mut steps = path.split('.');
    let mut value = steps.next().and_then(|step| custom.get(step));
    for step in steps {
        value = value.and_then(|value| value.get(step));
    }
    value.map_or(FieldValue::Missing, FieldValue::Json)
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use serde_json::json;

    use super::*;

    struct FilterTestRow(Map<String, Value>);

    impl FilterRow for FilterTestRow {
        fn field(&self, name: &str) -> FieldValue<'_> {
            match name {
                "id" => self.0["id"]
                    .as_str()
                    .map_or(FieldValue::Missing, FieldValue::Text),
                "teams" => FieldValue::Texts(vec!["red", "blue"]),
                "born" => FieldValue::Time(DateTime::from_timestamp(100, 0).unwrap()),
                "member_count" => FieldValue::Count(3),
                other => custom(&self.0, other),
            }
        }
    }

    fn schema(name: &str) -> Result<Option<FieldType>, Rejection> {
        Ok(match name {
            "id" => Some(FieldType::Text),
            "teams" => Some(FieldType::Texts),
            "born" => Some(FieldType::Time),
            "member_count" => Some(FieldType::Count),
            _ => None,
        })
    }

    fn parse(filter: &Value) -> Result<QueryFilter, Rejection> {
        QueryFilter::parse(filter.as_object().unwrap(), schema)
    }

    fn matches(filter: &Value) -> bool {
        let row = json!({"id": "john", "age": 30, "size": 1.5, "title": "Node Test User 2", "tags": ["a", "b"], "deep": {"er": {"x": "Y"}}, "none": null});
        parse(filter)
            .unwrap()
            .matches(&FilterTestRow(row.as_object().unwrap().clone()))
    }

    #[test]
    fn fuzz_filters() {
        use crate::fuzz::{self, FuzzTarget};
        use crate::mock::engine::data::{channel_view, member_view, user_view};
        const FIELDS: &[(&str, &str)] = &[
            ("id", r#"{"$in":["john","amy"]}"#),
            ("id", r#"{"$gt":"a","$lte":"k"}"#),
            (
                "$and",
                r#"[{"id":"john"},{"$or":[{"age":{"$gte":30}},{"title":{"$autocomplete":"test"}}]}]"#,
            ),
            ("$nor", r#"[{"born":{"$lt":"2026-01-05T10:00:00Z"}}]"#),
            ("teams", r#"{"$contains":"red"}"#),
            ("teams", r#"["red","blue"]"#),
            ("born", r#"{"$exists":true}"#),
            ("member_count", r#"{"$ne":3}"#),
            ("deep.er", r#"{"$nin":[{"x":"Y"},1,null]}"#),
            ("members", r#"{"$in":["john"]}"#),
            ("last_active", r#"{"$gte":"2026-01-05T10:00:00Z"}"#),
            ("joined", "true"),
        ];
        const WORDS: &[&str] = &[
            "$and",
            "$or",
            "$nor",
            "$eq",
            "$ne",
            "$gt",
            "$gte",
            "$lt",
            "$lte",
            "$in",
            "$nin",
            "$exists",
            "$contains",
            "$autocomplete",
            "$q",
            "$",
            "id",
            "name",
            "teams",
            "born",
            "member_count",
            "deep.er",
            "created_at",
            "cid",
            "type",
            "members",
            "online",
            "john",
            "",
        ];
        let target = FuzzTarget {
            name: "filters",
            inputs: 5000,
            generate: |rng| fuzz::object(rng, WORDS, FIELDS),
            words: WORDS,
        };
        let row = json!({"id": "john", "age": 30, "title": "Node Test User 2", "deep": {"er": {"x": "Y"}}});
        let row = FilterTestRow(row.as_object().unwrap().clone());
        target.run(|text| {
            let Ok(Value::Object(conditions)) = serde_json::from_str(text) else {
                return;
            };
            for schema in [
                schema,
                user_view::schema,
                channel_view::schema,
                member_view::schema,
            ] {
                match QueryFilter::parse(&conditions, schema) {
                    Ok(filter) => {
                        let selected = filter.matches(&row);
                        if let Some(ids) = filter.ids("id") {
                            assert!(!selected || ids.contains(&"john"), "{ids:?}");
                        }
                        let range = filter.id_range();
                        let holds = RangeBounds::<str>::contains(&range, "john");
                        assert!(!selected || holds, "{range:?}");
                        assert!(filter.names().len() <= text.len());
                    }
                    Err(reject) => assert_eq!((reject.status, reject.code), (400, 4), "{reject:?}"),
                }
            }
        });
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
            (json!({"title": {"$autocomplete": "test u"}}), true),
            (json!({"title": {"$autocomplete": "2"}}), true),
            (json!({"teams": {"$autocomplete": "BL"}}), true),
            (json!({"age": 30.0}), true),
            (json!({"age": {"$gt": 29.5}}), true),
            (json!({"age": {"$gt": "29"}}), false),
            (json!({"age": {"$in": [1, 30]}}), true),
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
            json!({"color": {"$ne": "red"}}),
            json!({"color": {"$nin": ["red"]}}),
        ] {
            assert_eq!(parse(&filter).unwrap_err().code, 4, "{filter}");
        }
    }

    #[test]
    fn index_requests_follow_from_the_filter() {
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
