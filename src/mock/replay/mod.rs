//! Replay: answers requests from a recording, and plays its events to sockets at the recorded distances.
//!
//! `matching` decides whether a request is the recorded one, and says how it differs. `bindings` remembers which value of
//! this session stands for which pseudonym of the recording. `state` keeps what has been replayed. No file here does any
//! I/O or reads a clock.

mod bindings;
mod matching;
mod state;

pub(crate) use self::matching::LiveRequest;
pub(crate) use self::state::{NextFrame, ReplayedResponse, SocketPlayback, TrafficReplay};
pub use self::state::{ReplayReporter, ReplaySource};
