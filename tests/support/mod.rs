//! What tests share.

pub(crate) mod literal;
