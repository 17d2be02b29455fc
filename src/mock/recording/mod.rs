//! Recordings: what a client and a server said to each other, without secrets, in a file.
//!
//! A recording is NDJSON. The first line is a header with a version, the last line says that the recording is complete,
//! and each line between them is a request with its response, or something that happened on a WebSocket. `format` has
//! the lines and reads them. `redact` removes secrets and replaces people's data before a line is written, by what
//! `field_class` says of a field. `secret_scan` looks for what was missed, and `convert` makes fixtures and scenarios.
//! None of them does any I/O.

mod convert;
mod field_class;
mod format;
mod redact;
mod secret_scan;

pub use self::convert::{ConversionError, RecordedScenario, fixture_of, scenario_of};
pub use self::field_class::is_secret_name;
pub use self::format::{
    FrameSender, IdHandling, RECORDING_VERSION, RecordedFrame, RecordedRequest, RecordedSocket,
    RecordingEnd, RecordingError, RecordingLine, RecordingReader, RecordingStart, SocketEnding,
    SocketOpening, TrafficRecording, has_auth_frame, user_of_auth_frame,
};
pub(crate) use self::redact::{DROPPED, is_pseudonym, query_object};
pub use self::redact::{RecordingRedactor, RedactionOptions};
pub use self::secret_scan::{SuspectedSecret, scan_line};
