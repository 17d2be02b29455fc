//! The one test binary: each file is a module, so that what several need compiles once and nothing is forgotten.

mod api_literal;
mod cli;
mod connect_literal;
mod profiles;
mod support;
mod tokens;
mod wire_raw;
