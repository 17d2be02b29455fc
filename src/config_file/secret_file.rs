//! Files with a secret: who else can read them, and when that is acceptable.
//!
//! A container runtime mounts secrets with modes such as 0440 or 0444, as root or read-only, and the user of the file
//! cannot change that. Everywhere else the owner can, and has to.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;

use crate::domain::SecretString;
use crate::exit::{Code, Failure};

/// The most bytes of a secret file that are read.
const SECRET_FILE_MAX_BYTES: u64 = 64 * 1024;

/// Reads a secret from the first line of a file. `warn` gets what the user should know about it.
///
/// # Errors
///
/// The file cannot be read, is empty, or others can read it; then the hint is the `chmod` that fixes it.
pub fn read_secret_file(path: &Path, warn: &dyn Fn(&str)) -> anyhow::Result<SecretString> {
    let read = || -> io::Result<(FileAccess, String)> {
        let file = File::open(path)?;
        let access = FileAccess::of(&file, path)?;
        let mut text = String::new();
        file.take(SECRET_FILE_MAX_BYTES).read_to_string(&mut text)?;
        Ok((access, text))
    };
    let (access, text) = read().map_err(|error| {
        Failure::new(
            Code::NotAuthenticated,
            format!("cannot read the secret file {}: {error}", path.display()),
        )
    })?;
    if let Some(warning) = access.check(path)? {
        warn(&warning);
    }
    let text = text.trim_start_matches('\u{feff}');
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

/// Checks that nobody else can read a file with a secret. Returns a warning if
/// others can read it but this is accepted.
///
/// # Errors
///
/// The file cannot be read, or others can read it.
pub(super) fn check_file(path: &Path) -> anyhow::Result<Option<String>> {
    let access = File::open(path)
        .and_then(|file| FileAccess::of(&file, path))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(access.check(path)?)
}

/// Who can read a file.
#[derive(Debug, Clone, Copy)]
struct FileAccess {
    /// The permission bits. 0 where the platform has none, and for a pipe, such as bash's `<(pass show …)`, which
    /// belongs to the user who created it.
    mode: u32,
    owner: u32,
    /// The user who runs this program.
    user: u32,
    /// Whether the file is on a read-only mount or under `/run/secrets`.
    is_mounted_secret: bool,
}

const ROOT: u32 = 0;

impl FileAccess {
    #[cfg(unix)]
    fn of(file: &File, path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{StatVfsMountFlags, fstatvfs};

        let found = file.metadata()?;
        let is_read_only =
            || fstatvfs(file).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY));
        // The path without links, because anybody can link to anywhere.
        let is_run_secret =
            || std::fs::canonicalize(path).is_ok_and(|path| path.starts_with("/run/secrets"));
        Ok(Self {
            mode: if found.is_file() {
                found.mode() & 0o777
            } else {
                0
            },
            owner: found.uid(),
            user: rustix::process::geteuid().as_raw(),
            is_mounted_secret: is_run_secret() || is_read_only(),
        })
    }

    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the signature of the systems that can fail"
    )]
    fn of(_file: &File, _path: &Path) -> io::Result<Self> {
        Ok(Self {
            mode: 0,
            owner: ROOT,
            user: ROOT,
            is_mounted_secret: false,
        })
    }

    fn check(self, path: &Path) -> Result<Option<String>, Failure> {
        let path = path.display();
        let Self {
            mode, owner, user, ..
        } = self;
        if mode & 0o077 == 0 {
            return Ok(None);
        }
        let problem = format!("{path} has a secret, and others can read it (mode {mode:04o})");
        if self.is_mounted_secret || (owner == ROOT && user != ROOT) {
            return Ok(Some(format!("{problem}; mount it with mode 0400")));
        }
        let fix = if owner == user || user == ROOT {
            format!("chmod 600 {path}")
        } else {
            format!(
                "it belongs to another user; make a copy of your own: install -m 600 {path} FILE"
            )
        };
        Err(Failure::new(Code::NotAuthenticated, problem).hinted(fix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_file_is_accepted_only_where_its_user_cannot_change_it() {
        let check = |mode, owner, user, is_mounted_secret| {
            let access = FileAccess {
                mode,
                owner,
                user,
                is_mounted_secret,
            };
            match access.check(Path::new("f")) {
                Ok(None) => "accepted".to_owned(),
                Ok(Some(_)) => "warned".to_owned(),
                Err(failure) => failure.hint.unwrap_or_default(),
            }
        };
        assert_eq!(check(0o600, 1000, 1000, false), "accepted");
        assert_eq!(check(0o400, ROOT, ROOT, false), "accepted");
        assert_eq!(check(0o440, ROOT, 1000, false), "warned");
        assert_eq!(check(0o444, 1000, 1000, true), "warned");
        assert_eq!(check(0o444, ROOT, ROOT, true), "warned");
        assert_eq!(check(0o640, 1000, 1000, false), "chmod 600 f");
        assert_eq!(check(0o644, ROOT, ROOT, false), "chmod 600 f");
        assert_eq!(check(0o644, 1001, ROOT, false), "chmod 600 f");
        assert!(check(0o644, 1001, 1000, false).contains("another user"));
    }
}
