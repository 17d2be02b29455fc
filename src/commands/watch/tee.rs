//! A copy of a stream in a file: whole lines, appended, as NDJSON whatever stdout looks like.
//!
//! Lines are written together with those of stdout, each batch by one call, so that a process that is killed leaves
//! whole lines behind. Should a machine die in the middle of a line, the next run starts a new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::exit::{Code, Failure};

/// The file.
#[derive(Debug)]
pub(super) struct Tee {
    file: File,
    pending: Vec<u8>,
}

impl Tee {
    /// Opens the file, creating it where it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let refuse = |error: &io::Error| {
            let name = path.display();
            Failure::new(Code::Usage, format!("cannot append to {name}: {error}"))
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| refuse(&error))?;
        let mut tee = Self {
            file,
            pending: Vec::new(),
        };
        if tee.ends_in_a_line().map_err(|error| refuse(&error))? {
            tee.pending.push(b'\n');
        }
        Ok(tee)
    }

    /// Whether the last line has no end.
    fn ends_in_a_line(&mut self) -> io::Result<bool> {
        // A pipe or a device has no end to look at.
        if !self.file.metadata()?.is_file() || self.file.seek(SeekFrom::End(0))? == 0 {
            return Ok(false);
        }
        self.file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        Ok(last != *b"\n")
    }

    /// Adds a line, written at the next flush.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.pending);
        self.pending.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_are_appended_and_a_torn_one_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        for line in ["1", "2"] {
            let mut tee = Tee::open(&path).unwrap();
            tee.push(line.as_bytes());
            tee.flush().unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
        fs::write(&path, "1\n{\"torn").unwrap();
        let mut tee = Tee::open(&path).unwrap();
        tee.push(b"2");
        tee.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n{\"torn\n2\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Tee::open(folder.path()).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.message.contains(folder.path().to_str().unwrap()));
    }
}
