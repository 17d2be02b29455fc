//! `profile add`: saves a profile. The secret comes from a file, a command or stdin; no flag takes the secret itself.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;

use super::{print, save};
use crate::app::App;
use crate::config::{Config, Profile};
use crate::domain::UserId;
use crate::exit::{Code, Failure};
use crate::text;

/// Flags of `profile add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  presencectl profile add prod --api-key KEY --secret-file ~/.stream-secret
  presencectl profile add prod --api-key KEY --secret-command pass --secret-command stream
  pass show stream | presencectl profile add prod --api-key KEY --secret-stdin
  presencectl profile add ci --api-key KEY --secret-env STREAM_CI_SECRET")]
pub struct AddArgs {
    /// The name to use with -p
    pub name: String,

    /// The application's public key
    #[arg(long, value_name = "KEY")]
    pub api_key: String,

    /// Read the secret from this file whenever it is needed; the file must be private
    #[arg(long, value_name = "FILE", group = "secret")]
    pub secret_file: Option<PathBuf>,

    /// Run this command and read the secret from its output (once per word)
    #[arg(
        long,
        value_name = "TEXT",
        group = "secret",
        allow_hyphen_values = true
    )]
    pub secret_command: Vec<String>,

    /// Read the secret from this environment variable whenever it is needed
    #[arg(long, value_name = "NAME", group = "secret")]
    pub secret_env: Option<String>,

    /// Read the secret from stdin now and keep it in the configuration file
    #[arg(long, group = "secret")]
    pub secret_stdin: bool,

    /// The user that streams connect as
    #[arg(long, value_name = "USER")]
    pub observer: Option<UserId>,

    /// Want --yes for every change made with this profile
    #[arg(long)]
    pub protected: bool,

    /// Make it the default profile
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
/// The profile exists, stdin is empty, or the file cannot be written.
pub(super) fn run(app: &App, args: AddArgs) -> anyhow::Result<Code> {
    let path = app.config_path()?;
    let mut config = Config::load_or_empty(&path)?;
    if config.profiles.contains_key(&args.name) && !args.force {
        return Err(Failure::new(
            Code::Usage,
            format!("there is a profile `{}` already", text::quote(&args.name)),
        )
        .hinted("replace it with --force, or choose another name")
        .into());
    }
    let api_secret = if args.secret_stdin {
        Some(read_secret()?)
    } else {
        None
    };
    let secret_file = args
        .secret_file
        .map(|file| std::path::absolute(&file).unwrap_or(file));
    let profile = Profile {
        api_key: args.api_key,
        api_secret,
        api_secret_file: secret_file,
        api_secret_env: args.secret_env,
        api_secret_command: (!args.secret_command.is_empty()).then_some(args.secret_command),
        base_url: app.base_url().map(str::to_owned),
        observer: args.observer,
        protected: args.protected,
    };
    if args.default || config.profiles.is_empty() {
        config.default_profile = Some(args.name.clone());
    }
    config.profiles.insert(args.name.clone(), profile);
    if save(app, &config, &path)? {
        app.output().status(&format!(
            "profile `{}` written to {}",
            args.name,
            path.display()
        ));
    }
    print(app, &args.name, &config)?;
    Ok(Code::Ok)
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
