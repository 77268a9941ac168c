//! A build with TLS: rustls on ring, as sqlx has it.

use super::pem::Pem;
use super::verifier::Verifier;
use super::{Insecure, Stream};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls};

/// What an address says of TLS. Files are read for each connection, so that new ones take effect.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    mode: PgSslMode,
    authority: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
}

impl Tls {
    /// `None` where there shall be none.
    ///
    /// # Errors
    /// None here.
    #[expect(clippy::unnecessary_wraps, reason = "a build without TLS refuses some")]
    pub(crate) fn of(options: &PgConnectOptions) -> Result<Option<Self>, Insecure> {
        let mode = options.get_ssl_mode();
        if matches!(mode, PgSslMode::Disable | PgSslMode::Allow) {
            return Ok(None);
        }
        Ok(Some(Self {
            mode,
            authority: Pem::given(options, "sslrootcert"),
            certificate: Pem::given(options, "sslcert"),
            key: Pem::given(options, "sslkey"),
        }))
    }

    /// Makes a connection secure, or leaves it as it is where the server has no TLS and nobody insists. See "SSL Session
    /// Encryption" in PostgreSQL's "Message Flow".
    pub(crate) async fn over(&self, mut stream: TcpStream, host: &str) -> Result<Box<dyn Stream>, Insecure> {
        let lost = |error: io::Error| Insecure::Lost(error.to_string());
        let mut ask = BytesMut::new();
        frontend::ssl_request(&mut ask);
        stream.write_all_buf(&mut ask).await.map_err(lost)?;
        // One byte and no more: what comes with it in the open is no part of what is secure.
        match stream.read_u8().await.map_err(lost)? {
            b'S' => {}
            b'N' if matches!(self.mode, PgSslMode::Prefer) => return Ok(Box::new(stream)),
            b'N' => {
                return Err(Insecure::Refused(
                    "the server has no TLS and the address asks for it: set `ssl = on` there, or sslmode=disable or prefer \
                     on a network that may be trusted"
                        .into(),
                ));
            }
            other => {
                return Err(Insecure::Lost(format!(
                    "the server answered the question for TLS with {other:#04x}"
                )));
            }
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Insecure::Refused(format!("{host} cannot be in a certificate: {error}")))?;
        let config = self.read().await?;
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let secured = secured.map_err(|error| match what_to_do(&error) {
            Some(words) => Insecure::Refused(words),
            None => lost(error),
        })?;
        Ok(Box::new(secured))
    }

    pub(super) async fn check(&self) -> Result<(), Insecure> {
        self.read().await.map(drop)
    }

    async fn read(&self) -> Result<ClientConfig, Insecure> {
        let tls = self.clone();
        let read = tokio::task::spawn_blocking(move || tls.config()).await;
        read.map_err(|error| Insecure::Lost(error.to_string()))?
    }

    fn config(&self) -> Result<ClientConfig, Insecure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let begun = ClientConfig::builder_with_provider(provider.clone());
        let begun = begun.with_safe_default_protocol_versions().map_err(refused)?;
        let authorities = || {
            let trusted = Arc::new(self.trusted()?);
            let verifier = WebPkiServerVerifier::builder_with_provider(trusted, provider.clone());
            verifier.build().map_err(refused)
        };
        let less = |authority| {
            Arc::new(Verifier {
                authority,
                provider: provider.clone(),
            })
        };
        let begun = match self.mode {
            PgSslMode::VerifyFull => begun.with_webpki_verifier(authorities()?),
            PgSslMode::VerifyCa => begun
                .dangerous()
                .with_custom_certificate_verifier(less(Some(authorities()?))),
            _ => begun.dangerous().with_custom_certificate_verifier(less(None)),
        };
        match (&self.certificate, &self.key) {
            (None, None) => Ok(begun.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let shown = certificate.certificates("sslcert")?;
                begun
                    .with_client_auth_cert(shown, key.private_key()?)
                    .map_err(refused)
            }
            _ => Err(Insecure::Refused(
                "a client is known by two files: give both sslcert and sslkey".into(),
            )),
        }
    }

    /// The authorities of the address, or those of the system.
    fn trusted(&self) -> Result<RootCertStore, Insecure> {
        let mut trusted = RootCertStore::empty();
        let Some(authority) = &self.authority else {
            let found = rustls_native_certs::load_native_certs();
            trusted.add_parsable_certificates(found.certs);
            return match trusted.is_empty() {
                false => Ok(trusted),
                true => Err(Insecure::Refused(
                    "the system trusts no certificate authority: set sslrootcert to the file of the one that vouches for \
                     the server"
                        .into(),
                )),
            };
        };
        for certificate in authority.certificates("sslrootcert")? {
            trusted.add(certificate).map_err(refused)?;
        }
        Ok(trusted)
    }
}

fn refused(error: impl ToString) -> Insecure {
    Insecure::Refused(error.to_string())
}

/// Who names an authority with `sslmode=require` wants it to be asked, as libpq does and sqlx does not.
pub(crate) fn strict(options: PgConnectOptions) -> PgConnectOptions {
    match options.get_ssl_mode() {
        PgSslMode::Require if Pem::given(&options, "sslrootcert").is_some() => {
            options.ssl_mode(PgSslMode::VerifyCa)
        }
        _ => options,
    }
}

/// What is wrong with a certificate, if that is it, and what to do.
fn what_to_do(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let cure = match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody who is trusted vouches for the server: set sslrootcert to the file of the authority that does"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "name the host as its certificate does, or look at no names with sslmode=verify-ca",
        rustls::Error::InvalidCertificate(_) => "the server needs another certificate",
        _ => return Some(error.to_string()),
    };
    Some(format!("{error}; {cure}"))
}

/// What to do about an error of TLS.
pub(crate) fn explain(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Io(error) => what_to_do(error),
        sqlx::Error::Tls(error) => Some(format!(
            "{error}; the server needs `ssl = on`, and the files of sslrootcert, sslcert and sslkey are in PEM form"
        )),
        _ => None,
    }
}
