//! The secret command: a program that prints the secret, such as a password manager's.
//!
//! It is somebody else's program, so its output and its time are limited, also where a process that it started keeps
//! the pipe open.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::domain::SecretString;
use crate::exit::{Code, Failure};

/// The most bytes that a secret command may print.
const OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// How long to read on after the command has ended, if another process keeps its pipe open. What the command printed is
/// in the pipe by then.
const READ_AFTER_EXIT: Duration = Duration::from_millis(200);

/// A command line as it stands in the configuration.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum SecretCommand {
    /// One text, split like a shell does: `pass show stream/prod`.
    Line(String),
    /// The program and its arguments, as earlier versions stored it.
    Words(Vec<String>),
}

impl fmt::Debug for SecretCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SecretCommand")
            .field(&self.program())
            .finish()
    }
}

impl SecretCommand {
    /// The program and its arguments.
    ///
    /// # Errors
    ///
    /// A quote is not closed, or there are no words.
    pub fn words(&self) -> Result<Vec<String>, Failure> {
        let words = match self {
            Self::Line(line) => shlex::split(line).ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    "the secret command has a quote that is not closed",
                )
            })?,
            Self::Words(words) => words.clone(),
        };
        if words.first().is_none_or(String::is_empty) {
            return Err(
                Failure::new(Code::Usage, "the secret command is empty").hinted(
                    "write the program and its arguments: --secret-command 'pass show stream/prod'",
                ),
            );
        }
        Ok(words)
    }

    /// The program without its arguments, which may contain a secret.
    pub fn program(&self) -> String {
        let words = self.words().unwrap_or_default();
        words.into_iter().next().unwrap_or_default()
    }

    /// Runs the command and takes the first line that it prints.
    ///
    /// # Errors
    ///
    /// It cannot run, fails, prints nothing or too much, or does not end within `limit`.
    pub async fn secret(&self, limit: Duration) -> Result<SecretString, Failure> {
        let words = self.words()?;
        let program = &words[0];
        let failure = |what: String| {
            Failure::new(
                Code::NotAuthenticated,
                format!("secret command `{program}` {what}"),
            )
        };
        let mut command = Command::new(program);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let (status, output) = timeout(limit, run(command))
            .await
            .map_err(|_| {
                failure(format!("did not end within {}", humantime::format_duration(limit)))
                    .hinted("allow more time: --timeout 1m")
            })?
            .map_err(|error| match error {
                RunError::Io(error) => failure(format!("cannot run: {error}")).hinted(
                    "check the profile's api_secret_command; for variables, ~ or pipes use a shell: sh -c '…'",
                ),
                RunError::TooMuch => {
                    failure(format!("printed more than {} KiB", OUTPUT_MAX_BYTES / 1024))
                }
            })?;
        let text = str::from_utf8(&output)
            .map_err(|_| failure("printed something that is not UTF-8".to_owned()))?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if !status.success() {
            let ended = match status.code() {
                Some(code) => format!("exited with status {code}"),
                None => format!("was ended: {status}"),
            };
            let and = if secret.is_empty() {
                " and printed nothing"
            } else {
                ""
            };
            return Err(failure(format!("{ended}{and}")));
        }
        if secret.is_empty() {
            return Err(failure("printed nothing".to_owned()));
        }
        Ok(SecretString::new(secret))
    }
}

enum RunError {
    Io(std::io::Error),
    TooMuch,
}

async fn run(mut command: Command) -> Result<(ExitStatus, Vec<u8>), RunError> {
    let mut child = command.spawn().map_err(RunError::Io)?;
    let mut output = Vec::new();
    let mut status = None;
    if let Some(mut pipe) = child.stdout.take() {
        loop {
            let read = pipe.read_buf(&mut output);
            let read = match status {
                None => tokio::select! {
                    biased;
                    read = read => read,
                    ended = child.wait() => {
                        status = Some(ended.map_err(RunError::Io)?);
                        continue;
                    }
                },
                Some(_) => match timeout(READ_AFTER_EXIT, read).await {
                    Ok(read) => read,
                    Err(_) => break,
                },
            };
            if read.map_err(RunError::Io)? == 0 {
                break;
            }
            if output.len() > OUTPUT_MAX_BYTES {
                return Err(RunError::TooMuch);
            }
        }
    }
    let status = match status {
        Some(status) => status,
        None => child.wait().await.map_err(RunError::Io)?,
    };
    Ok((status, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_like_a_shell_does() {
        let words = |line: &str| SecretCommand::Line(line.to_owned()).words();
        assert_eq!(
            words(r#"sh -c 'echo "a b"' x\ y"#).unwrap(),
            ["sh", "-c", r#"echo "a b""#, "x y"]
        );
        for wrong in ["", "  ", "'open", "''"] {
            assert_eq!(words(wrong).unwrap_err().code, Code::Usage, "{wrong:?}");
        }
    }

    #[test]
    fn both_forms_load() {
        for text in ["c = 'pass show a'", "c = ['pass', 'show', 'a']"] {
            let table: std::collections::BTreeMap<String, SecretCommand> =
                toml::from_str(text).unwrap();
            assert_eq!(table["c"].words().unwrap(), ["pass", "show", "a"]);
        }
    }
}
