//! What makes a PostgreSQL secure: its certificates, and who is let in how.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::BrokersError;
use crate::security::{Certificates, directory};

/// Files are seen from the directory of the data.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("ssl", "on"),
    ("ssl_cert_file", "../tls/server.crt"),
    ("ssl_key_file", "../tls/server.key"),
    ("ssl_ca_file", "../tls/ca.crt"),
];

/// Makes certificates, whose keys belong to the one who starts the server, and the rules of who may come in.
pub(crate) fn prepare(server: &Path, data: &Path, owner: Option<(u32, u32)>) -> Result<(), BrokersError> {
    let certificates = Certificates::create(directory(server))?;
    for key in ["server.key", "wronghost.key"].map(|name| certificates.file(name)) {
        // PostgreSQL takes no key that others may read.
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))
            .map_err(BrokersError::file("change the mode of", &key))?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&key, Some(user), Some(group))
                .map_err(BrokersError::file("give away", &key))?;
        }
    }
    let rules = data.join("pg_hba.conf");
    std::fs::write(&rules, RULES).map_err(BrokersError::file("write", &rules))
}

/// The statements that make the users who do not come just so.
pub(crate) const USERS: &str =
    "CREATE ROLE client LOGIN SUPERUSER; CREATE ROLE secret LOGIN SUPERUSER PASSWORD 'secret'";

/// The user `client` has to show the client certificate, whose subject is `CN=client`.
const RULES: &str = "\
hostssl all client 127.0.0.1/32 cert
hostssl all secret 127.0.0.1/32 scram-sha-256
hostssl all all 127.0.0.1/32 trust
";
