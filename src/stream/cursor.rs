//! The cursor file (`--cursor-file`): the last known state of all users, so that the next run can report what changed in
//! between.
//!
//! The file is replaced as a whole or not at all. It is written only when the reader of stdout has taken everything, so
//! that after a crash a change is reported twice rather than never. Behind a symbolic link, the target is replaced. What a
//! killed process leaves beside the file is removed at the next start.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config_file::link_target;
use crate::domain::{Change, FingerprintSample, Presence, fingerprint};
use crate::events::{KnownUser, ResumeState, Watcher};
use crate::exit::{Code, Failure};

/// The shortest time between two writes.
const WRITE_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// When a write is tried again if the state is incomplete.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The same before the first write, so that a process that is killed early leaves a file.
const FIRST_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The time between two writes, as a multiple of the time that a write takes.
const WRITE_INTERVAL_FACTOR: u32 = 20;

#[derive(Debug, Serialize, Deserialize)]
struct CursorContent {
    /// The version of this format.
    version: u32,
    /// The time up to which the state is complete.
    at: DateTime<Utc>,
    /// The version of [`CursorUser::fingerprint`]. Fingerprints of another version are ignored.
    #[serde(default)]
    fingerprint_version: u32,
    users: BTreeMap<String, CursorUser>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CursorUser {
    #[serde(flatten)]
    presence: Presence,
    /// A fingerprint of all other fields. Files of earlier versions have none, or have one by another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<FingerprintSample>,
}

impl CursorContent {
    fn new<'a>(at: DateTime<Utc>, users: impl Iterator<Item = (&'a str, KnownUser)>) -> Self {
        let user = |(id, known): (&str, KnownUser)| {
            let KnownUser {
                presence,
                fingerprint,
            } = known;
            let user = CursorUser {
                presence,
                fingerprint,
            };
            (id.to_owned(), user)
        };
        Self {
            version: 1,
            at,
            fingerprint_version: fingerprint::VERSION,
            users: users.map(user).collect(),
        }
    }

    fn resume(self) -> ResumeState {
        let comparable = self.fingerprint_version == fingerprint::VERSION;
        let known = |(id, user): (String, CursorUser)| {
            let known = KnownUser {
                presence: user.presence,
                fingerprint: user.fingerprint.filter(|_| comparable),
            };
            (id, known)
        };
        ResumeState {
            at: self.at,
            users: self.users.into_iter().map(known).collect(),
        }
    }
}

/// The file, and when to write it again.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    next: Instant,
    /// When this process wrote or found the file; `None` if there was none.
    written_at: Option<SystemTime>,
    is_shared: bool,
    /// Whether this process has written the file.
    has_written: bool,
}

impl CursorFile {
    /// Opens the file, and reads it if it exists.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or it is not a cursor file.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<ResumeState>), Failure> {
        let path = &link_target(path);
        remove_leftovers(path);
        let cursor = Self {
            path: path.clone(),
            next: Instant::now(),
            has_written: false,
            written_at: modified_at(path),
            is_shared: false,
        };
        let refuse = |what: String| {
            let name = path.display();
            Failure::new(Code::Usage, format!("the cursor file {name} {what}"))
                .hinted(format!("to start without it: rm {name}"))
        };
        // Reading a device may never end, and a device cannot be replaced.
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            let name = path.display();
            let message = format!("the cursor file {name} is not a regular file");
            return Err(Failure::new(Code::Usage, message));
        }
        // Fail now rather than when there is something to lose.
        if let Err(error) = test_write_beside(path) {
            let name = path.display();
            let message = format!("the cursor file {name} cannot be written: {error}");
            return Err(Failure::new(Code::Usage, message));
        }
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((cursor, None)),
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        // `mktemp` creates an empty file.
        if text.is_empty() {
            return Ok((cursor, None));
        }
        let stored: CursorContent = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("cannot be parsed: {error}")))?;
        if stored.version != 1 {
            return Err(refuse(format!(
                "has version {}; this program reads version 1",
                stored.version
            )));
        }
        Ok((cursor, Some(stored.resume())))
    }

    /// When to write the file next.
    pub(super) const fn next_write(&self) -> Instant {
        self.next
    }

    /// Writes the file, unless the watcher is repairing a gap. `pending_change` is what has not been reported of a user
    /// yet: such a user is saved in the state that was last reported.
    ///
    /// # Errors
    ///
    /// Writing failed. The old file is still there.
    pub(super) fn save<'a>(
        &mut self,
        watcher: &Watcher,
        pending_change: impl Fn(&str, &Presence) -> Option<Cow<'a, Change>>,
    ) -> io::Result<()> {
        let begin = Instant::now();
        let Some(at) = watcher.complete_until() else {
            self.next = begin
                + match self.has_written {
                    true => RETRY_INTERVAL,
                    false => FIRST_RETRY_INTERVAL,
                };
            return Ok(());
        };
        let reported = watcher.known_users().map(|(id, known)| {
            let known = match pending_change(id, &known.presence) {
                Some(change) => known.before_change(&change),
                None => known,
            };
            (id, known)
        });
        // Also after a failure: a disk that is full now may have room later.
        self.next = begin + WRITE_INTERVAL_MIN;
        self.replace(&serde_json::to_vec(&CursorContent::new(at, reported))?)?;
        self.next =
            Instant::now() + WRITE_INTERVAL_MIN.max(begin.elapsed() * WRITE_INTERVAL_FACTOR);
        Ok(())
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let found = modified_at(&self.path);
        self.is_shared |= found.is_some() && found != self.written_at;
        replace(&self.path, content)?;
        self.written_at = modified_at(&self.path);
        self.has_written = true;
        Ok(())
    }

    /// Whether another process writes the same file, so that each overwrites what the other knows.
    pub(super) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Skips this write.
    pub(super) fn postpone(&mut self) {
        self.next = Instant::now()
            + match self.has_written {
                true => WRITE_INTERVAL_MIN,
                false => FIRST_RETRY_INTERVAL,
            };
    }
}

