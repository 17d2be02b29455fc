//! A certificate for `localhost`, and a file of trusted roots that contains it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::peers::Peers;
use crate::report::Report;

/// A self-signed certificate in a folder of its own, which goes away with it.
#[derive(Debug)]
pub(crate) struct Certificate {
    folder: TempDir,
    roots: PathBuf,
}

impl Certificate {
    /// Creates one with `openssl`. `None`, with a note, if that is not installed.
    pub(crate) fn create(peers: &Peers, report: &mut Report) -> io::Result<Option<Self>> {
        let Some(openssl) = &peers.openssl else {
            report.note("TLS is not measured: openssl, which makes the certificate, is missing");
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let roots = folder.path().join("roots.pem");
        let certificate = Self { folder, roots };
        let created = Command::new(&openssl.path)
            .args(["req", "-x509", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(certificate.path("key.pem"))
            .arg("-out")
            .arg(certificate.path("cert.pem"))
            .output()?;
        if !created.status.success() {
            return Err(io::Error::other(
                String::from_utf8_lossy(&created.stderr).into_owned(),
            ));
        }
        // The system's own roots and ours: a program reads all of them.
        let system = "/etc/ssl/certs/ca-certificates.crt";
        let system = std::fs::read_to_string(system).unwrap_or_default();
        let own = std::fs::read_to_string(certificate.path("cert.pem"))?;
        std::fs::write(&certificate.roots, system + &own)?;
        Ok(Some(certificate))
    }

    /// The file with the trusted roots.
    pub(crate) fn roots(&self) -> &Path {
        &self.roots
    }

    /// The settings of a server with this certificate.
    pub(crate) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        let cert =
            CertificateDer::from_pem_file(self.path("cert.pem")).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(vec![cert], key)
            })
            .map(Arc::new)
            .map_err(io::Error::other)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
