//! `mock user` and `mock trigger`: act for a user without a client, and send events of your own.

use std::str::FromStr;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::control::{call, change};
use crate::commands::fields::split_assignment;
use crate::domain::{Cid, User, UserId};
use crate::exit::{Code, Failure};
use crate::settings::App;

/// What to do with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserAction {
    /// Open a virtual connection.
    Connect,
    /// Close the virtual connections.
    Disconnect,
    /// Lose all connections.
    Drop,
    /// Change fields.
    Set,
}

/// Flags of `mock user`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
connect     open a virtual connection: the user is online until it is closed
disconnect  close the virtual connections: the user is offline at once
drop        lose all connections of the user, also those of clients, as a phone in a tunnel does: sockets end without a
            close frame, and the user goes offline after the idle timeout (60s of the mock's clock)
set         change fields; values are JSON, such as true or 7, or else text; NAME= removes a field

Examples:
  presencectl mock user john connect
  presencectl mock user john set invisible=true status='at lunch' color=
  presencectl mock user john drop && presencectl mock clock advance 1m")]
pub struct UserArgs {
    /// The user's id
    pub id: UserId,

    /// The action: connect, disconnect, drop or set
    #[arg(
        value_enum,
        hide_possible_values = true,
        value_name = "connect|disconnect|drop|set"
    )]
    pub action: UserAction,

    /// set: change these fields
    #[arg(value_name = "NAME=VALUE")]
    pub fields: Vec<FieldAssignment>,
}

/// A field and its value, as `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAssignment {
    name: String,
    value: Option<Value>,
}

impl FromStr for FieldAssignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = split_assignment(text)?;
        Ok(Self {
            name: name.to_owned(),
            value: (!value.is_empty())
                .then(|| serde_json::from_str(value).unwrap_or_else(|_| value.into())),
        })
    }
}

/// Connects, disconnects or changes a user.
///
/// # Errors
///
/// The server cannot be reached, is not a mock, or does not know the user.
pub(super) async fn user(app: &App, args: &UserArgs) -> anyhow::Result<Code> {
    let (action, column) = match args.action {
        UserAction::Connect => ("connect", "connection_id"),
        UserAction::Disconnect => ("disconnect", "closed"),
        UserAction::Drop => ("drop", "lost"),
        UserAction::Set => return set(app, args).await,
    };
    if !args.fields.is_empty() {
        return Err(Failure::new(Code::Usage, format!("{action} takes no fields")).into());
    }
    let path = format!("users/{}/{action}", args.id);
    call(app, "POST", &path, Some(json!({})), &[column]).await
}

async fn set(app: &App, args: &UserArgs) -> anyhow::Result<Code> {
    if args.fields.is_empty() {
        return Err(Failure::new(Code::Usage, "set needs at least one field")
            .hinted("add a field: presencectl mock user john set status='at lunch' invisible=true")
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
The event is sent as given; users and channels of the mock do not change. `created_at` is added if it is missing. With
--channel, so are `cid`, `channel_type` and `channel_id`.

Examples:
  presencectl mock trigger custom.ping --to john --set n=1
  presencectl mock trigger --event '{\"type\":\"x\",\"user\":{\"id\":\"john\"}}' --subscribers john
  presencectl mock trigger --text 'no JSON at all' --connection 5f3c…"
)]
pub struct TriggerArgs {
    /// Send an event of this type
    #[arg(value_name = "TYPE")]
    pub kind: Option<String>,

    /// Add this field to the event (repeatable)
    #[arg(long, value_name = "NAME=VALUE", requires = "kind")]
    pub set: Vec<FieldAssignment>,

    /// Send this JSON object instead
    #[arg(long, value_name = "JSON")]
    pub event: Option<String>,

    /// Send this text instead, which need not be JSON
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,

    /// Send to all connections of this user
    #[arg(long, value_name = "ID")]
    pub to: Option<UserId>,

    /// Send to all connections subscribed to this user's presence
    #[arg(long, value_name = "ID")]
    pub subscribers: Option<UserId>,

    /// Send to all connections that watch this channel
    #[arg(long, value_name = "CID")]
    pub channel: Option<Cid>,

    /// Send to this connection
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
}

/// Sends an event to connections.
///
/// # Errors
///
/// The event is invalid; the server cannot be reached, is not a mock, or does not know a receiver.
pub(super) async fn trigger(app: &App, args: &TriggerArgs) -> anyhow::Result<Code> {
    let mut body = Map::new();
    let mut add = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(text) = &args.text {
        add("text", text.clone().into());
    } else {
        add("event", event(args)?.into());
    }
    if let Some(user) = &args.to {
        add("user", user.as_str().into());
    }
    if let Some(user) = &args.subscribers {
        add("subscribers", user.as_str().into());
    }
    if let Some(channel) = &args.channel {
        add("channel", channel.to_string().into());
    }
    if let Some(connection) = &args.connection {
        add("connection", connection.clone().into());
    }
    call(app, "POST", "trigger", Some(body.into()), &["sent"]).await
}

fn event(args: &TriggerArgs) -> Result<Map<String, Value>, Failure> {
    if let Some(text) = &args.event {
        return serde_json::from_str(text).map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("--event is not a JSON object: {error}"),
            )
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
