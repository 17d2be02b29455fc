//! `watch channels`: follow all members of the channels that a filter finds.

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::commands::watch::StreamArgs;
use crate::domain::{ChannelType, UserId};
use crate::events::WatchTarget;
use crate::exit::Code;
use crate::stream::follow;

/// Flags of `watch channels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The filter is asked when the stream begins and after every reconnect; channels that match later are not noticed in
between.

Examples:
  presencectl watch channels --filter '{\"color\":\"green\"}'
  presencectl watch channels --member john -e 'user.watching.*'")]
pub struct WatchChannelsArgs {
    /// Only channels that match this filter, in the service's language
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub filter: Option<Map<String, Value>>,

    /// Only channels of this type
    #[arg(long = "type", value_name = "T")]
    pub channel_type: Option<ChannelType>,

    /// Only channels that this user is a member of
    #[arg(long, value_name = "ID")]
    pub member: Option<UserId>,

    /// The stream's own flags
    #[command(flatten)]
    pub stream: StreamArgs,
}

fn parse_filter(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("not a JSON object: {error}; an example is '{{\"type\":\"messaging\"}}'")
    })
}

/// Follows the channels.
///
/// # Errors
///
/// The stream could not begin, or was lost.
pub async fn run(app: &App, args: WatchChannelsArgs) -> anyhow::Result<Code> {
    let target = WatchTarget {
        matching: Some(filter(&args)),
        ..WatchTarget::default()
    };
    follow(app, &args.stream, target).await
}

fn filter(args: &WatchChannelsArgs) -> Map<String, Value> {
    let mut parts: Vec<Value> = Vec::new();
    if let Some(filter) = args.filter.as_ref().filter(|filter| !filter.is_empty()) {
        parts.push(Value::Object(filter.clone()));
    }
    if let Some(channel_type) = &args.channel_type {
        parts.push(json!({ "type": { "$eq": channel_type } }));
    }
    if let Some(member) = &args.member {
        parts.push(json!({ "members": { "$in": [member] } }));
    }
    match parts.as_slice() {
        [] => Map::new(),
        [Value::Object(only)] => only.clone(),
        _ => Map::from_iter([("$and".to_owned(), Value::Array(parts))]),
    }
}
