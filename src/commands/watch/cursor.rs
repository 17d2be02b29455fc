//! `--cursor-file`: what a watcher knew when it ended, so that the next run can say what happened in between.
//!
//! The file is replaced as a whole or not at all. It never runs ahead of the reader: it is written only when everything
//! told was also taken, so that after a crash a change is told again rather than not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::Presence;
use crate::events::{Resume, Watcher};
use crate::exit::{Code, Failure};

/// How often the file is written at most.
const EVERY: Duration = Duration::from_secs(5);
/// Writing takes no more than one part in this many of the time.
const SHARE: u32 = 20;

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    /// The version of this format.
    version: u32,
    /// Up to when everything was known.
    at: DateTime<Utc>,
    users: BTreeMap<String, Presence>,
}

/// The file and when it is to be written again.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    next: Instant,
}

impl Cursor {
    /// Reads the file, if there is one.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Resume>), Failure> {
        let cursor = Self {
            path: path.to_owned(),
            next: Instant::now() + EVERY,
        };
        let refuse = |what: String| {
            let name = path.display();
            Failure::new(Code::Usage, format!("the cursor file {name} {what}"))
                .hinted(format!("to start afresh: rm {name}"))
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((cursor, None)),
            Err(error) => return Err(refuse(format!("cannot be read: {error}"))),
        };
        let stored: Stored = serde_json::from_slice(&text)
            .map_err(|error| refuse(format!("is no cursor file: {error}")))?;
        if stored.version != 1 {
            return Err(refuse(format!("has version {}, not 1", stored.version)));
        }
        let resume = Resume {
            at: stored.at,
            users: stored.users.into_iter().collect(),
        };
        Ok((cursor, Some(resume)))
    }

    /// When the file should be written next.
    pub(super) const fn due(&self) -> Instant {
        self.next
    }

    /// Writes the file, unless the watcher's knowledge has a hole in it just now.
    pub(super) fn save(&mut self, watcher: &Watcher) -> io::Result<()> {
        let begin = Instant::now();
        if let Some(at) = watcher.whole_until() {
            let stored = Stored {
                version: 1,
                at,
                users: watcher
                    .known()
                    .map(|(id, presence)| (id.to_owned(), presence))
                    .collect(),
            };
            replace(&self.path, &serde_json::to_vec(&stored)?)?;
        }
        self.next = Instant::now() + EVERY.max(begin.elapsed() * SHARE);
        Ok(())
    }

    /// Lets the file be for now.
    pub(super) fn postpone(&mut self) {
        self.next = Instant::now() + EVERY;
    }
}

/// Replaces a file in one step: whoever reads it, whenever the machine dies, sees the old content or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
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
    fn what_was_stored_is_read_and_what_is_no_cursor_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        assert!(Cursor::open(&path).unwrap().1.is_none());
        let text = r#"{"version":1,"at":"2026-01-05T10:00:00Z","users":{"amy":{"online":true,"invisible":null,"status":"x","last_active":null}}}"#;
        fs::write(&path, text).unwrap();
        let resume = Cursor::open(&path).unwrap().1.unwrap();
        assert_eq!(resume.users[0].1.status.as_deref(), Some("x"));
        for text in [
            "",
            "{}",
            r#"{"version":2,"at":"2026-01-05T10:00:00Z","users":{}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = Cursor::open(&path).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{text}");
            assert!(failure.hint.unwrap().contains("rm "), "{text}");
        }
    }
}
