//! `profile import`: imports the applications that `stream-cli`, Stream's official CLI, has stored.
//!
//! Its file is YAML: `default`, and `apps` with `name`, `access-key`, `access-secret-key` and `chat-url`. The secret is
//! plain text. It is copied as plain text into our configuration file, which only the user can read. A profile can be
//! changed later to name a file or a command instead.

use std::path::PathBuf;

use anyhow::Context;
use etcetera::BaseStrategy;
use serde::Deserialize;

use super::{COLUMNS, row, save};
use crate::config_file::{Config, Profile};
use crate::escape;
use crate::exit::{Code, Failure};
use crate::settings::{App, DEFAULT_BASE_URL};

/// Flags of `profile import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Configuration file (default: stream-cli/config.yml in the config directory)
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Replace profiles of the same name
    #[arg(long)]
    pub force: bool,
}

#[derive(Deserialize)]
struct Theirs {
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    apps: Vec<TheirApp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TheirApp {
    name: String,
    access_key: String,
    access_secret_key: String,
    #[serde(default, alias = "chatURL", alias = "chaturl")]
    chat_url: Option<String>,
}

/// Imports either all applications or none.
///
/// # Errors
///
/// The file cannot be read or parsed, or it names a profile that exists.
pub(super) fn run(app: &App, args: &ImportArgs) -> anyhow::Result<Code> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => etcetera::choose_base_strategy()
            .context("there is no home folder; name the file to import")?
            .config_dir()
            .join("stream-cli/config.yml"),
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::new(
            Code::Usage,
            format!("cannot read {}: {error}", file.display()),
        )
        .hinted("name the file: presencectl profile import FILE")
    })?;
    // The library's message can quote the text around a mistake, which can be a secret.
    let theirs: Theirs = serde_saphyr::from_str(&text).map_err(|_| {
        Failure::new(
            Code::Usage,
            format!("{} is not a configuration of stream-cli", file.display()),
        )
        .hinted("expected a list `apps:` whose items have name, access-key and access-secret-key")
    })?;
    let path = app.config_path()?;
    let mut config = Config::load_or_empty(&path)?;
    let names: Vec<String> = theirs.apps.iter().map(|app| app.name.clone()).collect();
    if !args.force
        && let Some(name) = names
            .iter()
            .find(|name| config.profiles.contains_key(*name))
    {
        return Err(Failure::new(
            Code::Usage,
            format!("there is a profile `{}` already", escape::quote(name)),
        )
        .hinted("replace it with --force")
        .into());
    }
    for app in theirs.apps {
        let profile = Profile {
            api_key: app.access_key,
            api_secret: Some(app.access_secret_key),
            api_secret_file: None,
            api_secret_env: None,
            api_secret_command: None,
            base_url: app
                .chat_url
                .filter(|url| !url.is_empty() && url.trim_end_matches('/') != DEFAULT_BASE_URL),
            observer: None,
            protected: false,
        };
        config.profiles.insert(app.name, profile);
    }
    if config.default_profile.is_none() {
        config.default_profile = theirs
            .default
            .filter(|name| config.profiles.contains_key(name));
    }
    save(app, &config, &path)?;
    let mut rows = app.output().rows(&COLUMNS)?;
    for name in &names {
        if let Some(profile) = config.profiles.get(name) {
            rows.push(&row(name, profile, &config))?;
        }
    }
    rows.finish()?;
    Ok(Code::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::FuzzTarget;

    #[test]
    fn fuzz_import() {
        let target = FuzzTarget {
            name: "import",
            inputs: 4000,
            generate: |_| {
                "apps:\n- {name: a, access-key: k, access-secret-key: s}\ndefault: a\n".to_owned()
            },
            words: &[
                "apps:",
                "- name: ",
                "access-key: ",
                "access-secret-key: ",
                "chat-url: ",
                "default: ",
                "&a ",
                "*a",
                "!!int ",
                "<<: ",
                "|\n  ",
                ">-",
                "'",
                "\"",
                "? ",
                "---\n",
                "...\n",
                "%YAML 1.2\n",
                "{",
                "}",
                "- ",
                "\n  ",
            ],
        };
        target.run(|text| {
            // Files that are no configuration are refused; none is read wrongly or for ever.
            if let Ok(theirs) = serde_saphyr::from_str::<Theirs>(text) {
                assert!(theirs.apps.len() <= text.len());
            }
        });
    }
}
