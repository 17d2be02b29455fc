//! The library behind `presencectl`, the command line for user presence on Stream Chat.
//!
//! A run goes through these types: [`cli::Cli`] is the command line as typed. [`settings::App`] resolves it against
//! environment, profile and terminal. A command in [`commands`] calls the service through [`api::Client`] or follows it
//! through [`events`]. What it learns are [`domain`] values and records, which [`output`] writes. An error becomes an
//! exit code in [`error_to_exit`].
//!
//! A module may import only modules to the left of it:
//!
//! ```text
//! exit → fuzz → signals → timer → environment → input_file → terminal → escape → json → domain → config_file → api → events → output →
//! error_to_exit → stream → report → top → mock → args → settings → commands → cli
//! output does not import api, events
//! report imports only exit, fuzz, escape, json, domain, output
//! mock imports only exit, fuzz, timer, escape, json, domain
//! mock is imported only by settings, commands::mock
//! ```
//!
//! No command imports another command. Files of different folders do not import each other in a circle. Two files of
//! one folder do not import each other, except a `mod.rs` and its files. The bundled server shares no code with the
//! client except `domain`, so that the two cannot agree on a mistake. `tests/architecture.rs` reads the order from here
//! and checks it.

pub mod api;
pub mod args;
pub mod cli;
pub mod commands;
pub mod config_file;
pub mod domain;
pub mod environment;
pub mod error_to_exit;
pub mod escape;
pub mod events;
pub mod exit;
#[cfg(test)]
mod fuzz;
mod input_file;
pub mod json;
pub mod mock;
pub mod output;
pub mod report;
pub mod settings;
mod signals;
pub mod stream;
pub mod terminal;
mod timer;
pub mod top;
