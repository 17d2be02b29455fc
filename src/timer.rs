//! Sleeps until a deadline, or forever if there is none.

use tokio::time::Instant;

/// Sleeps until this time. Without a time it never returns, so a branch of `select!` without a deadline never runs.
pub(crate) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
