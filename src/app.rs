//! Settings resolved from flags, environment and profile.
