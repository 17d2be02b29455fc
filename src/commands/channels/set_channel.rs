//! `set-channel`: makes a channel as it should be, creating it where it is missing.
//!
//! Nothing is taken away that is not named: members are added and removed one list each, fields are changed one by one.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{ChannelState, Client, GetOrCreate, UpdateChannel};
use crate::app::App;
use crate::commands::dry_run::{self, PlannedRequest};
use crate::commands::fields::{Changes, FieldArgs};
use crate::commands::ids::{self, BATCH};
use crate::commands::user_lookup::users_by_id;
use crate::domain::{ApiErrorCode, Cid, IdList, UserId};
use crate::exit::{Code, Failure};
use crate::output::Rows;

/// Flags of `set-channel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is not named stays as it is: --member and --add-member add, and only --remove-member takes away. A channel that
does not exist is created; by the user of --as, else by the invisible observer. Prints the channel.

Examples:
  presencectl set-channel my-conversation-123 --member john,jack --set color=green
  presencectl set-channel livestream:town --add-member @team.txt --remove-member eve")]
pub struct SetChannelArgs {
    /// The channel, type:id; a bare id means messaging:id
    #[arg(value_name = "CID")]
    pub cid: Cid,

    /// Members that the channel should have: a,b,c or @FILE (one id a line) or - (standard input)
    #[arg(long, value_name = "LIST")]
    pub member: Option<IdList>,

    /// Members to add
    #[arg(long, value_name = "LIST")]
    pub add_member: Option<IdList>,

    /// Members to remove
    #[arg(long, value_name = "LIST")]
    pub remove_member: Option<IdList>,

    /// Fields of the channel
    #[command(flatten)]
    pub fields: FieldArgs,
}

/// What is to be done.
struct Wanted {
    add: Vec<UserId>,
    remove: Vec<UserId>,
    changes: Changes,
}

/// Changes or creates the channel and prints it.
///
/// # Errors
///
/// The flags contradict one another, or the service refuses.
pub async fn run(app: &App, args: &SetChannelArgs) -> anyhow::Result<Code> {
    let dry_run = app.is_dry_run();
    let mut rows = if dry_run {
        dry_run::rows(app)?
    } else {
        app.output().channels(app.now(), &[])?.one()
    };
    let wanted = wanted(args)?;
    app.confirm_change("change a channel")?;
    let client = app.client().await?;
    let existing = match client.get_channel(&args.cid).await {
        Ok(state) => Some(state),
        Err(error) if error.api_code() == Some(ApiErrorCode::NotFound) => None,
        Err(error) => {
            let context = format!("cannot read the channel {}", args.cid);
            return Err(anyhow::Error::from(error).context(context));
        }
    };
    if dry_run {
        plan(app, &client, args, &wanted, existing.is_none(), &mut rows).await?;
    } else {
        let state = match existing {
            Some(state) => update(&client, args, &wanted, state).await?,
            None => create(app, &client, args, &wanted).await?,
        };
        rows.push(&state.channel)?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

fn wanted(args: &SetChannelArgs) -> Result<Wanted, Failure> {
    let mut changes = Changes::default();
    changes.add(&args.fields)?;
    let read = |list: &Option<IdList>| list.as_ref().map(ids::read_all).transpose();
    let stdin = [&args.member, &args.add_member, &args.remove_member]
        .into_iter()
        .filter(|list| **list == Some(IdList::Stdin))
        .count();
    if stdin > 1 {
        return Err(Failure::new(
            Code::Usage,
            "standard input can be only one of the lists",
        ));
    }
    let mut add = read(&args.member)?.unwrap_or_default();
    for id in read(&args.add_member)?.unwrap_or_default() {
        if !add.contains(&id) {
            add.push(id);
        }
    }
    let remove = read(&args.remove_member)?.unwrap_or_default();
    if let Some(both) = remove.iter().find(|id| add.contains(id)) {
        return Err(Failure::new(
            Code::Usage,
            format!("{both} is to be added and to be removed"),
        ));
    }
    Ok(Wanted {
        add,
        remove,
        changes,
    })
}

async fn update(
    client: &Client,
    args: &SetChannelArgs,
    wanted: &Wanted,
    mut state: ChannelState,
) -> anyhow::Result<ChannelState> {
    let cid = &args.cid;
    for request in member_requests(&wanted.add, &wanted.remove) {
        state = client
            .update_channel(cid, &request)
            .await
            .with_context(|| format!("cannot change the members of {cid}"))?;
    }
    let Changes { set, unset } = &wanted.changes;
    if !wanted.changes.is_empty() {
        state = client
            .patch_channel(cid, set, unset)
            .await
            .with_context(|| format!("cannot change {cid}"))?;
    }
    Ok(state)
}

async fn create(
    app: &App,
    client: &Client,
    args: &SetChannelArgs,
    wanted: &Wanted,
) -> anyhow::Result<ChannelState> {
    let cid = &args.cid;
    if let Some(observer) = missing_creator(app, client).await? {
        client
            .upsert_users(&[new_creator(&observer)])
            .await
            .with_context(|| format!("cannot create {observer}, who is to create {cid}"))?;
    }
    let (first, rest) = wanted.add.split_at(wanted.add.len().min(BATCH));
    let request = GetOrCreate {
        data: data(app, client, wanted, first).await?,
        state: true,
        ..GetOrCreate::default()
    };
    let mut state = client
        .get_or_create_channel(cid, &request)
        .await
        .with_context(|| format!("cannot create {cid}"))?;
    for request in member_requests(rest, &[]) {
        state = client
            .update_channel(cid, &request)
            .await
            .with_context(|| format!("cannot add the members of {cid}"))?;
    }
    Ok(state)
}

/// The creator, where he has to be created first: with a server's credentials somebody has to be named.
async fn missing_creator(app: &App, client: &Client) -> anyhow::Result<Option<UserId>> {
    if client.settings().auth.user().is_some() {
        return Ok(None);
    }
    let observer = app.observer().await?;
    let found = users_by_id(client, std::slice::from_ref(&observer)).await?;
    Ok(found.is_empty().then_some(observer))
}

fn new_creator(observer: &UserId) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), json!(observer)),
        ("role".to_owned(), json!("admin")),
        ("invisible".to_owned(), json!(true)),
    ])
}

