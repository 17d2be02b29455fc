//! The files of a resumable run: a checkpoint of finished users, and a list of refused ones.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config_file::ReplacementFile;
use crate::domain::UserId;
use crate::exit::{Code, Failure};

/// A file of finished users: one id per line, below a line that describes the change.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    file: File,
    done: HashSet<String>,
}

impl Checkpoint {
    /// Opens the checkpoint of a change, or starts one.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or it belongs to another change.
    pub(super) fn open(path: &Path, change: &str) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("cannot open the journal {}", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text)
            .with_context(|| format!("cannot read the journal {}", path.display()))?;
        // A run that was killed may have left half a line, which could be mistaken for another id.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        if whole == 0 {
            writeln!(file, "# {change}")?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            done: done(&text[..whole], path, change)?,
        })
    }

    /// Reads the finished users of a checkpoint that need not exist, without changing the file.
    ///
    /// # Errors
    ///
    /// It cannot be read, or it belongs to another change.
    pub(super) fn read(path: &Path, change: &str) -> anyhow::Result<HashSet<String>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the journal {}", path.display()));
            }
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        Ok(done(&text[..whole], path, change)?)
    }

    /// Whether a user is finished.
    pub(super) fn has(&self, id: &UserId) -> bool {
        self.done.contains(id.as_str())
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many users are finished.
    pub(super) fn len(&self) -> usize {
        self.done.len()
    }

    /// Adds finished users, in one write.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn record<'a>(
        &mut self,
        ids: impl Iterator<Item = &'a UserId>,
    ) -> anyhow::Result<()> {
        let mut text = String::new();
        for id in ids {
            text.push_str(id.as_str());
            text.push('\n');
        }
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write the journal {}", self.path.display()))
    }
}

/// The finished users on the whole lines of a checkpoint, if it belongs to this change.
fn done(text: &str, path: &Path, change: &str) -> Result<HashSet<String>, Failure> {
    let mut lines = text.lines();
    match lines.next().map(|first| first.strip_prefix("# ")) {
        None => Ok(HashSet::new()),
        Some(about) if about == Some(change) => Ok(lines.map(str::to_owned).collect()),
        Some(_) => Err(Failure::new(
            Code::Usage,
            format!("the journal {} belongs to another change", path.display()),
        )
        .hinted("name another file, or delete this one")),
    }
}

/// A list of refused users for the next run, each below the reason.
#[derive(Debug)]
pub(super) struct FailureList {
    path: PathBuf,
    file: ReplacementFile,
}

impl FailureList {
    /// Prepares the list. The file is written at the end, so that it may be the list that is being read.
    ///
    /// # Errors
    ///
    /// Its folder cannot be written, or another process writes the list.
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let file = ReplacementFile::create_without_waiting(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Adds a user.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn add(&mut self, id: &UserId, reason: &str) -> anyhow::Result<()> {
        let reason = reason.replace(char::is_control, " ");
        writeln!(self.file, "# {reason}\n{id}")
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.file
            .commit()
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UserId {
        text.parse().unwrap()
    }

    #[test]
    fn a_journal_goes_on_where_it_ended_and_drops_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Checkpoint::open(&path, "set x").unwrap();
        journal.record([id("a"), id("b")].iter()).unwrap();
        drop(journal);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"joh")
            .unwrap();
        let mut journal = Checkpoint::open(&path, "set x").unwrap();
        assert_eq!(journal.len(), 2);
        assert!(journal.has(&id("b")) && !journal.has(&id("joh")));
        journal.record([id("john")].iter()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "# set x\na\nb\njohn\n"
        );
        assert!(Checkpoint::open(&path, "set y").is_err());
    }
}
