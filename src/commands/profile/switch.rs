//! `profile use`: sets the default profile.

use super::{find, print, save};
use crate::config_file::Config;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `profile use`.
#[derive(Debug, clap::Args)]
pub struct UseArgs {
    /// The profile
    pub name: String,
}

/// Saves the default profile and prints it.
///
/// # Errors
///
/// No profile has this name, or the file cannot be written.
pub(super) fn run(app: &App, args: &UseArgs) -> anyhow::Result<Code> {
    let path = app.config_path()?;
    let mut config = Config::load_or_empty(&path)?;
    find(&args.name, &config)?;
    config.default_profile = Some(args.name.clone());
    save(app, &config, &path)?;
    print(app, &args.name, &config)?;
    Ok(Code::Ok)
}
