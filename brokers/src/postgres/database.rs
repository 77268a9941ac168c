//! A PostgreSQL as its clients see it, and what one test has of it for itself: [`PostgresApi`], [`Database`].

use std::path::PathBuf;
use std::time::Duration;

use crate::error::BrokersError;
use crate::programs::{self, Run};
use crate::shared::{GIVEN_POSTGRES, unique};

/// How long one statement of an operator may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A PostgreSQL that can be told what to do, by its own client `psql`.
#[derive(Debug, Clone)]
pub struct PostgresApi {
    psql: PathBuf,
    /// `postgres://user:password@host:port`, without a database.
    url: String,
}

impl PostgresApi {
    pub(crate) fn new(psql: PathBuf, url: String) -> Self {
        Self { psql, url }
    }

    /// A server that somebody else has started.
    pub(crate) fn at(url: &str) -> Result<Self, BrokersError> {
        let wrong = || BrokersError::Variable {
            variable: GIVEN_POSTGRES,
            problem: format!("is {url:?}; write it as postgres://user:password@host:port"),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if !matches!(scheme, "postgres" | "postgresql") || authority.is_empty() {
            return Err(wrong());
        }
        let psql = programs::find(&programs::PSQL)?;
        Ok(Self::new(psql, format!("postgres://{authority}")))
    }

    /// Its address without a database, for one who may do everything: `postgres://user:password@host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Makes a database whose name begins with that one and is no other's.
    ///
    /// # Errors
    /// The server does not answer, or this user may not make databases.
    pub fn database(&self, name: &str) -> Result<Database, BrokersError> {
        let name = unique(name).replace('-', "_");
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(Database {
            api: self.clone(),
            name,
        })
    }

    /// Runs statements on a database, each in a transaction of its own, and gives what they printed: a line for a row,
    /// `|` between its columns.
    ///
    /// # Errors
    /// The server does not answer, or refuses one; then with what it said.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String, BrokersError> {
        let run = Run {
            program: self.psql.clone(),
            arguments: [
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--set=ON_ERROR_STOP=1",
                "--file=-",
                &self.url_of(database),
            ]
            .map(Into::into)
            .to_vec(),
            variables: vec![("PGCONNECT_TIMEOUT".into(), "5".into())],
            directory: None,
            stdin: format!("{statements};\n").into_bytes(),
            deadline: PATIENCE,
            title: format!("psql {database}: {statements}"),
        };
        let printed = run.run()?;
        Ok(String::from_utf8_lossy(&printed.stdout).trim_end().to_owned())
    }

    fn url_of(&self, database: &str) -> String {
        format!("{}/{database}", self.url)
    }
}

/// A database of a PostgreSQL; it goes with all that is in it, and with the connections to it, when it is dropped.
#[derive(Debug)]
pub struct Database {
    api: PostgresApi,
    name: String,
}

impl Database {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address for one who may do everything: `postgres://user:password@host:port/name`.
    #[must_use]
    pub fn url(&self) -> String {
        self.api.url_of(&self.name)
    }

    /// [`PostgresApi::sql`] on it.
    ///
    /// # Errors
    /// As there.
    pub fn sql(&self, statements: &str) -> Result<String, BrokersError> {
        self.api.sql(&self.name, statements)
    }

    /// The server that it is on.
    #[must_use]
    pub fn api(&self) -> &PostgresApi {
        &self.api
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A server that is gone takes it along.
        let _ = self
            .api
            .sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
