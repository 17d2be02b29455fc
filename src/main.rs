//! The `presencectl` program.

fn main() {}
