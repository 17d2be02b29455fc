//! The value of `--shard`: a shard as text, or `env`, which takes it from the environment.

use crate::environment;
use crate::events::Shard;

/// Reads `I/N`, or for `env` the variables that Kubernetes sets.
pub(super) fn parse_shard(text: &str) -> Result<Shard, String> {
    if text == "env" {
        Shard::from_variables(environment::variable)
    } else {
        text.parse()
    }
}
