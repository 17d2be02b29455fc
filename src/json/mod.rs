//! JSON text processed without parsing it into values: scanning, values at a path, and jq expressions.
//!
//! This module does not know what the values mean.

mod checked_functions;
mod checks;
mod definitions;
pub mod expression;
mod limits;
mod path;
pub mod printing;
mod projection;
pub(crate) mod scanner;
pub(crate) mod select;
mod value_size;

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
pub(crate) mod testing;
