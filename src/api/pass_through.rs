//! HTTP clients: how connections to a server are made, and a client that passes requests on as they are.

use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::api::address::{check_private, peer};
use crate::api::proxy::ProxyServer;
use crate::api::{ApiError, TransportKind, tls};

/// A builder of clients for the server at an address: with the certificate roots of this file or else of the system for
/// https, through this proxy, and without redirects, because a token must not be sent to another server.
///
/// # Errors
///
/// The certificate roots cannot be read, or the proxy cannot be used.
pub(super) fn builder(
    base: &Url,
    ca_file: Option<&Path>,
    proxy: Option<&ProxyServer>,
    connect_timeout: Duration,
) -> Result<reqwest::ClientBuilder, ApiError> {
    let tls = if base.scheme() == "https" {
        match ca_file {
            Some(file) => tls::roots_of_file(file, &peer(base))?,
            None => tls::system_roots(&peer(base))?,
        }
    } else {
        tls::no_roots()
    };
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none());
    Ok(match proxy {
        None => builder.no_proxy(),
        Some(proxy) => {
            let proxy = reqwest::Proxy::all(proxy.url().clone())
                .map_err(|error| cannot_connect(base, error))?;
            builder.proxy(proxy)
        }
    })
}

/// A client that passes requests and responses on as they are: compressed bodies stay compressed, and a response may
/// take any time.
///
/// # Errors
///
/// The TLS configuration or the proxy is invalid; [`ApiError::Insecure`]: credentials would cross a network in clear
/// text.
pub fn pass_through(
    base: &Url,
    proxy: Option<&ProxyServer>,
    connect_timeout: Duration,
    allow_http: bool,
) -> Result<reqwest::Client, ApiError> {
    check_private(base, allow_http)?;
    builder(base, None, proxy, connect_timeout)?
        .gzip(false)
        .build()
        .map_err(|error| cannot_connect(base, error))
}

fn cannot_connect(base: &Url, error: reqwest::Error) -> ApiError {
    ApiError::Transport {
        kind: TransportKind::Connect,
        to: peer(base),
        source: error.without_url().into(),
    }
}
