//! TLS configuration: the certificate roots that are trusted.
//!
//! Reading the system's roots is the slowest step of a one-shot command. So they are read only for `https`, and once
//! per process.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::api::{ApiError, TransportKind};

/// A TLS configuration that trusts the system's certificate roots.
///
/// # Errors
///
/// The system has no roots, or they cannot be read.
pub(super) fn system_roots(to: &str) -> Result<ClientConfig, ApiError> {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(config(roots.clone()));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems can have certificates that cannot be parsed. One usable root is enough to try.
    let _ = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(
            || {
                "the system has no certificate roots; SSL_CERT_FILE can name a file of them"
                    .to_owned()
            },
            ToString::to_string,
        );
        return Err(unusable(to, why));
    }
    Ok(config(ROOTS.get_or_init(|| roots).clone()))
}

/// A TLS configuration that trusts the certificates in a file instead of the system's.
///
/// # Errors
///
/// The file cannot be read, or has no certificate.
pub(super) fn roots_of_file(file: &Path, to: &str) -> Result<ClientConfig, ApiError> {
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(io::Error::other);
    let usable = match read {
        Ok(certificates) => roots.add_parsable_certificates(certificates).0,
        Err(error) => return Err(unusable(to, format!("{}: {error}", file.display()))),
    };
    if usable == 0 {
        return Err(unusable(
            to,
            format!("{} has no certificate", file.display()),
        ));
    }
    Ok(config(roots))
}

/// The error for certificate roots that cannot be used.
fn unusable(to: &str, why: String) -> ApiError {
    ApiError::Transport {
        kind: TransportKind::Connect,
        to: to.to_owned(),
        source: io::Error::new(io::ErrorKind::NotFound, why).into(),
    }
}

/// A TLS configuration without roots, for plain http. The HTTP library requires one, and this one reads nothing.
pub(super) fn no_roots() -> ClientConfig {
    config(RootCertStore::empty())
}

fn config(roots: RootCertStore) -> ClientConfig {
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the ring provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
