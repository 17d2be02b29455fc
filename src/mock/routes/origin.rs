//! Which web pages may call what.
//!
//! Any page may call the service, as any page may call the real one. The control API is another matter: a browser on
//! this machine shows pages of strangers, and they must not be able to control the server. A page of another origin
//! sends an `Origin`, and a page whose name was rebound to loopback sends that name as its `Host`.

use std::net::{IpAddr, Ipv6Addr};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use url::{Host, Url};

use super::super::error::Rejection;

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
/// The headers that a preflight without a list of its own is told.
const DEFAULT_ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, stream-auth-type, x-stream-client, x-client-request-id",
);
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The origin that a control request comes from, if it says so.
///
/// # Errors
///
/// The request comes, or may come, from a page that is not on this machine.
pub(super) fn check_control(
    parts: &Parts,
    has_token: bool,
) -> Result<Option<HeaderValue>, Rejection> {
    let host = requested_host(parts);
    // A caller that has the control token is trusted, whatever host name it uses.
    if !has_token && !host.as_deref().is_some_and(is_loopback_host) {
        return Err(forbidden(
            "the host",
            host.as_deref().unwrap_or("(none)"),
            "127.0.0.1, localhost or ::1",
        ));
    }
    let Some(origin) = parts.headers.get(header::ORIGIN) else {
        return Ok(None);
    };
    let text = origin.to_str().unwrap_or("(not text)");
    let is_own_page = has_token && host.is_some() && host == host_of_origin(text);
    if !is_own_page && !is_loopback_origin(text) {
        return Err(forbidden("the origin", text, "a page on loopback"));
    }
    Ok(Some(origin.clone()))
}

fn forbidden(what: &str, value: &str, expected: &str) -> Rejection {
    let value: String = value.chars().take(200).collect();
    Rejection::forbidden(format!(
        "{what} {value:?} may not use the control API; expected {expected}"
    ))
}

/// The name or address under which the server was called, without its port.
fn requested_host(parts: &Parts) -> Option<String> {
    let authority: Authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => parts
            .headers
            .get(header::HOST)?
            .to_str()
            .ok()?
            .parse()
            .ok()?,
    };
    Some(authority.host().to_owned())
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(address) => address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_canonical().is_loopback()),
        None => host
            .parse::<IpAddr>()
            .map_or_else(|_| is_localhost(host), |address| address.is_loopback()),
    }
}

/// Browsers resolve `localhost` and every name under it to loopback themselves, so nobody can rebind it.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_loopback_origin(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else {
        return false;
    };
    match url.host() {
        Some(Host::Domain(name)) => is_localhost(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

fn host_of_origin(origin: &str) -> Option<String> {
    Url::parse(origin).ok()?.host_str().map(str::to_owned)
}

/// Lets the page of an origin read a response of the control API.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
}

/// The response to the question of a browser whether a page may make a request.
///
/// The headers that the page asks for are allowed: SDKs send many, and each version other ones.
///
/// A preflight shows no token. With one required, the request that follows is the one to be checked.
pub(super) fn preflight(parts: &Parts, is_control: bool, has_token: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let origin = if is_control {
        match check_control(parts, has_token) {
            Ok(origin) => origin,
            Err(_) => {
                *response.status_mut() = StatusCode::FORBIDDEN;
                return response;
            }
        }
    } else {
        Some(HeaderValue::from_static("*"))
    };
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        allow(headers, origin);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        asked.cloned().unwrap_or(DEFAULT_ALLOWED_HEADERS),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_in_every_form_and_nothing_else_is() {
        for host in [
            "127.0.0.1",
            "127.8.8.8",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
        for origin in [
            "http://127.0.0.1:5173",
            "https://localhost",
            "http://[::1]:80",
        ] {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "file://",
            "",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }
}
