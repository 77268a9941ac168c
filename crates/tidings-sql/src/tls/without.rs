//! A build without TLS.

use super::{Insecure, Stream};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::net::TcpStream;

/// There is none.
#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    /// # Errors
    /// It is asked for.
    pub(crate) fn of(options: &PgConnectOptions) -> Result<Option<Self>, Insecure> {
        match options.get_ssl_mode() {
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => Ok(None),
            _ => Err(Insecure::Refused(NO_TLS.into())),
        }
    }

    pub(super) async fn check(&self) -> Result<(), Insecure> {
        match *self {}
    }

    pub(crate) async fn over(&self, _: TcpStream, _: &str) -> Result<Box<dyn Stream>, Insecure> {
        match *self {}
    }
}

const NO_TLS: &str = "this build has no TLS: switch on the feature `sql-tls` of `tidings` (`tls` of `tidings-sql`), or use \
                      sslmode=disable or prefer on a network that may be trusted";

/// Nothing is there to be stricter about.
pub(crate) fn strict(options: PgConnectOptions) -> PgConnectOptions {
    options
}

/// What to do about an error of TLS.
pub(crate) fn explain(error: &sqlx::Error) -> Option<String> {
    matches!(error, sqlx::Error::Tls(_)).then(|| NO_TLS.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_tls_is_told_which_feature_has_it() {
        let mode = |mode| Tls::of(&PgConnectOptions::new_without_pgpass().ssl_mode(mode));
        assert!(mode(PgSslMode::Prefer).unwrap().is_none());
        let refused = mode(PgSslMode::VerifyFull).unwrap_err();
        assert!(
            matches!(&refused, Insecure::Refused(words) if words.contains("sql-tls")),
            "{refused:?}"
        );
    }
}
