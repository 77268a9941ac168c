//! Where a PostgreSQL is and who asks, as far as sqlx tells: [`Address`].

use super::error::ReplicationError;
use crate::tls::Tls;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::PathBuf;

pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The directory of a socket, in place of host and port.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
    /// How a connection to host and port is made secure, if it is.
    pub(crate) tls: Option<Tls>,
    /// What people call it, without the password.
    pub(crate) place: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Address {
    /// # Errors
    /// It asks for TLS, and this build has none.
    pub(crate) fn of(options: &PgConnectOptions, place: &str) -> Result<Self, ReplicationError> {
        let tls = Tls::of(options).map_err(|insecure| ReplicationError::insecure(place, insecure))?;
        let user = options.get_username().to_owned();
        let in_host = || {
            options
                .get_host()
                .starts_with('/')
                .then(|| options.get_host().into())
        };
        Ok(Self {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            socket: options.get_socket().cloned().or_else(in_host),
            database: options.get_database().unwrap_or(&user).to_owned(),
            password: password(options),
            place: place.to_owned(),
            tls,
            user,
        })
    }
}

/// sqlx shows a password in an address only. Host and user are replaced, since it expects them to be good ones.
fn password(options: &PgConnectOptions) -> String {
    let options = options.clone().host("localhost").username("user");
    let url = options.to_url_lossy();
    let encoded = percent_encoding::percent_decode_str(url.password().unwrap_or_default());
    encoded.decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_any_characters_is_taken_from_sqlx_and_never_shown() {
        let given = PgConnectOptions::new_without_pgpass()
            .host("::1")
            .username("a b@c")
            .password("p@:/%41 ä")
            .database("shop");
        let address = Address::of(&given, "here").unwrap();
        assert_eq!(address.password, "p@:/%41 ä");
        assert_eq!(
            (address.user.as_str(), address.database.as_str()),
            ("a b@c", "shop")
        );
        assert_eq!(format!("{address:?}"), "here");
    }
}
