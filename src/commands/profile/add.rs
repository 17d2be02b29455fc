//! `profile add`: saves a profile. The secret comes from a file, a command, stdin or a prompt; no flag takes the secret
//! itself. On a terminal, it asks for what is missing.

use std::io::{Read, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::{print, save};
use crate::config_file::{Config, Profile, SecretCommand};
use crate::domain::UserId;
use crate::escape;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Flags of `profile add`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "On a terminal, presencectl asks for what is missing: the name, the key, the secret.

A secret command is split into words like a shell does, but it is not run by a shell: for variables, ~ and pipes write
sh -c '…'. It is tried once. If it fails, the profile is saved all the same, with a warning.

Examples:
  presencectl profile add
  presencectl profile add prod --api-key KEY --secret-command 'pass show stream/prod'
  presencectl profile add prod --api-key KEY --secret-file ~/.stream-secret
  pass show stream | presencectl profile add prod --api-key KEY --secret-stdin
  presencectl profile add ci --api-key KEY --secret-env STREAM_CI_SECRET"
)]
pub struct AddArgs {
    /// The name to use with -p
    pub name: Option<String>,

    /// The application's API key
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,

    /// Read the secret from this file whenever it is needed; the file must be private
    #[arg(long, value_name = "FILE", group = "secret")]
    pub secret_file: Option<PathBuf>,

    /// Read the secret from the first line of output of this command
    #[arg(
        long,
        value_name = "COMMAND",
        group = "secret",
        allow_hyphen_values = true
    )]
    pub secret_command: Option<String>,

    /// Read the secret from this environment variable whenever it is needed
    #[arg(long, value_name = "NAME", group = "secret")]
    pub secret_env: Option<String>,

    /// Read the secret from stdin now and keep it in the configuration file
    #[arg(long, group = "secret")]
    pub secret_stdin: bool,

    /// The user that streams connect as
    #[arg(long, value_name = "USER")]
    pub observer: Option<UserId>,

    /// Require --yes for every change made with this profile
    #[arg(long)]
    pub protected: bool,

    /// Make this the default profile
    #[arg(long)]
    pub default: bool,

    /// Replace a profile of the same name
    #[arg(long)]
    pub force: bool,
}

/// Adds a profile and prints it.
///
/// # Errors
///
/// It exists, something is missing and cannot be asked for, or the file cannot be written.
pub(super) async fn run(app: &App, args: AddArgs) -> anyhow::Result<Code> {
    let path = app.config_path()?;
    let mut config = Config::load_or_empty(&path)?;
    let name = given_or_asked(app, args.name, "NAME", "Name of the profile")?;
    if config.profiles.contains_key(&name) && !args.force {
        return Err(Failure::new(
            Code::Usage,
            format!("there is a profile `{}` already", escape::quote(&name)),
        )
        .hinted("replace it with --force, or choose another name")
        .into());
    }
    let api_secret_command = args.secret_command.map(SecretCommand::Line);
    if let Some(command) = &api_secret_command {
        command.words()?;
    }
    let asks_for_secret = args.secret_file.is_none()
        && api_secret_command.is_none()
        && args.secret_env.is_none()
        && !args.secret_stdin
        && is_interactive(app);
    let api_key = given_or_asked(app, args.api_key, "--api-key KEY", "API key")?;
    let api_secret = if args.secret_stdin {
        Some(read_secret()?)
    } else if asks_for_secret {
        ask_secret()?
    } else {
        None
    };
    let secret_file = args
        .secret_file
        .map(|file| std::path::absolute(&file).unwrap_or(file));
    let profile = Profile {
        api_key,
        api_secret,
        api_secret_file: secret_file,
        api_secret_env: args.secret_env,
        api_secret_command,
        base_url: app.base_url().map(str::to_owned),
        observer: args.observer,
        protected: args.protected,
    };
    // With --dry-run nothing is saved, so there is nothing to try.
    if profile.api_secret_command.is_some()
        && !app.is_dry_run()
        && let Err(error) = app.secret_of(&profile).await
    {
        app.output()
            .warn(&format!("{error:#}; the profile is saved all the same"));
    }
    let has_secret = profile.api_secret.is_some()
        || profile.api_secret_file.is_some()
        || profile.api_secret_env.is_some()
        || profile.api_secret_command.is_some();
    if !has_secret {
        app.output().warn(&format!(
            "the profile `{}` has no API secret: it works only with PRESENCECTL_USER_TOKEN; to add one: --secret-file FILE --force",
            escape::quote(&name)
        ));
    }
    if args.default || config.profiles.is_empty() {
        config.default_profile = Some(name.clone());
    }
    config.profiles.insert(name.clone(), profile);
    if save(app, &config, &path)? {
        app.output()
            .status(&format!("profile `{name}` written to {}", path.display()));
    }
    print(app, &name, &config)?;
    Ok(Code::Ok)
}

/// Whether somebody is there to answer.
fn is_interactive(app: &App) -> bool {
    let terminal = app.terminal();
    terminal.stdin && terminal.stderr
}

/// What was given, or what the user answers on a terminal. `flag` is how it is given.
fn given_or_asked(
    app: &App,
    given: Option<String>,
    flag: &str,
    prompt: &str,
) -> anyhow::Result<String> {
    let answer = match given {
        Some(given) => given,
        None if is_interactive(app) => {
            write!(std::io::stderr().lock(), "{prompt}: ").context("cannot ask")?;
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .context("cannot read the answer")?;
            line.trim().to_owned()
        }
        None => String::new(),
    };
    if answer.is_empty() {
        return Err(
            Failure::new(Code::Usage, format!("missing argument: {flag}"))
                .hinted("presencectl profile add NAME --api-key KEY --secret-file FILE")
                .into(),
        );
    }
    Ok(answer)
}

/// Asks for the secret without showing it. `None` for an empty answer: a profile for use with a user's token has none.
fn ask_secret() -> anyhow::Result<Option<String>> {
    write!(
        std::io::stderr().lock(),
        "API secret (not shown; Enter for none): "
    )
    .context("cannot ask")?;
    let secret = rpassword::read_password().context("cannot read the secret")?;
    let secret = secret.trim();
    Ok((!secret.is_empty()).then(|| secret.to_owned()))
}

fn read_secret() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(1 << 16)
        .read_to_string(&mut text)
        .context("cannot read the secret from stdin")?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        return Err(Failure::new(Code::Usage, "there is no secret on stdin")
            .hinted("pipe it in: pass show stream | presencectl profile add …")
            .into());
    }
    Ok(secret.to_owned())
}
