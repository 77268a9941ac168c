//! What secure servers have in common: users, and the certificates of both sides.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::BrokersError;
use crate::programs::{self, Run};

const OPENSSL_PATIENCE: Duration = Duration::from_secs(60);

/// A user of a secure server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub name: &'static str,
    /// The password, the same by whatever mechanism.
    pub password: &'static str,
}

impl Login {
    /// A user who may do everything with what is called `alice-…`, and nothing else.
    pub const ALICE: Self = Self {
        name: "alice",
        password: "alice-pw",
    };
    /// A user who is known and may do nothing.
    pub const BOB: Self = Self {
        name: "bob",
        password: "bob-pw",
    };
}

/// How names start that the rights of [`Login::ALICE`] and of the holder of the client certificate cover.
pub(crate) const ALLOWED_PREFIX: &str = "alice-";

/// The certificates of a secure server and of its clients.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// The certificate of the authority that the server's own certificate comes from.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.file("ca.crt")
    }

    /// An authority that vouches for nothing here.
    #[must_use]
    pub fn other_authority(&self) -> PathBuf {
        self.file("otherca.crt")
    }

    /// The client's certificate, for servers that demand one. Its subject is `CN=client`.
    #[must_use]
    pub fn client_certificate(&self) -> PathBuf {
        self.file("client.crt")
    }

    /// Its key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes everything anew: two authorities, `server` for this machine, `wronghost` for another one, `client`.
    pub(crate) fn create(directory: PathBuf) -> Result<Self, BrokersError> {
        std::fs::create_dir_all(&directory).map_err(BrokersError::file("create", &directory))?;
        let certificates = Self { directory };
        for name in ["ca", "otherca"] {
            certificates.make_authority(name)?;
        }
        for (name, subject) in [
            ("server", "DNS:localhost,IP:127.0.0.1"),
            ("wronghost", "DNS:broker.invalid"),
            ("client", "DNS:client"),
        ] {
            certificates.make_leaf(name, subject)?;
        }
        Ok(certificates)
    }

    /// What was made before.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn make_authority(&self, name: &str) -> Result<(), BrokersError> {
        let (key, certificate, subject) = (
            format!("{name}.key"),
            format!("{name}.crt"),
            format!("/CN={name}"),
        );
        let mut arguments = vec!["req", "-x509", "-days", "3650", "-out", &certificate];
        arguments.extend(new_key(&key));
        arguments.extend(["-subj", &subject, "-addext", "basicConstraints=critical,CA:TRUE"]);
        arguments.extend(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        self.openssl(&arguments, Vec::new()).map(drop)
    }

    fn make_leaf(&self, name: &str, alternative: &str) -> Result<(), BrokersError> {
        let [key, request, certificate, extensions] =
            ["key", "csr", "crt", "ext"].map(|extension| format!("{name}.{extension}"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-out", &request, "-subj", &subject];
        arguments.extend(new_key(&key));
        self.openssl(&arguments, Vec::new())?;
        let text = format!("subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\n");
        self.write(&extensions, &text)?;
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &certificate];
        arguments.extend(["-days", "3650", "-CA", "ca.crt", "-CAkey", "ca.key"]);
        arguments.extend(["-CAcreateserial", "-extfile", &extensions]);
        self.openssl(&arguments, Vec::new())?;
        // Kafka reads key and certificate from one file.
        let both = self.read(&key)? + &self.read(&certificate)?;
        self.write(&format!("{name}.pem"), &both)
    }

    /// Runs openssl among the certificates and gives what it printed.
    pub(crate) fn openssl(&self, arguments: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>, BrokersError> {
        let run = Run {
            program: programs::find(&programs::OPENSSL)?,
            arguments: arguments.iter().map(OsString::from).collect(),
            variables: Vec::new(),
            directory: Some(self.directory.clone()),
            stdin,
            deadline: OPENSSL_PATIENCE,
            title: format!("openssl {}", arguments.join(" ")),
        };
        Ok(run.run()?.stdout)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), BrokersError> {
        let path = self.file(name);
        std::fs::write(&path, text).map_err(BrokersError::file("write", &path))
    }

    fn read(&self, name: &str) -> Result<String, BrokersError> {
        let path = self.file(name);
        std::fs::read_to_string(&path).map_err(BrokersError::file("read", &path))
    }
}

/// A key on a curve, which is made a hundred times faster than an RSA one.
fn new_key(file: &str) -> [&str; 7] {
    let curve = "ec_paramgen_curve:prime256v1";
    ["-newkey", "ec", "-pkeyopt", curve, "-nodes", "-keyout", file]
}

/// Where the certificates of a server lie within its directory.
pub(crate) fn directory(server: &Path) -> PathBuf {
    server.join("tls")
}
