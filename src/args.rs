//! The global flags, as typed. [`App`](crate::app::App) decides what they mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::domain::UserId;
use crate::domain::time::parse_duration;

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Use this profile of the configuration file
    #[arg(
        short,
        long,
        global = true,
        env = "PRESENCECTL_PROFILE",
        value_name = "NAME"
    )]
    pub profile: Option<String>,

    /// Read this configuration file instead of the default one
    #[arg(long, global = true, env = "PRESENCECTL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Talk to this address instead of the vendor's (chat.stream-io-api.com)
    #[arg(long, global = true, env = "PRESENCECTL_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,

    /// Run against a mock server inside this process, with a small demonstration world or a fixture file
    #[arg(
        long,
        global = true,
        value_name = "FIXTURE",
        num_args = 0..=1,
        require_equals = true,
        env = "PRESENCECTL_MOCK",
        default_missing_value = ""
    )]
    pub mock: Option<String>,

    /// Act as this user; for streams: connect as this user instead of the invisible observer
    #[arg(
        long = "as",
        global = true,
        env = "PRESENCECTL_AS",
        value_name = "USER"
    )]
    pub acting_as: Option<UserId>,

    /// Write results in this format; auto is a table on a terminal and NDJSON otherwise
    #[arg(
        short,
        long,
        global = true,
        env = "PRESENCECTL_OUTPUT",
        value_enum,
        default_value_t = Format::Auto,
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "auto|table|json|ndjson|tsv|csv"
    )]
    pub output: Format,

    /// Show these columns in tables, TSV and CSV, and keep only these fields in JSON (`list` shows what there is)
    #[arg(
        long,
        global = true,
        env = "PRESENCECTL_COLUMNS",
        value_delimiter = ',',
        value_name = "A,B"
    )]
    pub columns: Vec<String>,

    /// Leave the header out of tables, TSV and CSV
    #[arg(long, global = true)]
    pub no_headers: bool,

    /// Pass every record through this jq expression
    #[arg(long, global = true, value_name = "EXPR")]
    pub jq: Option<String>,

    /// Give up after this long: a call, with its retries; or a stream, as a whole
    #[arg(
        long,
        global = true,
        env = "PRESENCECTL_TIMEOUT",
        value_parser = parse_duration,
        value_name = "DUR"
    )]
    pub timeout: Option<Duration>,

    /// Give up making a connection after this long (default 10s)
    #[arg(
        long,
        global = true,
        env = "PRESENCECTL_CONNECT_TIMEOUT",
        value_parser = parse_duration,
        value_name = "DUR"
    )]
    pub connect_timeout: Option<Duration>,

    /// Repeat a safe call at most this often (default 3)
    #[arg(long, global = true, env = "PRESENCECTL_RETRY", value_name = "N")]
    pub retry: Option<u32>,

    /// Print what would be sent, and send nothing that changes anything
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Answer confirmations with yes
    #[arg(short, long, global = true)]
    pub yes: bool,

    /// Say less: no status and hints; -qq leaves out warnings too
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,

    /// Say more: requests and connection changes; -vv adds their details, never a secret
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Colour tables: auto is on a terminal without NO_COLOR
    #[arg(
        long,
        global = true,
        env = "PRESENCECTL_COLOR",
        value_enum,
        default_value_t = Colour::Auto,
        hide_default_value = true,
        hide_possible_values = true,
        value_name = "auto|always|never"
    )]
    pub color: Colour,
}

/// Output formats as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table on a terminal, NDJSON otherwise.
    Auto,
    /// A table for people; for streams one line per event.
    Table,
    /// One JSON document: an object, or an array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Tab-separated values.
    Tsv,
    /// Comma-separated values by RFC 4180.
    Csv,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
