//! Reading a recording from a file, in bounded lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::exit::{Code, Failure};
use crate::mock::recording::{RecordingError, RecordingReader, TrafficRecording};
use crate::report;
use crate::settings::App;

/// The longest line. A response of the largest size fits, with the request that it answers.
const LINE_MAX_BYTES: u64 = 160 * 1024 * 1024;

/// Reads a recording, and warns if it is only the beginning of one.
///
/// # Errors
///
/// The file cannot be read or is not a recording. The error has this exit code.
pub(super) fn read_recording(
    app: &App,
    path: &Path,
    code: Code,
) -> Result<TrafficRecording, Failure> {
    let name = path.display();
    let unreadable =
        |error: std::io::Error| Failure::new(code, format!("cannot read {name}: {error}"));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut reader = RecordingReader::default();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let mut bounded = (&mut file).take(LINE_MAX_BYTES);
        let size = bounded.read_until(b'\n', &mut line).map_err(unreadable)?;
        if size == 0 {
            break;
        }
        if size as u64 == LINE_MAX_BYTES && !line.ends_with(b"\n") {
            let limit = LINE_MAX_BYTES / (1024 * 1024);
            return Err(Failure::new(
                code,
                format!("{name}: line {number} is longer than {limit} MiB"),
            ));
        }
        reader
            .push(&String::from_utf8_lossy(&line))
            .map_err(|error| not_a_recording(code, path, &error, &line))?;
    }
    let recording = reader
        .finish()
        .map_err(|error| not_a_recording(code, path, &error, &[]))?;
    if !recording.is_complete {
        app.output().warn(&format!(
            "{name} is the beginning of a recording; `mock record` did not end properly"
        ));
    }
    Ok(recording)
}

fn not_a_recording(code: Code, path: &Path, error: &RecordingError, line: &[u8]) -> Failure {
    let hint = if str::from_utf8(line).is_ok_and(|line| report::is_record(line.trim())) {
        "this is a stream recorded by `watch`; analyse it: presencectl report uptime FILE; replay it: presencectl top --replay FILE"
    } else {
        "make a recording: presencectl mock record --upstream URL --out FILE"
    };
    Failure::new(code, format!("{}: {error}", path.display())).hinted(hint)
}
