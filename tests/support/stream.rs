//! A running process, read line by line. That no line comes for a long time is a failure; nothing else is asserted about
//! durations.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use serde_json::Value;
use tempfile::TempDir;

use super::contract::Contract;
use super::{PATIENCE, Run, signal};

/// A started process. It is killed when dropped.
pub(crate) struct Stream {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    seen: Vec<String>,
    contract: Contract,
    _home: TempDir,
}

impl Stream {
    pub(super) fn start(mut command: Command, home: TempDir, contract: Contract) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        Self {
            stdin: child.stdin.take(),
            lines: read_lines(child.stdout.take().expect("a pipe")),
            errors: read_lines(child.stderr.take().expect("a pipe")),
            child,
            seen: Vec::new(),
            contract,
            _home: home,
        }
    }

    /// The next line of stdout.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.next_line() {
            Some(line) => line,
            None => panic!("stdout ended\n{}", self.transcript()),
        }
    }

    /// The next record of stdout.
    #[track_caller]
    pub(crate) fn record(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.transcript()))
    }

    /// The records up to and with the first one of this type.
    #[track_caller]
    pub(crate) fn records_until(&mut self, kind: &str) -> Vec<Value> {
        let mut records = Vec::new();
        loop {
            records.push(self.record());
            if records[records.len() - 1]["type"] == kind {
                return records;
            }
        }
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The rest of stdout and how it ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Vec<String>, ExitStatus) {
        drop(self.stdin.take());
        self.end_with_open_stdin()
    }

    /// The rest of stdout, all of stderr, and the exit code.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        drop(self.stdin.take());
        let mut stdout = String::new();
        while let Some(line) = self.next_line() {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let code = self.child.wait().expect("the process ends").code();
        let stderr = self.errors.iter().map(|line| line + "\n").collect();
        Run {
            code,
            stdout,
            stderr,
        }
    }

    /// Like [`Self::end`], with a stdin that stays open and silent.
    #[track_caller]
    pub(crate) fn end_with_open_stdin(mut self) -> (Vec<String>, ExitStatus) {
        let mut rest = Vec::new();
        while let Some(line) = self.next_line() {
            rest.push(line);
        }
        let status = self.child.wait().expect("the process ends");
        (rest, status)
    }

    #[track_caller]
    fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.contract.check(&line);
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came\n{}", self.transcript()),
        }
    }

    fn transcript(&self) -> String {
        let errors: Vec<_> = self.errors.try_iter().collect();
        format!(
            "stdout so far:\n{}\nstderr:\n{}",
            self.seen.join("\n"),
            errors.join("\n")
        )
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
