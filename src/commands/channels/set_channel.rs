//! `set-channel`: creates a channel, or changes its members and fields and keeps everything that is not named.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::api::{Client, GetOrCreate, Request, UpdateChannel};
use crate::commands::dry_run;
use crate::commands::fields::{FieldArgs, FieldChanges};
use crate::commands::ids::{self, BATCH};
use crate::commands::user_lookup::users_by_id;
use crate::domain::{ApiErrorCode, Cid, IdList, UserId};
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Fields and members that are not named stay as they are. --member and --add-member add members; only --remove-member
removes them. A missing channel is created by the user of --as, else by the invisible observer. Prints the channel.

Examples:
  presencectl set-channel my-conversation-123 --member john,jack --set color=green
  presencectl set-channel livestream:town --add-member @team.txt --remove-member eve")]
pub struct SetChannelArgs {
    /// Channel, as type:id; a bare id means messaging:id
    #[arg(value_name = "CID")]
    pub cid: Cid,

    /// Members to add: a,b,c or @FILE (one id per line) or - (stdin)
    #[arg(long, value_name = "LIST")]
    pub member: Option<IdList>,

    /// Members to add; another name of --member
    #[arg(long, value_name = "LIST")]
    pub add_member: Option<IdList>,

    /// Members to remove
    #[arg(long, value_name = "LIST")]
    pub remove_member: Option<IdList>,

    /// Fields of the channel
    #[command(flatten)]
    pub fields: FieldArgs,
}

/// The changes that the flags describe.
struct Wanted {
    add: Vec<UserId>,
    remove: Vec<UserId>,
    changes: FieldChanges,
}

/// Changes or creates the channel and prints it.
///
/// # Errors
///
/// The flags contradict each other, or the service refuses the request.
pub async fn run(app: &App, args: &SetChannelArgs) -> anyhow::Result<Code> {
    let dry_run = app.is_dry_run();
    // First, so that a mistake in `--columns` is reported before anything is changed.
    let rows = match dry_run {
        true => None,
        false => Some(app.output().channels(app.now(), &[])?.one()),
    };
    let wanted = wanted(args)?;
    app.confirm_change("change a channel")?;
    let client = app.client().await?;
    let cid = &args.cid;
    let existing = match client.get_channel(cid).await {
        Ok(state) => Some(state),
        Err(error) if error.api_code() == Some(ApiErrorCode::NotFound) => None,
        Err(error) => {
            let context = format!("cannot read the channel {cid}");
            return Err(anyhow::Error::from(error).context(context));
        }
    };
    let steps = match existing {
        Some(_) => changing_steps(cid, &wanted),
        None => creating_steps(app, &client, cid, &wanted).await?,
    };
    let Some(mut rows) = rows else {
        dry_run::print(app, steps.into_iter().map(|step| step.request))?;
        return Ok(Code::Ok);
    };
    let mut state = existing;
    for ChannelStep {
        request,
        failure,
        changes_channel,
    } in steps
    {
        if changes_channel {
            state = Some(client.change_channel(&request).await.context(failure)?);
        } else {
            client.send(&request).await.context(failure)?;
        }
    }
    if let Some(state) = state {
        rows.push(&state.channel)?;
    }
    rows.finish()?;
    Ok(Code::Ok)
}

/// A request of this command, and the context for its errors.
struct ChannelStep {
    request: Request,
    failure: String,
    /// Whether the response contains the changed channel.
    changes_channel: bool,
}

impl ChannelStep {
    const fn on_channel(request: Request, failure: String) -> Self {
        Self {
            request,
            failure,
            changes_channel: true,
        }
    }
}

fn wanted(args: &SetChannelArgs) -> Result<Wanted, Failure> {
    let mut changes = FieldChanges::default();
    changes.add(&args.fields)?;
    let read = |list: &Option<IdList>| list.as_ref().map(ids::read_all).transpose();
    let stdin = [&args.member, &args.add_member, &args.remove_member]
        .into_iter()
        .filter(|list| **list == Some(IdList::Stdin))
        .count();
    if stdin > 1 {
        return Err(Failure::new(
            Code::Usage,
            "only one list can be read from standard input",
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
            format!("{both} is named both to be added and to be removed"),
        ));
    }
    Ok(Wanted {
        add,
        remove,
        changes,
    })
}

fn changing_steps(cid: &Cid, wanted: &Wanted) -> Vec<ChannelStep> {
    let mut steps = member_steps(cid, &wanted.add, &wanted.remove);
    let FieldChanges { set, unset } = &wanted.changes;
    if !wanted.changes.is_empty() {
        steps.push(ChannelStep::on_channel(
            Request::patch_channel(cid, set, unset),
            format!("cannot change {cid}"),
        ));
    }
    steps
}

async fn creating_steps(
    app: &App,
    client: &Client,
    cid: &Cid,
    wanted: &Wanted,
) -> anyhow::Result<Vec<ChannelStep>> {
    let mut steps = Vec::new();
    let mut data = wanted.changes.as_new();
    let (first, rest) = wanted.add.split_at(wanted.add.len().min(BATCH));
    if !first.is_empty() {
        data.insert("members".to_owned(), json!(first));
    }
    // Server credentials do not belong to a user, so the request must name a creator.
    if client.settings().auth.user().is_none() {
        let creator = app.observer().await?;
        let found = users_by_id(client, std::slice::from_ref(&creator)).await?;
        if found.is_empty() {
            steps.push(ChannelStep {
                request: Request::upsert_users(&[new_creator(&creator)]),
                failure: format!("cannot create {creator}, the creator of {cid}"),
                changes_channel: false,
            });
        }
        data.insert("created_by_id".to_owned(), json!(creator));
    }
    let body = GetOrCreate {
        data,
        state: true,
        ..GetOrCreate::default()
    };
    steps.push(ChannelStep::on_channel(
        Request::get_or_create_channel(cid, &body),
        format!("cannot create {cid}"),
    ));
    steps.extend(member_steps(cid, rest, &[]));
    Ok(steps)
}

fn new_creator(id: &UserId) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), json!(id)),
        ("role".to_owned(), json!("admin")),
        ("invisible".to_owned(), json!(true)),
    ])
}

fn member_steps(cid: &Cid, add: &[UserId], remove: &[UserId]) -> Vec<ChannelStep> {
    let names = |ids: &[UserId]| ids.iter().map(ToString::to_string).collect();
    let adding = add.chunks(BATCH).map(|batch| UpdateChannel {
        add_members: names(batch),
        ..UpdateChannel::default()
    });
    let removing = remove.chunks(BATCH).map(|batch| UpdateChannel {
        remove_members: names(batch),
        ..UpdateChannel::default()
    });
    let step = |body: UpdateChannel| {
        ChannelStep::on_channel(
            Request::update_channel(cid, &body),
            format!("cannot change the members of {cid}"),
        )
    };
    adding.chain(removing).map(step).collect()
}
