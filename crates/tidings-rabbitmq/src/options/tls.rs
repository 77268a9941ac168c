//! The files of TLS: [`TlsFiles`].

use crate::error::RabbitError;
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

const CA: &str = "the certificate authority (tls_ca)";
const CERTIFICATE: &str = "the client's certificate (tls_certificate)";
const KEY: &str = "the key of the client's certificate (tls_key)";

/// Which files there are. They are read for each connection, so that new ones take effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsFiles {
    /// What makes connections secure.
    ///
    /// # Errors
    /// [`RabbitError::File`] with the file, [`RabbitError::Security`] if the system trusts nobody.
    pub(crate) fn connector(&self) -> Result<RustlsConnector, RabbitError> {
        let config = match &self.ca {
            Some(file) => RustlsConnectorConfig::default().with_parsable_certificates(certificates(file, CA)?),
            None => RustlsConnectorConfig::new_with_native_certs().map_err(|error| RabbitError::Security {
                reason: format!(
                    "the certificate authorities of the system cannot be read: {error}; set \"tls_ca\" to the one that vouches for the server"
                ),
            })?,
        };
        let made = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let (shown, of) = (certificates(certificate, CERTIFICATE)?, private_key(key)?);
                let made = config.connector_with_single_cert(shown, of);
                made.map_err(|error| unusable(certificate, CERTIFICATE, &error.to_string()))?
            }
            _ => config.connector_with_no_client_auth().map_err(|error| {
                let file = self
                    .ca
                    .as_deref()
                    .unwrap_or(Path::new("the system's certificates"));
                unusable(file, CA, &error.to_string())
            })?,
        };
        Ok(made)
    }
}

fn certificates(file: &Path, role: &'static str) -> Result<Vec<CertificateDer<'static>>, RabbitError> {
    let read = std::fs::read(file).map_err(|error| unusable(file, role, &error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    let found = found.map_err(|error| unusable(file, role, &error.to_string()))?;
    if found.is_empty() {
        return Err(unusable(file, role, "there is no certificate in it"));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, RabbitError> {
    let read = std::fs::read(file).map_err(|error| unusable(file, KEY, &error.to_string()))?;
    // The error could repeat what is in the file.
    PrivateKeyDer::from_pem_slice(&read).map_err(|_| unusable(file, KEY, "there is no private key in it"))
}

fn unusable(file: &Path, role: &'static str, reason: &str) -> RabbitError {
    RabbitError::File {
        file: file.to_owned(),
        role,
        reason: format!("{reason}; it must be a readable file in PEM form"),
    }
}
