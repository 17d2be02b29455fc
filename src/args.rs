//! The global flags as typed. [`App`](crate::settings::App) resolves them.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::domain::UserId;
use crate::domain::time::parse_duration;
use crate::environment;

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Use this profile from the configuration file
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_PROFILE",
        value_name = "NAME"
    )]
    pub profile: Option<String>,

    /// Read this configuration file instead of the default one
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_CONFIG",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,

    /// Send requests to this address instead of the service (chat.stream-io-api.com)
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_BASE_URL",
        value_name = "URL"
    )]
    pub base_url: Option<String>,

    /// Run against a mock server in this process, with demo data or a fixture file
    #[arg(
        long,
        global = true, hide_short_help = true,
        value_name = "FIXTURE",
        num_args = 0..=1,
        require_equals = true,
        env = "PRESENCECTL_MOCK",
        default_missing_value = ""
    )]
    pub mock: Option<String>,

    /// Act as this user; streams connect as them instead of as the invisible observer
    #[arg(
        long = "as",
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_AS",
        value_name = "USER"
    )]
    pub acting_as: Option<UserId>,

    /// Set the output format; auto is a table on a terminal, NDJSON otherwise
    #[arg(
        short,
        long,
        global = true, hide_short_help = true,
        env = "PRESENCECTL_OUTPUT",
        value_enum,
        default_value_t = FormatArg::Auto,
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "auto|table|json|ndjson|tsv|csv"
    )]
    pub output: FormatArg,

    /// Show only these columns, or fields in JSON; on a complete command, `list` prints the columns
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_COLUMNS",
        value_delimiter = ',',
        value_name = "FIELDS"
    )]
    pub columns: Vec<String>,

    /// Omit the header of tables, TSV and CSV
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_NO_HEADERS",
        value_parser = BoolishValueParser::new()
    )]
    pub no_headers: bool,

    /// Print the results of this jq expression on each record
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_JQ",
        value_name = "EXPR"
    )]
    pub jq: Option<String>,

    /// Stop after this long: a call with its retries (default 30s), or a whole stream
    #[arg(
        long,
        global = true, hide_short_help = true,
        env = "PRESENCECTL_TIMEOUT",
        value_parser = parse_duration,
        value_name = "DUR"
    )]
    pub timeout: Option<Duration>,

    /// Stop trying to connect after this long (default 10s)
    #[arg(
        long,
        global = true, hide_short_help = true,
        env = "PRESENCECTL_CONNECT_TIMEOUT",
        value_parser = parse_duration,
        value_name = "DUR"
    )]
    pub connect_timeout: Option<Duration>,

    /// Retry idempotent calls up to N times (default 3; mock control commands: 0)
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_RETRY",
        value_parser = parse_count,
        value_name = "N"
    )]
    pub retry: Option<u32>,

    /// Print the requests that would change something, and do not send them
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_DRY_RUN",
        value_parser = BoolishValueParser::new()
    )]
    pub dry_run: bool,

    /// Send credentials over plain http to other machines too, such as a mock in a container
    #[arg(
        long,
        global = true,
        env = "PRESENCECTL_ALLOW_HTTP",
        value_parser = BoolishValueParser::new(),
        hide_short_help = true
    )]
    pub allow_http: bool,

    /// Answer yes to confirmations
    #[arg(
        short,
        long,
        global = true,
        hide_short_help = true,
        env = "PRESENCECTL_YES",
        value_parser = BoolishValueParser::new()
    )]
    pub yes: bool,

    /// Print no status and no hints on stderr; -qq prints no warnings either
    #[arg(short, long, global = true, hide_short_help = true, action = ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,

    /// Trace requests and connections on stderr; -vv adds headers and bodies
    #[arg(short, long, global = true, hide_short_help = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Colour tables; auto is on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(
        long,
        global = true, hide_short_help = true,
        env = "PRESENCECTL_COLOR",
        value_enum,
        default_value_t = Colour::Auto,
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "auto|always|never"
    )]
    pub color: Colour,
}

fn parse_count(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "it is not a whole number from 0".to_owned())
}

/// The first words of commands that do not call the service, or that need its address for another purpose.
const COMMANDS_WITHOUT_SERVICE: [&str; 7] = [
    "mock",
    "profile",
    "help",
    "report",
    "schema",
    "man",
    "completions",
];

/// The flags of this run that select the service and the credentials, for the commands in hints.
#[derive(Debug)]
pub struct ServiceFlags(String);

impl ServiceFlags {
    /// The flags in use. Those from the environment are left out, because they still apply to the next command.
    pub fn of(global: &GlobalArgs) -> Self {
        let mut flags = String::new();
        let mut add = |flag: &str, value: &str, variable: &str| {
            if environment::variable(variable).is_none() {
                flags.push_str(flag);
                if !value.is_empty() {
                    flags.push_str(&shlex::try_quote(value).unwrap_or_default());
                }
            }
        };
        if let Some(file) = &global.config {
            add(" --config ", &file.to_string_lossy(), "PRESENCECTL_CONFIG");
        }
        match global.mock.as_deref() {
            Some("") => add(" --mock", "", "PRESENCECTL_MOCK"),
            Some(fixture) => add(" --mock=", fixture, "PRESENCECTL_MOCK"),
            None => {
                if let Some(name) = &global.profile {
                    add(" -p ", name, "PRESENCECTL_PROFILE");
                }
                if let Some(url) = &global.base_url {
                    add(" --base-url ", url, "PRESENCECTL_BASE_URL");
                }
            }
        }
        Self(flags)
    }

    /// Adds the flags to the commands in a hint, so that they work as typed. A command in backquotes is only mentioned.
    pub fn complete(&self, hint: &str) -> String {
        const PROGRAM: &str = "presencectl ";
        let mut parts = hint.split(PROGRAM);
        let mut completed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let name = part.split_whitespace().next().unwrap_or_default();
            let is_mentioned = completed.ends_with('`');
            completed.push_str(PROGRAM.trim_end());
            if !is_mentioned
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && !COMMANDS_WITHOUT_SERVICE.contains(&name)
            {
                completed.push_str(&self.0);
            }
            completed.push(' ');
            completed.push_str(part);
        }
        completed
    }
}

/// The output formats of `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A table on a terminal, NDJSON otherwise.
    Auto,
    /// A table for people; for streams one line per event.
    Table,
    /// One JSON document: an object, or an array.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values by RFC 4180.
    Csv,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_in_hints_get_the_flags_that_select_the_service() {
        let flags = ServiceFlags(" -p prod".to_owned());
        for (hint, completed) in [
            (
                "list users: presencectl query-users; or presencectl get-user a",
                "list users: presencectl -p prod query-users; or presencectl -p prod get-user a",
            ),
            ("set STREAM_API_KEY", "set STREAM_API_KEY"),
            (
                "presencectl profile add x, as `presencectl token create a` says",
                "presencectl profile add x, as `presencectl token create a` says",
            ),
            (
                "presencectl --help lists them",
                "presencectl --help lists them",
            ),
        ] {
            assert_eq!(flags.complete(hint), completed);
        }
    }
}
