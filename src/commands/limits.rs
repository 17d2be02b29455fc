//! `limits`: the rate limits of each endpoint, and how many calls are left.

use anyhow::Context;
use chrono::DateTime;
use clap::ValueEnum;
use serde::Serialize;

use crate::domain::time::millis;
use crate::exit::Code;
use crate::output::Column;
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Limits are per minute, endpoint and platform; the most used come first. Reading them needs the API secret and is a call
with a limit of its own.

Examples:
  presencectl limits
  presencectl limits --endpoint QueryUsers,UpdateUsersPartial
  presencectl limits --platform web,ios --jq 'select(.remaining * 10 < .limit)'")]
pub struct LimitsArgs {
    /// Only these endpoints, such as QueryUsers (comma-separated)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub endpoint: Vec<String>,

    /// Platforms: server, web, ios, android
    #[arg(
        long,
        value_enum,
        value_name = "server|web|ios|android",
        hide_possible_values = true,
        value_delimiter = ',',
        default_value = "server"
    )]
    pub platform: Vec<Platform>,
}

/// A platform. Each has its own rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// Servers, such as this program with the API secret.
    Server,
    /// Browsers.
    Web,
    /// iOS applications.
    Ios,
    /// Android applications.
    Android,
}

impl Platform {
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Web => "web",
            Self::Ios => "ios",
            Self::Android => "android",
        }
    }

    /// The platform's name in the service's responses.
    const fn wire_name(self) -> &'static str {
        match self {
            Self::Server => "server_side",
            Self::Web | Self::Ios | Self::Android => self.name(),
        }
    }
}

#[derive(Debug, Serialize)]
struct LimitRow<'a> {
    platform: &'static str,
    endpoint: &'a str,
    limit: u64,
    remaining: u64,
    reset: Option<String>,
}

/// Prints a record for each platform and endpoint.
///
/// # Errors
///
/// The service refuses the request.
pub async fn run(app: &App, args: &LimitsArgs) -> anyhow::Result<Code> {
    let columns = ["platform", "endpoint", "limit", "remaining", "reset"].map(Column::plain);
    let mut rows = app.output().rows(&columns)?;
    let client = app.client().await?;
    let platforms: Vec<&str> = args
        .platform
        .iter()
        .map(|platform| platform.wire_name())
        .collect();
    let budgets = client
        .rate_limits(&platforms, &args.endpoint)
        .await
        .context("cannot read the rate limits")?;
    let mut listed: Vec<_> = args
        .platform
        .iter()
        .flat_map(|platform| {
            let limits = budgets.get(platform.wire_name()).into_iter().flatten();
            limits.map(|(endpoint, budget)| (platform.name(), endpoint, budget))
        })
        .collect();
    // The limits that are closest to being reached come first.
    listed.sort_by(|(.., a), (.., b)| b.used_share().total_cmp(&a.used_share()));
    for (platform, endpoint, budget) in listed {
        rows.push(&LimitRow {
            platform,
            endpoint,
            limit: budget.limit,
            remaining: budget.remaining,
            reset: DateTime::from_timestamp(budget.reset, 0).map(millis),
        })?;
    }
    let shown = rows.written();
    rows.finish()?;
    if shown == 0 {
        app.output()
            .status("no endpoint with that name has a limit.");
    }
    Ok(Code::Ok)
}
