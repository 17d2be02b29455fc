//! Connectivity probes for `doctor`: name resolution, TCP, TLS and the first response, one step at a time.
//!
//! The steps are separate so that a diagnosis can name the one that fails. Ordinary calls leave all of this to the HTTP
//! library, which only reports that connecting failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use reqwest::header::DATE;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::api::request::Request;
use crate::api::{ApiError, Client, TransportKind, tls};

impl Client {
    /// Resolves the service's host name.
    ///
    /// # Errors
    ///
    /// [`ApiError::Transport`].
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, ApiError> {
        let base = &self.settings().base_url;
        // IPv6 addresses have brackets in URLs, but not in name resolution.
        let host = base.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = base.port_or_known_default().unwrap_or(443);
        let found: Vec<_> = self.within(lookup_host((host, port))).await?.collect();
        if found.is_empty() {
            let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(self.transport(TransportKind::Connect, none));
        }
        Ok(found)
    }

    /// Connects to the first address that accepts a connection.
    ///
    /// # Errors
    ///
    /// [`ApiError::Transport`].
    pub async fn connect_tcp(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ApiError> {
        self.within(TcpStream::connect(addresses)).await
    }

    /// Performs a TLS handshake with the system's certificate roots. Returns the TLS version.
    ///
    /// # Errors
    ///
    /// [`ApiError::Transport`], for example if the system does not trust the certificate.
    pub async fn tls_handshake(&self, stream: TcpStream) -> Result<&'static str, ApiError> {
        let config = tls::system_roots(&self.peer())?;
        let host = self
            .settings()
            .base_url
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let step_timeout = self.settings().connect_timeout;
        let handshake = move || -> io::Result<&'static str> {
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let mut stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(step_timeout))?;
            stream.set_write_timeout(Some(step_timeout))?;
            let mut tls =
                ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
            Ok(match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS",
            })
        };
        spawn_blocking(handshake)
            .await
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(|error| self.transport(TransportKind::Connect, error))
    }

    /// Makes the smallest possible call. Returns the service's time, if the response contains one.
    ///
    /// # Errors
    ///
    /// See [`ApiError`].
    pub async fn server_time(&self) -> Result<Option<DateTime<Utc>>, ApiError> {
        let response = self
            .exchange(&Request::custom("GET", "hi", &[], None)?)
            .await?;
        match response.error() {
            // The service answers, whatever it thinks of the credentials.
            Some(ApiError::Refused(refusal)) if refusal.code.is_authentication() => {}
            Some(error) => return Err(error),
            None => {}
        }
        let date = response
            .headers
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        Ok(date
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map(|date| date.to_utc()))
    }

    async fn within<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, ApiError> {
        match timeout(self.settings().connect_timeout, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.transport(TransportKind::Connect, error)),
            Err(elapsed) => Err(self.transport(TransportKind::Connect, elapsed)),
        }
    }
}
