//! The file of `--tee`: the complete stream, appended as NDJSON.
//!
//! No filter applies to it, no debouncing and no overflow, and its records have numbers of their own. So it does not
//! depend on how stdout is written or read, and can be analysed later. Lines are written whole, each batch by one call,
//! so that a process that is killed leaves whole lines behind. If a machine dies in the middle of a line, the next run
//! starts a new line.
//!
//! A file that was renamed or removed, as logrotate does, is created again. A pipe is written by a thread, because opening
//! and writing it waits for its reader.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::event::HEALTH_CHECK;
use crate::domain::record::{Record, RecordBody};
use crate::exit::{Code, Failure};
use crate::output::record::Renderer;
use crate::stream::sinks::background_writer::{BackgroundWriter, WriterStatus};

/// How long the file's name is trusted before it is looked up again.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(1);
/// How many bytes may wait for the reader of a pipe.
const PIPE_BUFFER_MAX_BYTES: usize = 64 << 20;

/// The file.
#[derive(Debug)]
pub(crate) struct Tee {
    target: Target,
    path: PathBuf,
    renderer: Renderer,
    /// The number of the last record.
    seq: u64,
    pending: Vec<u8>,
}

#[derive(Debug)]
enum Target {
    File {
        file: File,
        /// When to look whether the name still means this file; `None` for a device.
        next_lookup: Option<Instant>,
    },
    /// A pipe, or anything else that may block.
    Pipe(BackgroundWriter),
}

impl Tee {
    /// Opens the file. Creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or read.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let refuse = |error| Failure::new(Code::Usage, cannot_append(path, &error));
        let mut pending = Vec::new();
        let target = if is_pipe(path) {
            Target::Pipe(open_pipe(path).map_err(refuse)?)
        } else {
            open_file(path, &mut pending).map_err(refuse)?
        };
        Ok(Self {
            target,
            path: path.to_owned(),
            pending,
            renderer: Renderer::default(),
            seq: 0,
        })
    }

    /// The file's name, for messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The state of the writer of a pipe.
    pub(crate) fn writer_status(&self) -> Option<WriterStatus> {
        match &self.target {
            Target::Pipe(writer) => Some(writer.status()),
            Target::File { .. } => None,
        }
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
        let written = self.write_pending();
        self.pending.clear();
        written.map_err(|error| append_error(&self.path, &error))
    }

    fn write_pending(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::File { file, next_lookup } => {
                if next_lookup.is_some_and(|at| Instant::now() >= at) {
                    if is_same_file(file, &self.path)? {
                        *next_lookup = Some(Instant::now() + LOOKUP_INTERVAL);
                    } else {
                        let mut lines = Vec::new();
                        self.target = open_file(&self.path, &mut lines)?;
                        lines.append(&mut self.pending);
                        self.pending = lines;
                        return self.write_pending();
                    }
                }
                file.write_all(&self.pending)
            }
            Target::Pipe(writer) => {
                writer.check()?;
                if writer.status().buffered_bytes() > PIPE_BUFFER_MAX_BYTES {
                    return Err(io::Error::other(format!(
                        "its reader is too slow: {} MiB are waiting",
                        PIPE_BUFFER_MAX_BYTES >> 20
                    )));
                }
                writer.push(&mut self.pending);
                Ok(())
            }
        }
    }
}

/// Opens a file or a device that does not block. `pending` gets the line break that a torn last line needs.
fn open_file(path: &Path, pending: &mut Vec<u8>) -> io::Result<Target> {
    let file = append_to(path)?;
    let is_file = file.metadata()?.is_file();
    if is_file && last_byte(path)?.is_some_and(|last| last != b'\n') {
        pending.push(b'\n');
    }
    Ok(Target::File {
        file,
        next_lookup: is_file.then(|| Instant::now() + LOOKUP_INTERVAL),
    })
}

/// Starts the thread that opens and writes a pipe.
fn open_pipe(path: &Path) -> io::Result<BackgroundWriter> {
    let path = path.to_owned();
    let mut opened: Option<File> = None;
    BackgroundWriter::start("tee", move |bytes| {
        let file = match &mut opened {
            Some(file) => file,
            none => none.insert(append_to(&path)?),
        };
        file.write_all(bytes)
    })
}

/// Not opened for reading: a pipe that this process could read itself never reports that its reader is gone.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Whether opening or writing this may block: a pipe, a socket or a terminal.
#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        let is_terminal = || File::open(path).is_ok_and(|file| file.is_terminal());
        kind.is_fifo() || kind.is_socket() || (kind.is_char_device() && is_terminal())
    })
}

#[cfg(not(unix))]
const fn is_pipe(_: &Path) -> bool {
    false
}

/// Whether the name means this open file, and not another one or none.
#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// An open file can be neither renamed nor removed here.
#[cfg(not(unix))]
const fn is_same_file(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// The error's kind is dropped: a broken pipe here does not mean that the reader of stdout has left.
pub(crate) fn append_error(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(cannot_append(path, error))
}

fn cannot_append(path: &Path, error: &io::Error) -> String {
    format!("cannot append to {}: {error}", path.display())
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
    fn a_file_that_was_renamed_or_removed_is_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.ndjson");
        let old = folder.path().join("log.ndjson.1");
        let read = |path| fs::read_to_string(path).unwrap();
        let mut tee = Tee::open(&path).unwrap();
        let mut write = |is_looked_up| {
            if let Target::File { next_lookup, .. } = &mut tee.target
                && is_looked_up
            {
                *next_lookup = Some(Instant::now());
            }
            tee.push(&RECOVERED);
            tee.flush().unwrap();
        };
        write(true);
        fs::rename(&path, &old).unwrap();
        write(false);
        assert_eq!(read(&old).lines().count(), 2, "not looked up for a second");
        write(true);
        assert_eq!(read(&old).lines().count(), 2);
        assert!(read(&path).contains(r#""seq":3"#));
        fs::remove_file(&path).unwrap();
        write(true);
        assert!(read(&path).contains(r#""seq":4"#));
    }

    /// A pipe without a reader, opened and with one record handed over.
    #[cfg(unix)]
    fn tee_to_pipe(folder: &Path) -> (PathBuf, Tee, WriterStatus) {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut tee = Tee::open(&path).unwrap();
        tee.push(&RECOVERED);
        tee.flush().unwrap();
        let status = tee.writer_status().unwrap();
        (path, tee, status)
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_pipe_gets_the_lines_from_before_its_reader_came() {
        let folder = tempfile::tempdir().unwrap();
        let (path, tee, status) = tee_to_pipe(folder.path());
        drop(tee);
        let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
        status.drained().await.unwrap();
        assert_eq!(reader.join().unwrap(), LINE);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_pipe_whose_reader_is_gone_is_not_a_broken_stdout() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut tee, status) = tee_to_pipe(folder.path());
        let reader = std::thread::spawn(move || {
            let mut file = File::open(path).unwrap();
            file.read_exact(&mut [0; LINE.len()]).unwrap();
        });
        status.drained().await.unwrap();
        reader.join().unwrap();
        tee.push(&RECOVERED);
        tee.flush().unwrap();
        assert_eq!(status.failed().await, io::ErrorKind::BrokenPipe);
        tee.push(&RECOVERED);
        let error = tee.flush().unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(error.to_string().contains("broken pipe"), "{error}");
    }
}
