//! `profile list`: lists all profiles.

use super::{COLUMNS, row};
use crate::config_file::Config;
use crate::exit::Code;
use crate::settings::App;

/// Prints one record per profile.
///
/// # Errors
///
/// The configuration cannot be read.
pub(super) fn run(app: &App) -> anyhow::Result<Code> {
    let config = Config::load_or_empty(&app.config_path()?)?;
    let mut rows = app.output().rows(&COLUMNS)?;
    for (name, profile) in &config.profiles {
        rows.push(&row(name, profile, &config))?;
    }
    rows.finish()?;
    if config.profiles.is_empty() {
        app.output()
            .hint("add one: presencectl profile add NAME --api-key KEY --secret-file FILE");
    }
    Ok(Code::Ok)
}
