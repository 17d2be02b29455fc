//! `mock app`: create, list and delete applications of a running server.

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::control::{APPLICATIONS_HINT, ask, call, check_segment, list};
use crate::exit::Code;
use crate::output::Column;
use crate::settings::App;

/// The commands of `mock app`.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "\
Tests that run in parallel can share a server: each creates an application of its own and uses its key and secret.
Commands such as `mock log` act on the application of STREAM_API_KEY, or on the first one if the variable is unset.

Examples:
  presencectl mock app create
  eval \"$(presencectl mock app create --jq '\"export STREAM_API_KEY=\\(.api_key) STREAM_API_SECRET=\\(.api_secret)\"')\"
  presencectl mock app delete \"$STREAM_API_KEY\"")]
pub enum ApplicationCommand {
    /// Create an empty application and print its key and secret
    Create,
    /// List the applications
    List,
    /// Delete an application and close its connections
    Delete {
        /// The API key of the application
        #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
        api_key: String,
    },
}

/// Creates, lists or deletes applications.
///
/// # Errors
///
/// The server cannot be reached, is not a mock, or refuses.
pub(super) async fn run(app: &App, command: &ApplicationCommand) -> anyhow::Result<Code> {
    match command {
        ApplicationCommand::Create => {
            let columns = ["api_key", "api_secret"];
            call(app, "POST", "apps", Some(json!({})), &columns).await
        }
        ApplicationCommand::Delete { api_key } => {
            check_segment("application", api_key, APPLICATIONS_HINT)?;
            let path = format!("apps/{api_key}");
            call(app, "DELETE", &path, None, &["api_key", "closed"]).await
        }
        ApplicationCommand::List => {
            let columns =
                ["api_key", "first", "users", "channels", "connections"].map(Column::plain);
            let mut rows = app.output().rows(&columns)?;
            for application in list(ask(app, "GET", "apps", &[], None).await?, "apps") {
                rows.push(&application)?;
            }
            rows.finish()?;
            Ok(Code::Ok)
        }
    }
}
