//! `profile remove`: deletes a profile, with the secret if it contains one.

use super::{find, save};
use crate::config_file::Config;
use crate::exit::Code;
use crate::settings::App;

/// Flags of `profile remove`.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The profile
    pub name: String,
}

/// Removes a profile from the file.
///
/// # Errors
///
/// No profile has this name, or the file cannot be written.
pub(super) fn run(app: &App, args: &RemoveArgs) -> anyhow::Result<Code> {
    let path = app.config_path()?;
    let mut config = Config::load_or_empty(&path)?;
    find(&args.name, &config)?;
    config.profiles.remove(&args.name);
    if config.default_profile.as_deref() == Some(&args.name) {
        config.default_profile = None;
    }
    if save(app, &config, &path)? {
        app.output()
            .status(&format!("profile `{}` removed", args.name));
    }
    Ok(Code::Ok)
}
