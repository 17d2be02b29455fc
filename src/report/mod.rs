//! Reports: what recorded streams say about sessions, uptime, flaps, and presence over time.
//!
//! [`analyse`] reads the inputs ([`input`]), looks into their lines (`line`, on several threads: `batch`), puts what each
//! input says in order (`recording`), merges the inputs and keeps each user's state over time ([`intervals`]). The
//! intervals go to one analysis or several: [`sessions`], [`uptime`], [`flaps`], [`timeline`], or a [`picture`], which is
//! drawn for a terminal ([`blocks`]), as [`svg`](mod@svg) or as [`html`]. Time that nobody observed is unknown, never
//! offline.

mod batch;
pub mod blocks;
pub mod flaps;
pub mod html;
pub mod input;
pub mod intervals;
mod line;
mod merge;
pub mod names;
pub mod picture;
mod recording;
pub mod sessions;
mod shape;
pub mod svg;
pub mod timeline;
pub mod units;
pub mod uptime;
pub mod zone;

pub use line::{is_record, starts_traffic_recording};
pub use merge::{Reading, ReportRequest, analyse};
