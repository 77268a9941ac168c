//! Certificates and keys in PEM form, as options of sqlx name them: [`Pem`].

use super::Insecure;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::path::{Path, PathBuf};
use tokio_rustls::rustls;

/// Where they are.
#[derive(Debug, Clone)]
pub(super) enum Pem {
    Text(String),
    File(PathBuf),
}

impl Pem {
    /// What the options say under that key.
    pub(super) fn given(options: &PgConnectOptions, key: &str) -> Option<Self> {
        // sqlx shows it in an address only. Host and user are replaced, since it expects them to be good ones.
        let url = options.clone().host("localhost").username("user");
        let url = url.to_url_lossy();
        let (_, value) = url.query_pairs().find(|(name, _)| name == key)?;
        Some(match value.strip_prefix("file: ") {
            Some(file) => Self::File(file.into()),
            None => Self::Text(value.into_owned()),
        })
    }

    fn read(&self, key: &str) -> Result<Vec<u8>, Insecure> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::File(file) => std::fs::read(file).map_err(|error| unusable(key, file, &error.to_string())),
        }
    }

    fn place(&self) -> &Path {
        match self {
            Self::Text(_) => Path::new("the text of the address"),
            Self::File(file) => file,
        }
    }

    pub(super) fn certificates(&self, key: &str) -> Result<Vec<CertificateDer<'static>>, Insecure> {
        let read = self.read(key)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(unusable(key, self.place(), "there is no certificate in it")),
        }
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, Insecure> {
        // The error could repeat what is in the file.
        let found = PrivateKeyDer::from_pem_slice(&self.read("sslkey")?);
        found.map_err(|_| unusable("sslkey", self.place(), "there is no private key in it"))
    }
}

fn unusable(key: &str, place: &Path, reason: &str) -> Insecure {
    Insecure::Refused(format!(
        "{key} = {}: {reason}; it must be a readable file in PEM form",
        place.display()
    ))
}
