//! `--cursor-file`: what a watcher knew when it ended, so that the next run can say what happened in between.
//!
//! The file is replaced as a whole or not at all. It never runs ahead of the reader: it is written only when everything
//! told was also taken, so that after a crash a change is told again rather than not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::debounce::Settling;
use crate::domain::{FingerprintSample, Presence, fingerprint};
use crate::events::{KnownUser, ResumeState, Watcher};
use crate::exit::{Code, Failure};

/// How often the file is written at most.
const EVERY: Duration = Duration::from_secs(5);
/// How soon it is tried for the first time, and again where it could not be.
const SOON: Duration = Duration::from_secs(1);
/// Writing takes no more than one part in this many of the time.
const SHARE: u32 = 20;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// The version of this format.
    version: u32,
    /// Up to when everything was known.
    at: DateTime<Utc>,
    /// The version of [`StoredUser::fingerprint`]. Fingerprints of another version are ignored.
    #[serde(default)]
    fingerprint_version: u32,
    users: BTreeMap<String, StoredUser>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredUser {
    #[serde(flatten)]
    presence: Presence,
    /// A fingerprint of all other fields. Files of earlier versions have none, or have one by another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<FingerprintSample>,
}

impl Stored {
    fn new<'a>(at: DateTime<Utc>, users: impl Iterator<Item = (&'a str, KnownUser)>) -> Self {
        let user = |(id, known): (&str, KnownUser)| {
            let KnownUser {
                presence,
                fingerprint,
            } = known;
            let user = StoredUser {
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
        let known = |(id, user): (String, StoredUser)| {
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

/// The file and when it is to be written again.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    next: Instant,
    /// When the file was written last as far as this process knows; `None` where there was none.
    written: Option<SystemTime>,
    shared: bool,
}

impl Cursor {
    /// Reads the file, if there is one.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<ResumeState>), Failure> {
        let cursor = Self {
            path: path.to_owned(),
            next: Instant::now() + SOON,
            written: written_at(path),
            shared: false,
        };
        let refuse = |what: String| {
            let name = path.display();
            Failure::new(Code::Usage, format!("the cursor file {name} {what}"))
                .hinted(format!("to start afresh: rm {name}"))
        };
        // A device has no end, and cannot be replaced.
        if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            let name = path.display();
            let message = format!("the cursor file {name} is no file");
            return Err(Failure::new(Code::Usage, message));
        }
        // Better now than when there is something to lose.
        if let Err(error) = try_beside(path) {
            let name = path.display();
            let message = format!("the cursor file {name} cannot be written: {error}");
            return Err(Failure::new(Code::Usage, message));
        }
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((cursor, None)),
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        // As `mktemp` makes it.
        if text.is_empty() {
            return Ok((cursor, None));
        }
        let stored: Stored = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("is no cursor file: {error}")))?;
        if stored.version != 1 {
            return Err(refuse(format!("has version {}, not 1", stored.version)));
        }
        Ok((cursor, Some(stored.resume())))
    }

    /// When the file should be written next.
    pub(super) const fn due(&self) -> Instant {
        self.next
    }

    /// Writes the file, unless the watcher's knowledge has a hole in it just now. Who is still `settling` is written as
    /// he was told of.
    pub(super) fn save(&mut self, watcher: &Watcher, settling: &Settling) -> io::Result<()> {
        let begin = Instant::now();
        let Some(at) = watcher.complete_until() else {
            self.next = begin + SOON;
            return Ok(());
        };
        let told = watcher.known_users().map(|(id, known)| {
            let known = match settling.waiting(id) {
                Some(change) => known.before_change(change),
                None => known,
            };
            (id, known)
        });
        // After a failure as after a success: a disk that is full now may have room later.
        self.next = begin + EVERY;
        self.replace(&serde_json::to_vec(&Stored::new(at, told))?)?;
        self.next = Instant::now() + EVERY.max(begin.elapsed() * SHARE);
        Ok(())
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let found = written_at(&self.path);
        self.shared |= found.is_some() && found != self.written;
        replace(&self.path, content)?;
        self.written = written_at(&self.path);
        Ok(())
    }

    /// Whether another process was found to write the same file, so that neither finds again what it wrote.
    pub(super) const fn is_shared(&self) -> bool {
        self.shared
    }

    /// Lets the file be for now.
    pub(super) fn postpone(&mut self) {
        self.next = Instant::now() + EVERY;
    }
}

fn written_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Where a file is written that is to take the place of another.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Whether a file beside this one can be made.
fn try_beside(path: &Path) -> io::Result<()> {
    let beside = beside(path);
    fs::File::create(&beside)?;
    fs::remove_file(&beside)
}

/// Replaces a file in one step: whoever reads it, whenever the machine dies, sees the old content or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The half-written file is of no use, and the error that is told is the first.
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
    fn what_is_known_comes_back_unless_its_numbers_are_of_another_kind() {
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
        let stored = Stored::new(DateTime::UNIX_EPOCH, users.into_iter());
        let mut json = serde_json::to_value(stored).unwrap();
        let users = |json: &serde_json::Value| {
            let stored: Stored = serde_json::from_value(json.clone()).unwrap();
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
    fn what_was_stored_is_read_and_what_is_no_cursor_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        assert!(Cursor::open(&path).unwrap().1.is_none());
        let text = r#"{"version":1,"at":"2026-01-05T10:00:00Z","users":{"amy":{"online":true,"invisible":null,"status":"x","last_active":null}}}"#;
        fs::write(&path, text).unwrap();
        let resume = Cursor::open(&path).unwrap().1.unwrap();
        let (_, amy) = &resume.users[0];
        assert_eq!(amy.presence.status.as_deref(), Some("x"));
        assert_eq!(amy.fingerprint, None, "it was written before there was any");
        fs::write(&path, "").unwrap();
        assert!(Cursor::open(&path).unwrap().1.is_none(), "mktemp's");
        for text in [
            "{}",
            r#"{"version":2,"at":"2026-01-05T10:00:00Z","users":{}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = Cursor::open(&path).unwrap_err();
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
        let resume = Cursor::open(&path).unwrap().1.unwrap();
        let (_, amy) = &resume.users[0];
        assert_eq!(amy.presence.online, Some(true));
        assert_eq!(amy.fingerprint, None);
    }

    #[test]
    fn another_writer_of_the_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        let (mut one, _) = Cursor::open(&path).unwrap();
        one.replace(b"1").unwrap();
        one.replace(b"1").unwrap();
        assert!(!one.is_shared());
        let other = SystemTime::now() + Duration::from_secs(9);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(other).unwrap();
        one.replace(b"1").unwrap();
        assert!(one.is_shared());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("none/cursor.json");
        for (path, words) in [
            (nowhere.as_path(), "cannot be written"),
            (folder.path(), "is no file"),
        ] {
            let failure = Cursor::open(path).unwrap_err();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains(words), "{failure}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
