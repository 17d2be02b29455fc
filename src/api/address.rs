//! The address of a server: what to call it, and whether credentials may be sent there.

use std::net::IpAddr;

use url::{Host, Url};

use crate::api::ApiError;

/// Whether a URL is on this machine, so that requests to it do not cross a network.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Checks that credentials do not cross a network in clear text.
///
/// # Errors
///
/// [`ApiError::Insecure`].
pub(super) fn check_private(base: &Url, allow_http: bool) -> Result<(), ApiError> {
    if base.scheme() == "https" || is_loopback(base) || allow_http {
        return Ok(());
    }
    Err(ApiError::Insecure {
        to: base.origin().ascii_serialization(),
    })
}

/// The `host:port` of an address.
pub(super) fn peer(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    match base.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
