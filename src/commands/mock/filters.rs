//! The filters that `mock log` and `mock expect` share.

use chrono::{DateTime, Utc};
use clap::builder::NonEmptyStringValueParser;

use crate::domain::time::{millis, parse_time};

/// Flags that select requests.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FilterArgs {
    /// Match only requests with this method
    #[arg(long, value_name = "METHOD", value_parser = NonEmptyStringValueParser::new())]
    pub method: Option<String>,

    /// Match only requests with this path; * matches any text
    #[arg(long, value_name = "GLOB", value_parser = NonEmptyStringValueParser::new())]
    pub path: Option<String>,

    /// Match only requests and sockets of this user; * matches any text
    #[arg(long, value_name = "GLOB", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,

    /// Match only requests with this status, or a class of statuses such as 4xx
    #[arg(long, value_name = "CODE", value_parser = NonEmptyStringValueParser::new())]
    pub status: Option<String>,

    /// Match only what happened since this time on the mock's clock
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<String>,

    /// Match only requests for whose body this jq expression is true
    #[arg(long, value_name = "EXPR", value_parser = NonEmptyStringValueParser::new())]
    pub body: Option<String>,
}

impl FilterArgs {
    /// The filters that were given, by their names in the control API.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &str)> {
        [
            ("method", &self.method),
            ("path", &self.path),
            ("user", &self.user),
            ("status", &self.status),
            ("since", &self.since),
            ("body", &self.body),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect()
    }
}

/// Checks a time. A duration ago stays as it is, because it counts on the mock's clock.
fn parse_since(text: &str) -> Result<String, String> {
    let time = parse_time(text, DateTime::<Utc>::MAX_UTC)?;
    let is_absolute = text.parse::<i64>().is_ok();
    Ok(if is_absolute {
        millis(time)
    } else {
        text.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::parse_since;

    #[test]
    fn unix_seconds_become_a_time_and_durations_stay() {
        assert_eq!(parse_since("0").unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse_since("15m").unwrap(), "15m");
        assert!(parse_since("soon").is_err());
    }
}
