//! The one test binary: each file is a module, so that what several need compiles once and nothing is forgotten.

mod api_literal;
mod bad_input;
mod channels;
mod cli;
mod completions;
mod connect_literal;
mod crowd;
mod json_contract;
mod mock_edges;
mod mock_start;
mod output;
mod profiles;
mod raw_wire;
mod readme;
mod schema;
mod sdk_suites;
mod shells;
mod support;
mod tokens;
mod users;
mod watch;
mod watcher;
mod wire_kotlin;
mod wire_raw;
mod wire_swift;
