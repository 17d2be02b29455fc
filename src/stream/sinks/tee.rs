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
pub(crate) struct Tee {
    file: File,
    /// Its name, for whoever has to do something about it.
    name: String,
    pending: Vec<u8>,
}

impl Tee {
    /// Opens the file, creating it where it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let refuse = |error| Failure::new(Code::Usage, cannot_append(&name, &error));
        // A pipe that is open for reading as well never says that its reader is gone, and blocks for ever once it is full.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(refuse)?;
        let is_file = file.metadata().map_err(refuse)?.is_file();
        let is_torn = is_file && last_byte(path).map_err(refuse)?.is_some_and(|b| b != b'\n');
        Ok(Self {
            file,
            pending: if is_torn { vec![b'\n'] } else { Vec::new() },
            name,
        })
    }

    /// Adds a line, written at the next flush.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.pending);
        self.pending.clear();
        // Without the kind: a pipe that breaks here is not the reader of stdout, who may leave without a word.
        written.map_err(|error| io::Error::other(cannot_append(&self.name, &error)))
    }
}

fn cannot_append(name: &str, error: &io::Error) -> String {
    format!("cannot append to {name}: {error}")
}

/// The last byte of a file that has any.
fn last_byte(path: &Path) -> io::Result<Option<u8>> {
    let mut file = File::open(path)?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(Some(last[0]))
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
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_with_the_name_of_the_file() {
        let mut tee = Tee::open(Path::new("/dev/full")).unwrap();
        tee.push(b"1");
        let error = tee.flush().unwrap_err().to_string();
        assert!(
            error.starts_with("cannot append to /dev/full: No space"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_whose_reader_is_gone_is_an_error_and_no_broken_stdout() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || drop(File::open(path).unwrap())
        });
        let mut tee = Tee::open(&path).unwrap();
        reader.join().unwrap();
        tee.push(b"1");
        let error = tee.flush().unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("Broken pipe"), "{error}");
    }
}
