//! JSON text processed without parsing it into values: scanning, values at a path, and jq expressions.
//!
//! This module does not know what the values mean.

mod definitions;
pub mod expression;
mod limits;
mod path;
mod projection;
pub(crate) mod scanner;
pub(crate) mod select;

#[cfg(test)]
pub(crate) mod testing;
