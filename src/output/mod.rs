//! How results look: tables for people, NDJSON, JSON, TSV and CSV for programs.
//!
//! Knows the domain and nothing of the network. stdout carries records and nothing else; what is said beside them goes
//! to stderr.
pub mod expr;
pub mod text;
pub mod when;
