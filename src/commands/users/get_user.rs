//! `get-user`: prints users by id.

use crate::commands::ids::{IdArgs, next_batch, summarize_ids};
use crate::commands::user_lookup::users_by_id;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Deactivated users are included. Users that do not exist are named on stderr, and the exit code is 5.

Examples:
  presencectl get-user john
  presencectl get-user john jack -o json
  presencectl get-user john --jq .online")]
pub struct GetUserArgs {
    /// Users to print
    #[command(flatten)]
    pub users: IdArgs,
}

/// Prints the existing users in the order of the arguments.
///
/// # Errors
///
/// The service refuses the request, or some of the users do not exist.
pub async fn run(app: &App, args: &GetUserArgs) -> anyhow::Result<Code> {
    let mut rows = app.output().users(app.now())?;
    if args.users.list.is_none() && args.users.ids.len() == 1 {
        rows = rows.one();
    }
    let client = app.client().await?;
    let mut ids = args.users.read()?;
    let mut missing = Vec::new();
    loop {
        let batch = next_batch(&mut ids)?;
        if batch.is_empty() {
            break;
        }
        let found = users_by_id(&client, &batch).await?;
        for id in batch {
            match found.get(id.as_str()) {
                Some(user) => rows.push_user(user)?,
                None => missing.push(id),
            }
        }
        rows.flush()?;
    }
    rows.finish()?;
    if missing.is_empty() {
        return Ok(Code::Ok);
    }
    let message = match missing.as_slice() {
        [one] => format!("the user {one} does not exist"),
        many => format!("the users {} do not exist", summarize_ids(many)),
    };
    Err(Failure::new(Code::Refused, message)
        .hinted(match app.has_own_mock() {
            // A user created in the mock of one command is gone with it.
            true => "list users: presencectl query-users".to_owned(),
            false => format!(
                "list users: presencectl query-users; create one: presencectl set-user {}",
                missing[0]
            ),
        })
        .into())
}
