//! The configuration file: named profiles with the address of the service and the source of the secret.
//!
//! The file is `config.toml` in the platform's configuration folder (`$XDG_CONFIG_HOME/presencectl/`). A secret is a
//! value, a file, a variable or a command. A file with a secret that others can read is refused. The caller decides
//! which profile applies.

mod replacement_file;
mod secret_command;
mod secret_file;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::domain::{SecretString, UserId};
use crate::environment;
use crate::exit::{Code, Failure};

pub(crate) use replacement_file::{ReplacementFile, create_locked, link_target};
pub use secret_command::SecretCommand;
pub use secret_file::read_secret_file;

/// The content of the file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The profile to use when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_profile: Option<String>,
    /// Profiles by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// What the user should know about the file, if anything.
    #[serde(skip)]
    pub warning: Option<String>,
}

/// The settings of one application.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The application's public key.
    pub api_key: String,
    /// The secret itself. It is allowed because the file must be private; a file or a command is safer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret: Option<String>,
    /// A file whose first line is the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_file: Option<PathBuf>,
    /// An environment variable that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_env: Option<String>,
    /// A command that prints the secret, such as `pass show stream/secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_command: Option<SecretCommand>,
    /// The address of the service, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The user that watchers connect as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<UserId>,
    /// Whether changes need `--yes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not derived, so that no log shows `api_secret`. The command may contain a secret as an argument.
        f.debug_struct("Profile")
            .field("api_key", &self.api_key)
            .field("secret", &self.secret_origin())
            .field("base_url", &self.base_url)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

/// The path of the configuration file: the named one, or the default one.
///
/// # Errors
///
/// No file is named, and there is no home folder.
pub fn path(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    named
        .map(Path::to_owned)
        .or_else(default_path)
        .context("there is no home directory for the configuration; name a file: --config FILE")
}

/// The default path of the configuration file; `None` without a home folder.
pub fn default_path() -> Option<PathBuf> {
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.config_dir().join("presencectl").join("config.toml"))
}

/// The path of the configuration file, if everybody on this machine may write it. They could name commands that run as
/// the user who reads it.
#[cfg(unix)]
pub fn open_to_all(named: Option<&Path>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let path = path(named).ok()?;
    let found = fs::metadata(&path).ok()?;
    (found.is_file() && found.permissions().mode() & 0o002 != 0).then_some(path)
}

/// The path of the configuration file, if everybody on this machine may write it. Never known on this platform.
#[cfg(not(unix))]
pub fn open_to_all(_named: Option<&Path>) -> Option<PathBuf> {
    None
}

impl Config {
    /// Reads the named file or the default one. A missing default file is an empty configuration.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not valid, or has a secret and others can read it.
    pub fn load(named: Option<&Path>) -> anyhow::Result<Self> {
        match (named, default_path()) {
            (Some(path), _) => {
                let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
                Self::parse(path, &text)
            }
            (None, Some(path)) => Self::load_or_empty(&path),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Reads a file that need not exist.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_or_empty(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(unreadable(path, &error).into()),
        }
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        // Positions in errors count from behind the byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        // The library's own message quotes the invalid line, which may contain a secret.
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            Failure::new(
                Code::Usage,
                format!(
                    "the configuration {} is invalid at line {line}: {}",
                    path.display(),
                    error.message()
                ),
            )
        })?;
        if config
            .profiles
            .values()
            .any(|profile| profile.api_secret.is_some())
        {
            config.warning = secret_file::check_file(path)?;
        }
        Ok(config)
    }

    /// Writes the file in one step, so that it is never half written. Only its owner can read it.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text =
            toml::to_string_pretty(self).context("the configuration cannot be written as TOML")?;
        write_private(path, &text)
            .with_context(|| format!("cannot write the configuration {}", path.display()))
    }

    /// The named profile, or the default one, with its name.
    ///
    /// # Errors
    ///
    /// The named profile does not exist; the hint lists the profiles.
    pub fn profile(mut self, named: Option<&str>) -> anyhow::Result<Option<(String, Profile)>> {
        let Some(name) = named.map(str::to_owned).or(self.default_profile) else {
            return Ok(None);
        };
        if let Some(profile) = self.profiles.remove(&name) {
            return Ok(Some((name, profile)));
        }
        let known: Vec<_> = self.profiles.keys().map(String::as_str).collect();
        let failure = Failure::new(Code::Usage, format!("there is no profile `{name}`"));
        Err(if known.is_empty() {
            failure.hinted(format!("add it: presencectl profile add {name}"))
        } else {
            failure.hinted(format!(
                "there are: {}; to add it: presencectl profile add {name}",
                known.join(", ")
            ))
        }
        .into())
    }
}

