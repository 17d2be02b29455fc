//! stdout for a stream: writing never blocks, and a reader who leaves is noticed even while nothing is written.
//!
//! The socket must be read and pinged whether or not somebody reads our output, and a signal must end the program while
//! the pipe is full. So what cannot be written at once goes to a thread that may block. A file never blocks, so it is
//! written directly. The caller checks [`WriterStatus::buffered_bytes`] and holds back when it grows.

use std::io::{self, Write};
use std::thread;

use crate::output::LineSink;
use crate::stream::sinks::background_writer::{BackgroundWriter, WriterStatus};

/// How many bytes are collected before they go to the thread. Waking it is expensive.
const THREAD_BATCH_BYTES: usize = 256 * 1024;
/// How many bytes are collected before they are written to a file.
const FILE_BATCH_BYTES: usize = 64 * 1024;
/// How many bytes a writable pipe takes without blocking: `PIPE_BUF`.
const PIPE_ATOMIC_BYTES: usize = 4096;

/// The writing end.
#[derive(Debug)]
pub(crate) struct StdoutWriter {
    writer: BackgroundWriter,
    /// Whether the system says that a write will not block.
    can_poll: bool,
    /// Whether stdout is a file, for which no write waits.
    is_file: bool,
}

/// Opens stdout.
pub(crate) fn open() -> io::Result<(StdoutWriter, WriterStatus)> {
    let writer = BackgroundWriter::start("stdout", write_out)?;
    let status = writer.status();
    // It is blocked when the program ends; nobody joins it.
    let for_hang_up = status.clone();
    thread::Builder::new()
        .name("hang-up".to_owned())
        .spawn(move || wait_for_hang_up(&for_hang_up))?;
    let writer = StdoutWriter {
        writer,
        can_poll: cfg!(unix),
        is_file: is_file(),
    };
    Ok((writer, status))
}

impl LineSink for StdoutWriter {
    fn write_lines(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        if self.is_file {
            write_out(lines)?;
            lines.clear();
            return Ok(());
        }
        let is_idle = self.writer.is_idle()?;
        // Waking the thread costs more than writing a line, so what is certain to fit is written here.
        if is_idle && self.can_poll && lines.len() <= PIPE_ATOMIC_BYTES && is_writable() {
            write_out(lines)?;
            lines.clear();
            return Ok(());
        }
        self.writer.push(lines);
        Ok(())
    }

    fn batch_bytes(&self) -> usize {
        if self.is_file {
            FILE_BATCH_BYTES
        } else {
            THREAD_BATCH_BYTES
        }
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Whether stdout is a file, or a device such as `/dev/null`, for which no write waits.
#[cfg(unix)]
fn is_file() -> bool {
    use std::fs::File;
    use std::io::IsTerminal;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return false;
    }
    let metadata = stdout
        .as_fd()
        .try_clone_to_owned()
        .and_then(|stdout| File::from(stdout).metadata());
    metadata.is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_file() || kind.is_char_device()
    })
}

#[cfg(not(unix))]
fn is_file() -> bool {
    false
}

/// Whether stdout takes [`PIPE_ATOMIC_BYTES`] now without blocking.
#[cfg(unix)]
fn is_writable() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(not(unix))]
fn is_writable() -> bool {
    false
}

/// Blocks until the other end of stdout is closed. A file has no other end.
#[cfg(unix)]
fn wait_for_hang_up(status: &WriterStatus) {
    use rustix::event::{PollFd, PollFlags, poll};
    let stdout = io::stdout();
    loop {
        // With no events requested, the system reports only errors and hang-ups.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().is_empty() => {}
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
    status.fail(io::ErrorKind::BrokenPipe);
}

#[cfg(not(unix))]
fn wait_for_hang_up(_: &WriterStatus) {}