async fn data(
    app: &App,
    client: &Client,
    wanted: &Wanted,
    members: &[UserId],
) -> anyhow::Result<Map<String, Value>> {
    let mut data = wanted.changes.as_new();
    if !members.is_empty() {
        data.insert("members".to_owned(), json!(members));
    }
    if client.settings().auth.user().is_none() {
        data.insert("created_by_id".to_owned(), json!(app.observer().await?));
    }
    Ok(data)
}

fn member_requests(add: &[UserId], remove: &[UserId]) -> Vec<UpdateChannel> {
    let names = |ids: &[UserId]| ids.iter().map(ToString::to_string).collect();
    let adding = add.chunks(BATCH).map(|batch| UpdateChannel {
        add_members: names(batch),
        remove_members: Vec::new(),
    });
    let removing = remove.chunks(BATCH).map(|batch| UpdateChannel {
        add_members: Vec::new(),
        remove_members: names(batch),
    });
    adding.chain(removing).collect()
}

async fn plan(
    app: &App,
    client: &Client,
    args: &SetChannelArgs,
    wanted: &Wanted,
    create: bool,
    rows: &mut Rows<'_>,
) -> anyhow::Result<()> {
    let Cid { channel_type, id } = &args.cid;
    let path = format!("/channels/{channel_type}/{id}");
    let mut members = member_requests(&wanted.add, &wanted.remove);
    if create {
        if let Some(observer) = missing_creator(app, client).await? {
            rows.push(&PlannedRequest {
                method: "POST",
                path: "/users".to_owned(),
                body: json!({ "users": { observer.as_str(): new_creator(&observer) } }),
            })?;
        }
        let (first, rest) = wanted.add.split_at(wanted.add.len().min(BATCH));
        rows.push(&PlannedRequest {
            method: "POST",
            path: format!("{path}/query"),
            body: json!({ "data": data(app, client, wanted, first).await?, "state": true }),
        })?;
        members = member_requests(rest, &[]);
    }
    for request in members {
        rows.push(&PlannedRequest {
            method: "POST",
            path: path.clone(),
            body: serde_json::to_value(request)?,
        })?;
    }
    if !create && !wanted.changes.is_empty() {
        let Changes { set, unset } = &wanted.changes;
        let mut body = json!({ "set": set, "unset": unset });
        if let Some(body) = body.as_object_mut() {
            // What is empty is not sent.
            body.retain(|_, part| *part != json!({}) && *part != json!([]));
        }
        rows.push(&PlannedRequest {
            method: "PATCH",
            path,
            body,
        })?;
    }
    Ok(())
}
