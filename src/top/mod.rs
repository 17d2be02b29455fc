//! `top`: a live table of users on a terminal, from a stream or a recording of one.
//!
//! Records change [`state`]; keys change [`keys::Choices`]; `view` draws both into a buffer of cells, and `terminal`
//! writes the cells that differ from the frame before. `run` connects them: at most ten frames a second, and none when
//! nothing looks different. [`replay`] plays a recording instead of a live stream.

pub mod history;
pub mod keys;
pub mod list;
pub mod replay;
mod run;
pub mod state;
mod terminal;
#[cfg(test)]
mod testing;
pub mod view;

pub use replay::Replay;
pub use run::{TopOptions, replay as play, watch};
