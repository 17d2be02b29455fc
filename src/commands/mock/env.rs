//! `mock env`: prints how to reach a running server, as `mock start --print` does.

use super::detached;
use super::endpoint::ReadyFormat;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `mock env`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --base-url and PRESENCECTL_BASE_URL, this is the server that you started last with `mock start --detach`.

Examples:
  eval \"$(presencectl mock env)\"
  presencectl mock env --print github >> \"$GITHUB_ENV\"
  presencectl mock env --print dotenv > .env.test")]
pub struct EnvArgs {
    /// Print variables for a shell, $GITHUB_ENV or a .env file, or a record
    #[arg(
        long,
        value_enum,
        default_value_t = ReadyFormat::Env,
        hide_possible_values = true,
        value_name = "env|github|dotenv|json"
    )]
    pub print: ReadyFormat,
}

/// Prints how to reach a running server.
///
/// # Errors
///
/// There is no server, or it is not a mock.
pub(super) async fn run(app: &App, args: &EnvArgs) -> anyhow::Result<Code> {
    let server = detached::find(app).await?;
    server.endpoint.print(args.print)?;
    Ok(Code::Ok)
}
