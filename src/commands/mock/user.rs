//! `mock user` and `mock trigger`: people without a client, and events that nothing has caused.

use std::str::FromStr;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::control::{call, change};
use crate::app::App;
use crate::domain::{Cid, User, UserId};
use crate::exit::{Code, Failure};

/// What a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserAction {
    /// Open a connection of its own.
    Connect,
    /// Close its connections politely.
    Disconnect,
    /// Lose all its connections.
    Drop,
    /// Change its fields.
    Set,
}

/// Flags of `mock user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
connect     opens a connection without a client: the user is online until it is closed
disconnect  closes those connections politely: offline at once
drop        loses all of the user's connections, those of clients too, as in a tunnel: their sockets end without a
            word, and the user is offline once the silence is noticed (60 s by the mock's clock)
set         changes fields: true, false, numbers and other JSON as such, everything else as text; NAME= removes one

Examples:
  presencectl mock user john connect
  presencectl mock user john set invisible=true status='at lunch' color=
  presencectl mock user john drop && presencectl mock clock advance 1m")]
pub struct UserArgs {
    /// Who
    pub id: UserId,

    /// What happens: connect, disconnect, drop or set
    #[arg(
        value_enum,
        hide_possible_values = true,
        value_name = "connect|disconnect|drop|set"
    )]
    pub action: UserAction,

    /// Fields for set, NAME=VALUE
    #[arg(value_name = "NAME=VALUE")]
    pub fields: Vec<FieldAssignment>,
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAssignment {
    name: String,
    value: Option<Value>,
}

impl FromStr for FieldAssignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| "write NAME=VALUE".to_owned())?;
        Ok(Self {
            name: name.to_owned(),
            value: (!value.is_empty())
                .then(|| serde_json::from_str(value).unwrap_or_else(|_| value.into())),
        })
    }
}

/// Lets a user come, go, or change.
///
/// # Errors
///
/// There is no server, or it is no mock, or it does not know the user.
pub(super) async fn user(app: &App, args: &UserArgs) -> anyhow::Result<Code> {
    let action = match args.action {
        UserAction::Connect => "connect",
        UserAction::Disconnect => "disconnect",
        UserAction::Drop => "drop",
        UserAction::Set => return set(app, args).await,
    };
    if !args.fields.is_empty() {
        return Err(Failure::new(Code::Usage, format!("{action} takes no fields")).into());
    }
    let path = format!("users/{}/{action}", args.id);
    call(app, "POST", &path, Some(json!({}))).await
}

async fn set(app: &App, args: &UserArgs) -> anyhow::Result<Code> {
    if args.fields.is_empty() {
        return Err(Failure::new(Code::Usage, "there is nothing to set")
            .hinted("presencectl mock user john set status='at lunch' invisible=true")
            .into());
    }
    let (mut set, mut unset) = (Map::new(), Vec::new());
    for field in &args.fields {
        match &field.value {
            Some(value) => {
                set.insert(field.name.clone(), value.clone());
            }
            None => unset.push(field.name.clone()),
        }
    }
    let path = format!("users/{}/set", args.id);
    let body = json!({"set": set, "unset": unset});
    let Some(user) = change(app, "POST", &path, Some(body)).await? else {
        return Ok(Code::Ok);
    };
    let mut rows = app.output().users(app.now())?.one();
    rows.push_user(&User::new(user))?;
    rows.finish()?;
    Ok(Code::Ok)
}

/// Flags of `mock trigger`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["kind", "event", "text"])),
    group(clap::ArgGroup::new("whom").required(true).multiple(true).args(["to", "subscribers", "channel", "connection"])),
    after_help = "\
The event is sent as it is; nothing in the mock's world changes. `created_at`, and for a channel its names, are added
where they are missing.

Examples:
  presencectl mock trigger custom.ping --to john --set n=1
  presencectl mock trigger --event '{\"type\":\"user.presence.changed\",\"user\":{\"id\":\"john\",\"online\":true}}' --subscribers john
  presencectl mock trigger --text 'no JSON at all' --connection 5f3c…"
)]
pub struct TriggerArgs {
    /// The event's type
    #[arg(value_name = "TYPE")]
    pub kind: Option<String>,

    /// A field of the event, NAME=VALUE (can be repeated)
    #[arg(long, value_name = "NAME=VALUE", requires = "kind")]
    pub set: Vec<FieldAssignment>,

    /// The whole event instead, as JSON
    #[arg(long, value_name = "JSON")]
    pub event: Option<String>,

    /// A text instead that need not be an event
    #[arg(long)]
    pub text: Option<String>,

    /// Send it to all connections of this user
    #[arg(long, value_name = "ID")]
    pub to: Option<UserId>,

    /// Send it to all connections that hear of this user's presence
    #[arg(long, value_name = "ID")]
    pub subscribers: Option<UserId>,

    /// Send it to all connections that watch this channel
    #[arg(long, value_name = "CID")]
    pub channel: Option<Cid>,

    /// Send it to this connection
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
}

/// Sends an event out of thin air.
///
/// # Errors
///
/// The event is none; there is no server, or it is no mock, or it does not know whom the event is for.
pub(super) async fn trigger(app: &App, args: &TriggerArgs) -> anyhow::Result<Code> {
    let mut body = Map::new();
    let mut tell = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(text) = &args.text {
        tell("text", text.clone().into());
    } else {
        tell("event", event(args)?.into());
    }
    if let Some(user) = &args.to {
        tell("user", user.as_str().into());
    }
    if let Some(user) = &args.subscribers {
        tell("subscribers", user.as_str().into());
    }
    if let Some(channel) = &args.channel {
        tell("channel", channel.to_string().into());
    }
    if let Some(connection) = &args.connection {
        tell("connection", connection.clone().into());
    }
    call(app, "POST", "trigger", Some(body.into())).await
}

fn event(args: &TriggerArgs) -> Result<Map<String, Value>, Failure> {
    if let Some(text) = &args.event {
        return serde_json::from_str(text).map_err(|error| {
            Failure::new(Code::Usage, format!("--event is no JSON object: {error}"))
        });
    }
    let mut event = Map::new();
    event.insert("type".to_owned(), args.kind.clone().into());
    for field in &args.set {
        event.insert(field.name.clone(), field.value.clone().into());
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_where_it_can_be() {
        let value = |text: &str| text.parse::<FieldAssignment>().unwrap().value;
        assert_eq!(value("a=true"), Some(json!(true)));
        assert_eq!(value("a=7"), Some(json!(7)));
        assert_eq!(value("a=at lunch"), Some(json!("at lunch")));
        assert_eq!(value("a=x=y"), Some(json!("x=y")));
        assert_eq!(value("a=\"7\""), Some(json!("7")));
        assert_eq!(value("a={\"b\":[1]}"), Some(json!({"b": [1]})));
        assert_eq!(value("a="), None);
        assert!("a".parse::<FieldAssignment>().is_err());
        assert!("=a".parse::<FieldAssignment>().is_err());
    }
}
