//! Builds the service's JSON filter of a query from the flags on the command line.

use serde_json::{Map, Value, json};

use crate::domain::{ChannelType, UserId};

/// Flags that select channels.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChannelFilterArgs {
    /// Only channels that match this filter, in Stream's filter syntax
    #[arg(long, value_name = "JSON", value_parser = parse_channel_filter)]
    pub filter: Option<Map<String, Value>>,

    /// Only channels of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub channel_type: Option<ChannelType>,

    /// Only channels that this user is a member of
    #[arg(long, value_name = "ID")]
    pub member: Option<UserId>,

    /// Only channels of this team (multi-tenant applications)
    #[arg(long, value_name = "TEAM", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub team: Option<String>,
}

impl ChannelFilterArgs {
    /// The filter that the flags describe.
    pub fn to_filter(&self) -> Map<String, Value> {
        all_of([
            self.filter.clone().map(Value::Object),
            self.channel_type
                .as_ref()
                .map(|channel_type| json!({ "type": { "$eq": channel_type } })),
            self.member
                .as_ref()
                .map(|member| json!({ "members": { "$in": [member] } })),
            self.team
                .as_ref()
                .map(|team| json!({ "team": { "$eq": team } })),
        ])
    }
}

/// Combines filters into one that matches what all of them match. Empty filters match everything.
pub fn all_of(filters: impl IntoIterator<Item = Option<Value>>) -> Map<String, Value> {
    let is_restrictive = |filter: &Value| *filter != Value::Object(Map::new());
    let mut filters: Vec<Value> = filters
        .into_iter()
        .flatten()
        .filter(is_restrictive)
        .collect();
    match (filters.len(), filters.pop()) {
        (0 | 1, None) => Map::new(),
        (1, Some(Value::Object(only))) => only,
        (_, last) => {
            filters.extend(last);
            Map::from_iter([("$and".to_owned(), Value::Array(filters))])
        }
    }
}

/// Parses `--filter` of users.
///
/// # Errors
///
/// The text is not a JSON object, or it filters by presence.
pub fn parse_user_filter(text: &str) -> Result<Map<String, Value>, String> {
    let filter = parse_filter(text, r#"{"role":"admin"}"#)?;
    for (field, flags) in [
        ("online", "--online or --offline"),
        ("invisible", "--invisible-only"),
    ] {
        if names_field(&filter, field) {
            return Err(format!(
                "the service cannot filter by `{field}`; use {flags}"
            ));
        }
    }
    Ok(filter)
}

fn parse_channel_filter(text: &str) -> Result<Map<String, Value>, String> {
    parse_filter(text, r#"{"type":"messaging"}"#)
}

fn parse_filter(text: &str, example: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not a JSON object: {error}; an example is '{example}'"))
}

/// Whether a filter has a condition on a field, also inside `$and`, `$or` and `$nor`.
fn names_field(filter: &Map<String, Value>, field: &str) -> bool {
    filter.iter().any(|(name, condition)| match condition {
        Value::Array(parts) if name.starts_with('$') => parts
            .iter()
            .filter_map(Value::as_object)
            .any(|part| names_field(part, field)),
        _ => name == field,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_flags_are_joined() {
        let filter = |args: ChannelFilterArgs| Value::Object(args.to_filter());
        assert_eq!(filter(ChannelFilterArgs::default()), json!({}));
        let args = ChannelFilterArgs {
            channel_type: Some("livestream".parse().unwrap()),
            ..ChannelFilterArgs::default()
        };
        assert_eq!(filter(args.clone()), json!({"type": {"$eq": "livestream"}}));
        let args = ChannelFilterArgs {
            filter: Some(Map::from_iter([("color".to_owned(), json!("green"))])),
            member: Some("john".parse().unwrap()),
            team: Some("red".to_owned()),
            ..args
        };
        assert_eq!(
            filter(args),
            json!({"$and": [
                {"color": "green"},
                {"type": {"$eq": "livestream"}},
                {"members": {"$in": ["john"]}},
                {"team": {"$eq": "red"}},
            ]})
        );
    }

    #[test]
    fn presence_is_no_filter_of_the_service() {
        for text in [
            r#"{"online":true}"#,
            r#"{"$or":[{"role":"x"},{"$and":[{"invisible":true}]}]}"#,
        ] {
            assert!(
                parse_user_filter(text)
                    .unwrap_err()
                    .contains("cannot filter by")
            );
        }
        for text in [r#"{"role":"online"}"#, r#"{"x.online":true}"#, "{}"] {
            assert!(parse_user_filter(text).is_ok(), "{text}");
        }
    }
}
