//! Reading request bodies: JSON objects of a limited size.

use axum::body::Body;
use axum::http::Method;
use axum::http::request::Parts;
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::super::engine::JsonObject;
use super::super::error::Rejection;
use super::params::Params;

/// The body of a request as an object: JSON of any content type, or the `payload` of the query. No body means `{}`.
pub(super) async fn read_body(
    parts: &Parts,
    params: &Params,
    body: Body,
    limit: usize,
) -> Result<JsonObject, Rejection> {
    let bytes = collect(body, limit).await?;
    let text = if bytes.iter().all(u8::is_ascii_whitespace) {
        params.get("payload").unwrap_or_default().as_bytes()
    } else if parts.method == Method::GET && params.get("payload").is_some() {
        // SDKs send an empty object along with a GET; the payload is what they mean.
        params.get("payload").unwrap_or_default().as_bytes()
    } else {
        &bytes
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Rejection::input("the request must be a JSON object")),
        Err(error) => Err(Rejection::input(format!(
            "the request is not JSON: {error}"
        ))),
    }
}

/// The bytes of a body, up to a limit. What is left of it is read by `body_layer`.
pub(super) async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Rejection> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Rejection::input("the request body was cut short"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Rejection::too_big(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