impl Profile {
    /// The source of the secret, as text for people without the secret.
    pub fn secret_origin(&self) -> String {
        match self {
            Self {
                api_secret: Some(_),
                ..
            } => "in the configuration file".to_owned(),
            Self {
                api_secret_file: Some(path),
                ..
            } => format!("in the file {}", path.display()),
            Self {
                api_secret_env: Some(name),
                ..
            } => format!("in the variable {name}"),
            Self {
                api_secret_command: Some(command),
                ..
            } => format!("by the command {}", command.program()),
            _ => "none".to_owned(),
        }
    }

    /// Reads the secret from its source; `None` if the profile has none. A command must end within `command_limit`.
    /// `warn` gets what the user should know about the source.
    ///
    /// # Errors
    ///
    /// - The file cannot be read, is empty, or others can read it.
    /// - The variable is not set.
    /// - The command cannot run, fails, prints nothing or too much, or does not end in time.
    pub async fn secret(
        &self,
        command_limit: Duration,
        warn: &dyn Fn(&str),
    ) -> anyhow::Result<Option<SecretString>> {
        if let Some(secret) = &self.api_secret {
            return Ok(Some(SecretString::new(secret.as_str())));
        }
        if let Some(path) = &self.api_secret_file {
            return read_secret_file(path, warn).map(Some);
        }
        if let Some(name) = &self.api_secret_env {
            return match environment::variable(name) {
                Some(secret) => Ok(Some(SecretString::new(secret))),
                None => Err(Failure::new(
                    Code::NotAuthenticated,
                    format!(
                        "the variable {name}, which has the profile's secret, is {}",
                        if environment::is_empty(name) {
                            "empty"
                        } else {
                            "not set"
                        }
                    ),
                )
                .into()),
            };
        }
        match &self.api_secret_command {
            Some(command) => Ok(Some(command.secret(command_limit).await?)),
            None => Ok(None),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Usage,
        format!("cannot read the configuration {}: {error}", path.display()),
    )
}

/// Replaces a file in one step, readable for its owner only. A symbolic link stays, and its target is replaced.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let target = link_target(path);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = ReplacementFile::create(&target)?;
    file.write_all(text.as_bytes())?;
    file.sync()?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::FuzzTarget;

    #[test]
    fn fuzz_config() {
        let target = FuzzTarget {
            name: "config",
            inputs: 4000,
            generate: |_| {
                "default_profile = 'a'\n[profiles.a]\napi_key = 'k'\nobserver = 'watcher'\n"
                    .to_owned()
            },
            words: &[
                "default_profile",
                "[profiles.a]",
                "[profiles]",
                "api_key",
                "api_secret",
                "api_secret_file",
                "api_secret_command",
                "base_url",
                "observer",
                "protected",
                " = ",
                "'",
                "\"\"\"",
                "[[",
                "#",
                "\n",
                "1979-05-27",
            ],
        };
        target.run(|text| match Config::parse(Path::new("config.toml"), text) {
            Ok(config) => {
                let saved = toml::to_string_pretty(&config).unwrap();
                let again: Config = toml::from_str(&saved).unwrap();
                assert_eq!(toml::to_string_pretty(&again).unwrap(), saved);
            }
            Err(error) => {
                let error = error.to_string();
                if toml::from_str::<Config>(text).is_ok() {
                    // A valid file with a secret is refused for its access rights.
                    assert!(text.contains("api_secret"), "{error}");
                    return;
                }
                let line = error.split_once(" at line ").unwrap().1;
                let line: usize = line.split_once(':').unwrap().0.parse().unwrap();
                assert!((1..=text.split('\n').count()).contains(&line), "{error}");
            }
        });
    }

    #[test]
    fn an_error_behind_a_byte_order_mark_names_its_line() {
        for (text, line) in [("\u{feff}d", "line 1:"), ("\u{feff}\né", "line 2:")] {
            let error = Config::parse(Path::new("config.toml"), text).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_stays_and_its_target_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink("target", &link).unwrap();
        for text in ["new", "again"] {
            write_private(&link, text).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn a_profile_does_not_show_its_secret() {
        let config: Config = toml::from_str(
            "default_profile = 'a'\n[profiles.a]\napi_key = 'k'\napi_secret = 'hush'\n",
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        let (name, _) = config.profile(None).unwrap().unwrap();
        assert_eq!(name, "a");
    }

    #[test]
    fn the_hint_for_an_unknown_profile_lists_the_profiles() {
        let config: Config = toml::from_str("[profiles.prod]\napi_key = 'k'\n").unwrap();
        let error = config.profile(Some("staging")).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(
            failure.hint.as_deref(),
            Some("there are: prod; to add it: presencectl profile add staging")
        );
    }
}
