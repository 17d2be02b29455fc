//! The file of `--tee`: the complete stream, appended as NDJSON.
//!
//! No filter applies to it, no debouncing and no overflow, and its records have numbers of their own. So it does not
//! depend on how stdout is written or read, and can be analysed later. Lines are written whole, each batch by one call,
//! so that a process that is killed leaves whole lines behind. If a machine dies in the middle of a line, the next run
//! starts a new line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::domain::event::HEALTH_CHECK;
use crate::domain::record::{Record, RecordBody};
use crate::exit::{Code, Failure};
use crate::output::record::Renderer;

/// The file.
#[derive(Debug)]
pub(crate) struct Tee {
    file: File,
    /// Its name, for error messages.
    name: String,
    renderer: Renderer,
    /// The number of the last record.
    seq: u64,
    pending: Vec<u8>,
}

impl Tee {
    /// Opens the file. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or read.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let refuse = |error| Failure::new(Code::Usage, cannot_append(&name, &error));
        // Not opened for reading: a pipe that this process could read itself never reports that its reader is gone, and
        // blocks for ever once it is full.
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
            renderer: Renderer::default(),
            seq: 0,
        })
    }

    /// Adds a record, to be written at the next flush. Heartbeats are left out: they say nothing about anybody.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        if matches!(&record.body, RecordBody::Event { event, .. } if event.is(HEALTH_CHECK)) {
            return;
        }
        self.seq += 1;
        self.renderer.render(record, self.seq, &mut self.pending);
        self.pending.push(b'\n');
    }

    /// Writes the records that were added.
    ///
    /// # Errors
    ///
    /// Writing failed. The records are lost.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.pending);
        self.pending.clear();
        // The error's kind is dropped: a broken pipe here does not mean that the reader of stdout has left.
        written.map_err(|error| io::Error::other(cannot_append(&self.name, &error)))
    }
}

fn cannot_append(name: &str, error: &io::Error) -> String {
    format!("cannot append to {name}: {error}")
}

/// The last byte of a file; `None` if the file is empty.
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

    use chrono::DateTime;

    use super::*;
    use crate::domain::Event;
    use crate::domain::record::RecordSource;

    fn event(raw: &str) -> Record<'_> {
        Record {
            received_at: DateTime::UNIX_EPOCH,
            source: RecordSource::Ws,
            body: RecordBody::Event {
                event: Event::parse(raw).unwrap(),
                change: None,
            },
        }
    }

    const RECOVERED: Record<'static> = Record {
        received_at: DateTime::UNIX_EPOCH,
        source: RecordSource::Local,
        body: RecordBody::ConnectionRecovered,
    };
    const LINE: &str = "{\"type\":\"connection.recovered\",\"seq\":1,\"received_at\":\"1970-01-01T00:00:00.000Z\",\"source\":\"local\"}\n";

    #[test]
    fn lines_are_appended_and_a_torn_one_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        for _ in 0..2 {
            let mut tee = Tee::open(&path).unwrap();
            tee.push(&RECOVERED);
            tee.flush().unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), [LINE, LINE].concat());
        fs::write(&path, "1\n{\"torn").unwrap();
        let mut tee = Tee::open(&path).unwrap();
        tee.push(&RECOVERED);
        tee.flush().unwrap();
        let expected = ["1\n{\"torn\n", LINE].concat();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn heartbeats_are_left_out_and_take_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        let mut tee = Tee::open(&path).unwrap();
        tee.push(&event(r#"{"type":"health.check"}"#));
        tee.push(&RECOVERED);
        tee.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), LINE);
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
    fn a_full_disk_is_reported_with_the_name_of_the_file() {
        let mut tee = Tee::open(Path::new("/dev/full")).unwrap();
        tee.push(&RECOVERED);
        let error = tee.flush().unwrap_err().to_string();
        assert!(
            error.starts_with("cannot append to /dev/full: No space"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_whose_reader_is_gone_is_not_a_broken_stdout() {
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
        tee.push(&RECOVERED);
        let error = tee.flush().unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("Broken pipe"), "{error}");
    }
}
