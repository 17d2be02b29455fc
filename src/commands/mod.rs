//! The command tree: one file per command, each with its flags and one function. This module only dispatches.
