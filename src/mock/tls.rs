//! TLS for SDKs that insist on https: a certificate that is signed by a certificate authority (CA) of its own.
//!
//! Both are made when the server starts. The key of the CA is dropped right after, so nobody can sign with it later, and
//! to trust the CA is to trust this server only.

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The names and addresses by which clients reach a server on this machine: from here, from a container, and from an
/// Android emulator.
const SERVER_NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "host.docker.internal",
    "10.0.2.2",
];
/// How long the certificates are valid. Some systems refuse those that are valid for more than 398 days.
const VALIDITY: TimeDelta = TimeDelta::days(365);
/// How far the start of the validity is in the past, for clients whose clock is behind.
const VALIDITY_BACKDATE: TimeDelta = TimeDelta::days(1);
/// The name of the CA.
const CA_NAME: &str = "presencectl mock CA";

/// The certificates of a server.
#[derive(Debug)]
pub struct TlsIdentity {
    /// What the server shows to clients.
    pub(crate) config: Arc<ServerConfig>,
    /// The certificate of the CA, for clients to trust.
    pub ca_pem: String,
}

impl TlsIdentity {
    /// Makes the certificates of a server on this machine that listens on `host`.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn generate(host: IpAddr, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let (not_before, not_after) = (now - VALIDITY_BACKDATE, now + VALIDITY - VALIDITY_BACKDATE);
        let with_validity = |mut params: CertificateParams| {
            let [start, end] = [not_before, not_after].map(|time| {
                let [month, day] = [time.month(), time.day()]
                    .map(|part| u8::try_from(part).expect("months and days are small"));
                date_time_ymd(time.year(), month, day)
            });
            (params.not_before, params.not_after) = (start, end);
            params
        };

        let mut ca = with_validity(CertificateParams::default());
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, CA_NAME);
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let mut names: Vec<String> = SERVER_NAMES.map(str::to_owned).into();
        if !host.is_unspecified() {
            names.push(host.to_string());
        }
        let mut server = with_validity(CertificateParams::new(names)?);
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server
            .distinguished_name
            .push(DnType::CommonName, "presencectl mock");
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;

        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            ca_pem,
        })
    }
}
