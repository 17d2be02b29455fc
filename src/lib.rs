//! The library behind `presencectl`, the command line for user presence on Stream Chat.
//!
//! A run goes through these types: [`cli::Cli`] is the command line as typed. [`app::App`] resolves it against
//! environment, profile and terminal. A command in [`commands`] calls the service through [`api::Client`] or follows it
//! through [`events`]. What it learns are [`domain`] values and records, which [`output`] writes. An error becomes an
//! exit code in [`error_report`].
//!
//! A module may import only modules to the left of it:
//!
//! ```text
//! exit → fuzz → signals → timer → environment → terminal → text → json → domain → config → api → events → output →
//! error_report → stream → report → top → mock → args → app → commands → cli
//! output does not import api, events
//! report imports only exit, fuzz, text, json, domain, output
//! mock imports only exit, fuzz, timer, text, json, domain
//! mock is imported only by app, commands::mock
//! ```
//!
//! No command imports another command. Files of different folders do not import each other in a circle. The bundled
//! server shares no code with the client except `domain`, so that the two cannot agree on a mistake.
//! `tests/architecture.rs` reads the order from here and checks it.

pub mod api;
pub mod app;
pub mod args;
pub mod cli;
pub mod commands;
pub mod config;
pub mod domain;
pub mod environment;
pub mod error_report;
pub mod events;
pub mod exit;
#[cfg(test)]
mod fuzz;
pub mod json;
pub mod mock;
pub mod output;
pub mod report;
mod signals;
pub mod stream;
pub mod terminal;
pub mod text;
mod timer;
pub mod top;
