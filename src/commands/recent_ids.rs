//! The ids shown by the last query, stored in the user's cache folder for shell completion.
//!
//! Only query commands on a terminal write them, and only as many as a shell can show. Failures are ignored, because
//! the query itself succeeded.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use xxhash_rust::xxh3::xxh3_64;

use crate::config_file::ReplacementFile;
use crate::settings::App;

/// How many ids are kept.
const RECENT_IDS_MAX: usize = 1000;
/// How many bytes are read back. Ids are at most 255 characters long.
const RECENT_IDS_MAX_BYTES: u64 = 1 << 18;

/// The kind of the ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// Users.
    Users,
    /// Channels, as `type:id`.
    Channels,
}

impl IdKind {
    /// The name of the file for an application. It has a hash of the application, whose key is nobody's business.
    fn file(self, application: &str) -> String {
        let kind = match self {
            Self::Users => "users",
            Self::Channels => "channels",
        };
        format!("{kind}-{:016x}", xxh3_64(application.as_bytes()))
    }
}

/// Collects the ids that a query shows and writes them when dropped. A query without results changes nothing.
#[derive(Debug)]
pub struct RecentIds {
    kind: IdKind,
    /// The application that the ids are of.
    application: Option<String>,
    /// `None` without a terminal.
    ids: Option<Vec<String>>,
}

impl RecentIds {
    /// Starts with no ids.
    pub fn new(kind: IdKind, app: &App) -> Self {
        let terminal = app.terminal();
        let watched = terminal.stderr || terminal.stdout;
        Self {
            kind,
            application: watched.then(|| app.application()).flatten(),
            ids: watched.then(Vec::new),
        }
    }

    /// Adds an id.
    pub fn add<'a>(&mut self, id: impl Into<Option<&'a str>>) {
        if let Some(ids) = &mut self.ids
            && ids.len() < RECENT_IDS_MAX
            && let Some(id) = id.into()
        {
            ids.push(id.to_owned());
        }
    }
}

impl Drop for RecentIds {
    fn drop(&mut self) {
        if let Some(ids) = self.ids.take().filter(|ids| !ids.is_empty())
            && let Some(application) = &self.application
            && let Some(folder) = folder()
        {
            // Failures are ignored; see the header.
            let _ = write(&self.kind.file(application), &ids, &folder);
        }
    }
}

/// The ids that the last query of this kind showed.
pub fn recall(kind: IdKind, application: &str) -> Vec<String> {
    let mut text = String::new();
    if let Some(folder) = folder()
        && let Ok(file) = File::open(folder.join(kind.file(application)))
    {
        // If the file cannot be read, there are no candidates.
        let _ = file.take(RECENT_IDS_MAX_BYTES).read_to_string(&mut text);
    }
    text.lines()
        .take(RECENT_IDS_MAX)
        .map(str::to_owned)
        .collect()
}

fn folder() -> Option<PathBuf> {
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.cache_dir().join("presencectl"))
}

fn write(name: &str, ids: &[String], folder: &std::path::Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // The file is private from the start and replaced in one step, so two queries at once leave the ids of one of them.
    let mut file = ReplacementFile::create_without_waiting(&folder.join(name))?;
    file.write_all(ids.join("\n").as_bytes())?;
    file.commit()
}
