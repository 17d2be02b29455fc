//! The configuration file: profiles with where the service is and where the secret is kept.
//!
//! `config.toml` in the platform's configuration folder (`$XDG_CONFIG_HOME/presencectl/`). A secret may be a value, a
//! file or a command; a file that holds one and that others can read is refused. Which profile applies is decided by
//! the caller.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::domain::{SecretString, UserId};
use crate::exit::{Code, Failure};

/// The file's content.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The profile used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_profile: Option<String>,
    /// Profiles by name.
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
}

/// One application on Stream.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The application's public key.
    pub api_key: String,
    /// The secret itself. Allowed because the file must be private; a file or a command is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret: Option<String>,
    /// A file whose first line is the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_file: Option<PathBuf>,
    /// An environment variable that holds the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_env: Option<String>,
    /// A command that prints the secret, such as `["pass", "show", "stream/secret"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret_command: Option<Vec<String>>,
    /// Where the service is, if not at the vendor's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The user that watchers connect as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<UserId>,
    /// Whether changes want `--yes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Written by hand so that `api_secret` cannot slip into a log; the command may carry one as an argument.
        f.debug_struct("Profile")
            .field("api_key", &self.api_key)
            .field("secret", &self.secret_origin())
            .field("base_url", &self.base_url)
            .field("observer", &self.observer)
            .finish_non_exhaustive()
    }
}

/// The file that is meant: the named one, or the default one.
///
/// # Errors
///
/// None was named and there is no home folder.
pub fn path(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    named
        .map(Path::to_owned)
        .or_else(default_path)
        .context("there is no home folder to keep the configuration in; name a file: --config FILE")
}

/// Where the file is unless told otherwise; `None` without a home folder.
pub fn default_path() -> Option<PathBuf> {
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.config_dir().join("presencectl").join("config.toml"))
}

/// The file that is meant, where anybody on this machine may write it and so name commands that run as its reader.
#[cfg(unix)]
pub fn open_to_all(named: Option<&Path>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let path = path(named).ok()?;
    let found = fs::metadata(&path).ok()?;
    (found.is_file() && found.permissions().mode() & 0o002 != 0).then_some(path)
}

/// The file that is meant, where anybody on this machine may write it; not known here.
#[cfg(not(unix))]
pub fn open_to_all(_named: Option<&Path>) -> Option<PathBuf> {
    None
}

impl Config {
    /// Reads the file that is meant. A missing file is an empty configuration, unless it was named.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not what it should be, or holds a secret that others can read.
    pub fn load(named: Option<&Path>) -> anyhow::Result<Self> {
        match (named, default_path()) {
            (Some(path), _) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read the configuration {}", path.display()))?;
                Self::parse(path, &text)
            }
            (None, Some(path)) => Self::load_or_empty(&path),
            (None, None) => Ok(Self::default()),
        }
    }

    /// Reads a file that need not exist yet.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_or_empty(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error)
                .with_context(|| format!("cannot read the configuration {}", path.display())),
        }
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        // The library's own message quotes the line at fault, which may hold a secret.
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
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
            refuse_shared(path)?;
        }
        Ok(config)
    }

    /// Writes the file: whole or not at all, and readable by its owner only.
    ///
    /// # Errors
    ///
    /// The folder or the file cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string_pretty(self).context("the configuration has no TOML form")?;
        write_private(path, &text)
            .with_context(|| format!("cannot write the configuration {}", path.display()))
    }

    /// The profile by this name, or the default one, with its name.
    ///
    /// # Errors
    ///
    /// A named profile does not exist.
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
            failure.hinted("add one: presencectl profile add")
        } else {
            failure.hinted(format!("there are: {}", known.join(", ")))
        }
        .into())
    }
}

impl Profile {
    /// Where the secret is, in words that do not contain it.
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
            // The program alone: an argument could be a password.
            Self {
                api_secret_command: Some(command),
                ..
            } => format!(
                "by the command {}",
                command.first().map_or("", String::as_str)
            ),
            _ => "none".to_owned(),
        }
    }

    /// The secret from wherever the profile says it is; `None` if it says nothing.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is open to others; the command fails or prints nothing.
    pub fn secret(&self) -> anyhow::Result<Option<SecretString>> {
        if let Some(secret) = &self.api_secret {
            return Ok(Some(SecretString::new(secret.as_str())));
        }
        if let Some(path) = &self.api_secret_file {
            return read_secret_file(path).map(Some);
        }
        if let Some(name) = &self.api_secret_env {
            return match std::env::var(name) {
                Ok(secret) if !secret.is_empty() => Ok(Some(SecretString::new(secret))),
                Ok(_) | Err(_) => Err(Failure::new(
                    Code::NotAuthenticated,
                    format!("the profile's secret is in ${name}, which is not set"),
                )
                .into()),
            };
        }
        let Some(command) = &self.api_secret_command else {
            return Ok(None);
        };
        let (program, arguments) = command
            .split_first()
            .context("api_secret_command is empty")?;
        let output = Command::new(program)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run the secret's command `{program}`"))?;
        let text = String::from_utf8(output.stdout).context("the secret is not UTF-8")?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if !output.status.success() || secret.is_empty() {
            return Err(Failure::new(
                Code::NotAuthenticated,
                format!(
                    "the secret's command `{program}` gave none ({})",
                    output.status
                ),
            )
            .into());
        }
        Ok(Some(SecretString::new(secret)))
    }
}

/// Reads a secret from the first line of a file that only its owner can read.
///
/// # Errors
///
/// The file cannot be read, is open to others, or is empty.
pub fn read_secret_file(path: &Path) -> anyhow::Result<SecretString> {
    refuse_shared(path)?;
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the secret file {}", path.display()))?;
    let secret = text.lines().next().unwrap_or_default().trim();
    if secret.is_empty() {
        return Err(Failure::new(
            Code::NotAuthenticated,
            format!("the secret file {} is empty", path.display()),
        )
        .into());
    }
    Ok(SecretString::new(secret))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // A new file beside it takes its place in one step; the library makes it private from the start.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(unix)]
fn refuse_shared(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .permissions()
        .mode();
    // A pipe, such as bash's <(pass show …), belongs to the one who made it.
    if mode & 0o077 != 0 && mode & 0o170_000 == 0o100_000 {
        return Err(Failure::new(
            Code::NotAuthenticated,
            format!(
                "{} holds a secret and others can read it (mode {:03o})",
                path.display(),
                mode & 0o777
            ),
        )
        .hinted(format!("chmod 600 {}", path.display()))
        .into());
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_shared(_path: &Path) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_does_not_show_its_secret() {
        let config: Config = toml::from_str(
            "default_profile = 'a'\n[profiles.a]\napi_key = 'k'\napi_secret = 'hush'\n",
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        let (name, profile) = config.profile(None).unwrap().unwrap();
        assert_eq!(name, "a");
        assert_eq!(profile.secret().unwrap().unwrap().reveal(), "hush");
    }

    #[test]
    fn an_unknown_profile_names_the_known() {
        let config: Config = toml::from_str("[profiles.prod]\napi_key = 'k'\n").unwrap();
        let error = config.profile(Some("staging")).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.hint.as_deref(), Some("there are: prod"));
    }
}