fn modified_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The temporary file that will replace a file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Removes the temporary files of processes that were killed.
#[cfg(target_os = "linux")]
fn remove_leftovers(path: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return;
    };
    for entry in entries.flatten() {
        let entry_name = entry.file_name();
        let pid = entry_name
            .to_str()
            .and_then(|entry| {
                entry
                    .strip_prefix(name)?
                    .strip_prefix('.')?
                    .strip_suffix(".tmp")
            })
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // It is only in the way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Nothing says here which processes are alive.
#[cfg(not(target_os = "linux"))]
const fn remove_leftovers(_: &Path) {}

/// Checks that a temporary file can be created beside this file.
fn test_write_beside(path: &Path) -> io::Result<()> {
    let beside = beside(path);
    fs::File::create(&beside)?;
    fs::remove_file(&beside)
}

/// Replaces a file in one step: a reader sees the old content or the new one, even if the machine dies meanwhile.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The half-written file is useless. The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Fingerprint, UserOrigin};

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn saved_states_are_read_back_without_fingerprints_of_another_version() {
        let known = KnownUser {
            presence: Presence {
                online: Some(true),
                ..Presence::default()
            },
            fingerprint: Some(FingerprintSample {
                origin: UserOrigin::Event,
                fingerprint: Fingerprint::of(
                    &serde_json::from_str(r#"{"id":"amy","name":"Amy"}"#).unwrap(),
                ),
            }),
        };
        let users = [("amy", known.clone())];
        let stored = CursorContent::new(DateTime::UNIX_EPOCH, users.into_iter());
        let mut json = serde_json::to_value(stored).unwrap();
        let users = |json: &serde_json::Value| {
            let stored: CursorContent = serde_json::from_value(json.clone()).unwrap();
            stored.resume().users
        };
        assert_eq!(users(&json), [("amy".to_owned(), known.clone())]);
        json["fingerprint_version"] = (fingerprint::VERSION + 1).into();
        assert_eq!(
            users(&json),
            [(
                "amy".to_owned(),
                KnownUser {
                    fingerprint: None,
                    ..known
                }
            )]
        );
    }

    #[test]
    fn a_saved_file_is_read_and_any_other_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        assert!(CursorFile::open(&path).unwrap().1.is_none());
        let text = r#"{"version":1,"at":"2026-01-05T10:00:00Z","users":{"amy":{"online":true,"invisible":null,"status":"x","last_active":null}}}"#;
        fs::write(&path, text).unwrap();
        let resume = CursorFile::open(&path).unwrap().1.unwrap();
        let (_, amy) = &resume.users[0];
        assert_eq!(amy.presence.status.as_deref(), Some("x"));
        assert_eq!(
            amy.fingerprint, None,
            "it was written before fingerprints existed"
        );
        fs::write(&path, "").unwrap();
        assert!(CursorFile::open(&path).unwrap().1.is_none(), "mktemp's");
        for text in [
            "{}",
            r#"{"version":2,"at":"2026-01-05T10:00:00Z","users":{}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = CursorFile::open(&path).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{text}");
            assert!(failure.hint.unwrap().contains("rm "), "{text}");
        }
    }

    #[test]
    fn a_file_with_fingerprints_of_the_first_version_is_read_without_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        let text = r#"{"version":1,"at":"2026-01-05T10:00:00Z","rest":1,"users":{"amy":{"online":true,"invisible":null,"status":"x","last_active":null,"rest":{"view":"event","fields":2104423516,"updated":889888434}}}}"#;
        fs::write(&path, text).unwrap();
        let resume = CursorFile::open(&path).unwrap().1.unwrap();
        let (_, amy) = &resume.users[0];
        assert_eq!(amy.presence.online, Some(true));
        assert_eq!(amy.fingerprint, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_link_stays_and_leftovers_of_dead_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("cursor"));
        std::os::unix::fs::symlink("cursor", &link).unwrap();
        // No process has an id as large as this.
        let leftover = folder.path().join("cursor.4194305.tmp");
        let alive = folder.path().join(format!(
            "cursor.{}.tmp",
            std::os::unix::process::parent_id()
        ));
        fs::write(&leftover, "").unwrap();
        fs::write(&alive, "").unwrap();
        let (mut cursor, _) = CursorFile::open(&link).unwrap();
        assert!(!leftover.exists() && alive.exists());
        cursor.replace(b"1").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"1");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn another_writer_of_the_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        let (mut cursor, _) = CursorFile::open(&path).unwrap();
        cursor.replace(b"1").unwrap();
        cursor.replace(b"1").unwrap();
        assert!(!cursor.is_shared());
        let other = SystemTime::now() + Duration::from_secs(9);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(other).unwrap();
        cursor.replace(b"1").unwrap();
        assert!(cursor.is_shared());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("none/cursor.json");
        for (path, words) in [
            (nowhere.as_path(), "cannot be written"),
            (folder.path(), "is not a regular file"),
        ] {
            let failure = CursorFile::open(path).unwrap_err();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains(words), "{failure}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
