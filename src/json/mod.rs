//! JSON text: scanned, looked into by path, and evaluated by jq expressions, without building more than is asked for.
//!
//! What the values mean is not known here.

pub mod expression;
mod limits;
mod path;
pub(crate) mod scanner;
pub(crate) mod select;

#[cfg(test)]
pub(crate) mod testing;
