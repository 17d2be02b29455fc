//! `GET /rate_limits`: the rate limit of each endpoint, and how many calls are left.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::api::request::Request;
use crate::api::{ApiError, Client};

/// The rate limit of an endpoint, as the service reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Budget {
    /// Calls per minute.
    pub limit: u64,
    /// Calls left in this window.
    pub remaining: u64,
    /// The end of the window on the service's clock, in unix seconds.
    pub reset: i64,
}

impl Budget {
    /// The used share of the limit, from 0 to 1.
    pub fn used_share(&self) -> f64 {
        let used = self.limit.saturating_sub(self.remaining);
        // Limits are far below the numbers that an f64 cannot represent.
        used as f64 / self.limit.max(1) as f64
    }
}

/// Rate limits by platform (`server_side`, `web`, `ios`, `android`) and endpoint.
pub type Budgets = BTreeMap<String, BTreeMap<String, Budget>>;

impl Client {
    /// Reads the application's rate limits on these platforms, for these endpoints or, if there are none, for all.
    /// Needs the API secret.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn rate_limits(
        &self,
        platforms: &[&str],
        endpoints: &[String],
    ) -> Result<Budgets, ApiError> {
        #[derive(Deserialize)]
        struct LimitsBody {
            #[serde(flatten)]
            fields: BTreeMap<String, Value>,
        }
        let mut request = Request::new("GetRateLimits", Method::GET, ["rate_limits"]);
        for platform in platforms {
            request = request.with_query(platform, "true");
        }
        if !endpoints.is_empty() {
            request = request.with_query("endpoints", endpoints.join(","));
        }
        let answer: LimitsBody = self.fetch(&request).await?;
        let budgets = answer.fields.into_iter().filter_map(|(platform, budgets)| {
            // Platforms that were not requested are null or missing, and `duration` is not a platform.
            Some((platform, serde_json::from_value(budgets).ok()?))
        });
        Ok(budgets.collect())
    }
}
