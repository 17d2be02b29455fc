//! The library behind `presencectl`, the command line for user presence on Stream Chat.
//!
//! How a run evolves, type by type: the command line becomes [`cli::Cli`] (what was typed); [`app::App`] resolves it
//! against environment and profile (what it means); a command in [`commands`] calls the service through
//! [`api::Client`] or follows it through [`events`]; what it learns are [`domain`] values and records; [`output`]
//! writes them; and whatever goes wrong becomes one exit code in [`exit`].
//!
//! Dependencies point one way: `domain ← api ← events ← commands → output → domain`, and `mock`, the bundled server,
//! stands on `domain` alone, so that client and server cannot agree on a mistake.

pub mod api;
pub mod app;
pub mod args;
pub mod cli;
pub mod commands;
pub mod config;
pub mod domain;
pub mod error_report;
pub mod events;
pub mod exit;
pub mod json;
pub mod mock;
pub mod output;
mod signals;
pub mod stream;
pub mod text;
