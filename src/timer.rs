//! Sleeps until a deadline, or forever if there is none.

use tokio::time::Instant;

/// Sleeps until this time. Without one it never returns, so that a `select!` branch without a deadline stays silent.
pub(crate) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
