//! Answers on the wire: the status, the `duration` in every body, the rate limit headers on every answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use chrono::Utc;
use serde_json::{Value, json};

use super::super::clock::Clock;
use super::super::error::Rejection;
use super::super::rate_limits::RateLimitStatus;

/// A successful answer.
#[derive(Debug)]
pub(super) struct SuccessResponse {
    /// 201 instead of 200.
    pub(super) created: bool,
    /// A JSON object without its `duration`.
    pub(super) body: String,
}

/// What the headers say about a budget, in the caller's own time.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimitHeaders {
    limit: u32,
    remaining: u32,
    /// Unix seconds.
    reset: i64,
    /// Seconds from now.
    left: u64,
}

impl RateLimitHeaders {
    /// The rate limit reported to a caller, whose minute may be longer than the mock's.
    pub(super) fn of(rate_limit_status: RateLimitStatus, clock: &Clock) -> Self {
        // If the clock is frozen, nothing is ever reset, and the caller gets the mock's own time.
        let wait = clock.until(rate_limit_status.ends);
        let reset = wait.map_or(rate_limit_status.ends.timestamp(), |wait| {
            let at = Utc::now() + wait;
            at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0)
        });
        let wait = wait.unwrap_or(Duration::from_secs(60));
        Self {
            limit: rate_limit_status.limit,
            remaining: rate_limit_status.remaining,
            reset,
            left: wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
        }
    }

    /// The same as JSON, for those who ask.
    pub(super) fn to_json(self) -> Value {
        json!({"limit": self.limit, "remaining": self.remaining, "reset": self.reset})
    }
}

/// A response with a JSON text.
pub(super) fn json_response(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A response with a JSON text that the page of any origin may read.
pub fn json_for_any_origin(status: u16, text: String) -> Response<Body> {
    let mut response = json_response(status, text);
    let any = HeaderValue::from_static("*");
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}

/// The answer to a request, in the service's envelope.
pub(super) fn answer(
    operation: &str,
    result: Result<SuccessResponse, Rejection>,
    limits: &RateLimitHeaders,
    took: Duration,
) -> Response<Body> {
    let duration = format!("{:.2}ms", took.as_secs_f64() * 1000.0);
    let (status, body, retry_after) = match result {
        Ok(SuccessResponse { created, mut body }) => {
            body.pop();
            if body.len() > 1 {
                body.push(',');
            }
            body.push_str("\"duration\":\"");
            body.push_str(&duration);
            body.push_str("\"}");
            (if created { 201 } else { 200 }, body, None)
        }
        Err(reject) => (
            reject.status,
            serde_json::to_string(&reject.body(operation, &duration))
                .expect("an error body has string keys and no fallible parts"),
            (reject.status == 429).then_some(limits.left.max(1)),
        ),
    };
    let mut response = json_for_any_origin(status, body);
    let headers = response.headers_mut();
    headers.insert("x-ratelimit-limit", limits.limit.into());
    headers.insert("x-ratelimit-remaining", limits.remaining.into());
    headers.insert("x-ratelimit-reset", limits.reset.into());
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
