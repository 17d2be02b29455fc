//! `limits`: how many calls the application may make, endpoint by endpoint, and how many of them are left.

use anyhow::Context;
use chrono::DateTime;
use clap::ValueEnum;
use serde::Serialize;

use crate::app::App;
use crate::domain::time::millis;
use crate::exit::Code;
use crate::output::Column;

/// Flags of `limits`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Budgets are per minute, endpoint and platform. Asking needs the API secret, and costs a call of its own budget.

Examples:
  presencectl limits
  presencectl limits --endpoint QueryUsers,UpdateUsersPartial
  presencectl limits --platform web,ios --jq 'select(.remaining * 10 < .limit)'")]
pub struct LimitsArgs {
    /// Only these endpoints, as the service calls them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub endpoint: Vec<String>,

    /// On these platforms
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

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// Servers, and this program with the API secret.
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

    /// The service's word.
    const fn wire_name(self) -> &'static str {
        match self {
            Self::Server => "server_side",
            Self::Web | Self::Ios | Self::Android => self.name(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    platform: &'static str,
    endpoint: &'a str,
    limit: u64,
    remaining: u64,
    reset: Option<String>,
}

/// Asks and prints one record per platform and endpoint.
///
/// # Errors
///
/// The service refuses.
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
    for platform in &args.platform {
        for (endpoint, budget) in budgets.get(platform.wire_name()).into_iter().flatten() {
            rows.push(&Row {
                platform: platform.name(),
                endpoint,
                limit: budget.limit,
                remaining: budget.remaining,
                reset: DateTime::from_timestamp(budget.reset, 0).map(millis),
            })?;
        }
    }
    let shown = rows.written();
    rows.finish()?;
    if shown == 0 {
        app.output().status("no endpoint of that name has a limit.");
    }
    Ok(Code::Ok)
}
