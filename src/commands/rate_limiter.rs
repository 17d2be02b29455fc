//! A rate limiter for commands that make many calls in sequence, with one limit per endpoint.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{CallLimiter, Client};

/// The call limiters of a run, by endpoint.
#[derive(Debug, Default)]
pub struct CallLimiters(HashMap<&'static str, CallLimiter>);

impl CallLimiters {
    /// Waits until an endpoint may be called once. If the future is dropped, no call is counted.
    pub async fn before(&mut self, client: &Client, endpoint: &'static str) {
        let limiter = self.0.entry(endpoint).or_default();
        loop {
            match limiter.start(client.rate_limit(endpoint), 0, Instant::now()) {
                Duration::ZERO => return,
                wait => sleep(wait).await,
            }
        }
    }
}
