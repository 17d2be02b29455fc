//! Answers on the wire: the status, the `duration` in every body, the rate limit headers on every answer.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use chrono::{DateTime, Utc};

use super::super::error::Reject;

/// A successful answer.
#[derive(Debug)]
pub(super) struct Success {
    /// 201 instead of 200.
    pub(super) created: bool,
    /// A JSON object without its `duration`.
    pub(super) body: String,
}

/// What the headers say about the budget of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    limit: u32,
    remaining: u32,
    reset: i64,
}

impl Budget {
    /// A budget that nobody spends: the service's default limit, and all but this request left of it.
    pub(super) fn unlimited(endpoint: &str, now: DateTime<Utc>) -> Self {
        let limit = default_limit(endpoint);
        Self {
            limit,
            remaining: limit - 1,
            reset: (now.timestamp() / 60 + 1) * 60,
        }
    }
}

/// Requests a minute that the service allows by default.
const fn default_limit(endpoint: &str) -> u32 {
    match endpoint.as_bytes() {
        b"Connect" | b"GetOrCreateChannel" | b"QueryChannels" | b"GetApp" => 10_000,
        b"UpdateUsers" | b"UpdateUsersPartial" | b"UpdateChannel" | b"QueryMembers" => 300,
        b"DeleteUser" | b"DeactivateUser" => 60,
        b"DeleteUsers" => 6,
        _ => 1000,
    }
}

/// The answer to a request, in the service's envelope.
pub(super) fn answer(
    operation: &str,
    result: Result<Success, Reject>,
    budget: &Budget,
    took: Duration,
) -> Response<Body> {
    let duration = format!("{:.2}ms", took.as_secs_f64() * 1000.0);
    let (status, body, retry_after) = match result {
        Ok(Success { created, mut body }) => {
            body.pop();
            if body.len() > 1 {
                body.push(',');
            }
            body.push_str("\"duration\":\"");
            body.push_str(&duration);
            body.push_str("\"}");
            let status = if created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            (status, body, None)
        }
        Err(reject) => (
            StatusCode::from_u16(reject.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            serde_json::to_string(&reject.body(operation, &duration))
                .expect("an error body has string keys and no fallible parts"),
            reject.retry_after,
        ),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert("x-ratelimit-limit", budget.limit.into());
    headers.insert("x-ratelimit-remaining", budget.remaining.into());
    headers.insert("x-ratelimit-reset", budget.reset.into());
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Lets browsers call from any page.
pub(super) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, PATCH, DELETE",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, stream-auth-type, x-stream-client, x-client-request-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
