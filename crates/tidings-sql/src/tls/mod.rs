//! TLS to PostgreSQL: for the connection of replication, in the words of sqlx's options, which has its own for the others
//! ([`Tls`]), and what to do about errors of it ([`explain`]).

#[cfg(feature = "tls")]
mod pem;
#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
#[cfg(feature = "tls")]
mod verifier;
#[cfg(feature = "tls")]
mod with;
#[cfg(any(test, not(feature = "tls")))]
#[cfg_attr(feature = "tls", expect(dead_code, reason = "tested in any build"))]
mod without;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "tls")]
pub(crate) use self::with::{Tls, explain, strict};
#[cfg(not(feature = "tls"))]
pub(crate) use self::without::{Tls, explain, strict};

/// Why a connection is not made secure.
#[derive(Debug)]
pub(crate) enum Insecure {
    /// It stays like that until something is changed: what is wrong, and what to do.
    Refused(String),
    /// The connection was lost.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "without TLS none is tried"))]
    Lost(String),
}

/// Whether what an address says of TLS can be used, before it is: sqlx does not say which file it is that is wrong.
pub(crate) async fn check(options: &PgConnectOptions) -> Result<(), Insecure> {
    match Tls::of(options)? {
        Some(tls) => tls.check().await,
        None => Ok(()),
    }
}

/// What bytes come and go on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}
