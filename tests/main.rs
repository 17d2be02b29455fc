//! The one test binary: each file is a module, so that helpers compile once and nothing is forgotten.

mod api_literal;
mod connect_literal;
mod support;
