//! The client: connections that are kept and used again, secured by rustls where the address says so.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::contract::StartError;
use crate::options::Tls;

/// The client of all requests of a sink.
pub(super) type Client = PooledClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A connection that is not used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that does not come about in this time is tried again with the batch.
const CONNECT: Duration = Duration::from_secs(10);

/// The client for connections that are secured so, to a peer that is asked for `server_name` where that is given.
pub(super) fn build(tls: ClientConfig, server_name: Option<ServerName<'static>>) -> Client {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let https = match server_name {
        Some(name) => https.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => https,
    };
    let https = https.enable_all_versions().wrap_connector(http);
    PooledClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(https)
}

/// What `tls` says about connections; with the key that is to blame where it cannot be.
pub(super) fn settings(tls: &Tls) -> Result<ClientConfig, (&'static str, StartError)> {
    let provider = Arc::new(ring::default_provider());
    let at = |key: &'static str| move |error: Error| (key, StartError::new(error.to_string()));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(at("enabled"))?;
    let trust = match tls.verify_certificate {
        Some(false) => Trust::Anybody,
        Some(true) | None => trusted(tls.ca_file.as_deref(), &provider)?,
    };
    let verifier = Verifier { trust, checks_name: tls.verify_hostname != Some(false), provider };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match (&tls.crt_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate).map_err(|error| ("crt_file", error))?;
            let key =
                PrivateKeyDer::from_pem_slice(&read(key).map_err(|error| ("key_file", error))?).map_err(|error| {
                    ("key_file", StartError::new(format!("{} holds no private key in PEM: {error}", key.display())))
                })?;
            builder.with_client_auth_cert(chain, key).map_err(at("crt_file"))
        }
        (Some(_), None) => Err(("key_file", StartError::new("is missing, where there is a `crt_file`"))),
        (None, Some(_)) => Err(("crt_file", StartError::new("is missing, where there is a `key_file`"))),
    }
}

/// Whom we trust: the certificates of a file, or those of the system.
fn trusted(file: Option<&Path>, provider: &Arc<CryptoProvider>) -> Result<Trust, (&'static str, StartError)> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file).map_err(|error| ("ca_file", error))? {
                roots.add(certificate).map_err(|error| ("ca_file", StartError::new(error.to_string())))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Ok(Trust::Nobody);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map(Trust::Roots).map_err(|error| ("ca_file", StartError::new(error.to_string())))
}

/// Whose certificates are accepted.
#[derive(Debug)]
enum Trust {
    /// Those that lead back to one of these.
    Roots(Arc<WebPkiServerVerifier>),
    /// None: this system names nobody. Said when a connection needs it, since plain `http` does not.
    Nobody,
    /// All: the user wrote `verify_certificate: false`.
    Anybody,
}

/// Checks the certificate of the peer as far as the user wants it.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    checks_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = match &self.trust {
            Trust::Anybody => return Ok(ServerCertVerified::assertion()),
            Trust::Nobody => {
                let text = "this system has no list of trusted certificates; name one with `tls.ca_file`";
                return Err(Error::General(text.to_owned()));
            }
            Trust::Roots(roots) => roots.verify_server_cert(end, between, name, ocsp, now),
        };
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(file).map_err(|error| StartError::new(format!("cannot read {}: {error}", file.display())))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let text = read(file)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(StartError::new(format!("{} holds no certificate in PEM", file.display()))),
        Err(error) => Err(StartError::new(format!("{} is no PEM: {error}", file.display()))),
    }
}
