//! `profile`: manages named profiles in the configuration file.

mod add;
mod import;
mod list;
mod remove;
mod show;
mod switch;

use std::path::Path;

use clap::Subcommand;
use serde_json::{Map, Value};

use super::runtime::block_on;
use crate::config_file::{Config, Profile};
use crate::escape;
use crate::exit::{Code, Failure};
use crate::output::Column;
use crate::settings::App;

/// The commands of `profile`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum ProfileCommand {
    /// Add a profile, or replace one with --force
    Add(add::AddArgs),
    /// List the profiles
    List,
    /// Show a profile without its secret
    Show(show::ShowArgs),
    /// Set the default profile
    Use(switch::UseArgs),
    /// Remove a profile
    Remove(remove::RemoveArgs),
    /// Import profiles from the configuration of `stream-cli`, Stream's official CLI
    Import(import::ImportArgs),
}

/// Runs a command of `profile`.
///
/// # Errors
///
/// The command fails.
pub fn run(app: &App, command: ProfileCommand) -> anyhow::Result<Code> {
    match command {
        ProfileCommand::Add(args) => block_on(|| add::run(app, args)),
        ProfileCommand::List => list::run(app),
        ProfileCommand::Show(args) => show::run(app, &args),
        ProfileCommand::Use(args) => switch::run(app, &args),
        ProfileCommand::Remove(args) => remove::run(app, &args),
        ProfileCommand::Import(args) => import::run(app, &args),
    }
}

const COLUMNS: [Column; 6] = [
    Column::plain("name"),
    Column::plain("default"),
    Column::plain("api_key"),
    Column::plain("secret"),
    Column::plain("base_url"),
    Column::plain("protected"),
];

/// The record of a profile. It says where the secret is stored but does not contain it.
fn row(name: &str, profile: &Profile, config: &Config) -> Map<String, Value> {
    let is_default = config.default_profile.as_deref() == Some(name);
    Map::from_iter([
        ("name".to_owned(), Value::from(name)),
        ("default".to_owned(), Value::from(is_default)),
        ("api_key".to_owned(), Value::from(profile.api_key.as_str())),
        ("secret".to_owned(), Value::from(profile.secret_origin())),
        (
            "base_url".to_owned(),
            Value::from(
                profile
                    .base_url
                    .as_deref()
                    .unwrap_or(crate::settings::DEFAULT_BASE_URL),
            ),
        ),
        (
            "observer".to_owned(),
            Value::from(profile.observer.as_ref().map(ToString::to_string)),
        ),
        ("protected".to_owned(), Value::from(profile.protected)),
    ])
}

fn print(app: &App, name: &str, config: &Config) -> anyhow::Result<()> {
    let profile = find(name, config)?;
    let mut rows = app.output().row(&COLUMNS)?;
    rows.push(&row(name, profile, config))?;
    rows.finish()?;
    Ok(())
}

/// Writes the file, except with `--dry-run`. Returns whether it was written.
fn save(app: &App, config: &Config, path: &Path) -> anyhow::Result<bool> {
    if app.is_dry_run() {
        app.output()
            .status(&format!("{} is left as it is: --dry-run", path.display()));
        return Ok(false);
    }
    config.save(path)?;
    Ok(true)
}

fn find<'a>(name: &str, config: &'a Config) -> anyhow::Result<&'a Profile> {
    config.profiles.get(name).ok_or_else(|| {
        let known: Vec<_> = config.profiles.keys().map(String::as_str).collect();
        let failure = Failure::new(
            Code::Usage,
            format!("there is no profile `{}`", escape::quote(name)),
        );
        if known.is_empty() {
            failure.hinted("add one: presencectl profile add NAME --api-key KEY --secret-file FILE")
        } else {
            failure.hinted(format!("there are: {}", known.join(", ")))
        }
        .into()
    })
}
