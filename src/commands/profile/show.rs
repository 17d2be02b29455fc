//! `profile show`: prints a profile without its secret.

use super::print;
use crate::config_file::Config;
use crate::exit::{Code, Failure};
use crate::settings::App;

/// Flags of `profile show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The profile (default: -p, else the default profile)
    pub name: Option<String>,
}

/// Prints a profile.
///
/// # Errors
///
/// No profile has this name.
pub(super) fn run(app: &App, args: &ShowArgs) -> anyhow::Result<Code> {
    let config = Config::load_or_empty(&app.config_path()?)?;
    let name =
        args.name
            .as_deref()
            .or(app.profile_name())
            .or(config.default_profile.as_deref())
            .ok_or_else(|| {
                Failure::new(Code::Usage, "there is no default profile")
                .hinted(if config.profiles.is_empty() {
                    "add one: presencectl profile add NAME --api-key KEY --secret-file FILE"
                } else {
                    "name one: presencectl profile show NAME; presencectl profile list shows them"
                })
            })?;
    print(app, name, &config)?;
    Ok(Code::Ok)
}
