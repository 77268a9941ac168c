//! PostgreSQL as this machine has it installed: [`Postgres`].

pub(crate) mod background;
mod commits;
mod database;
mod options;
mod secure;
mod server;
pub(crate) mod shared_memory;

use std::path::Path;

pub use self::commits::{CommitFault, CommitProxy};
pub use self::database::{Database, PostgresApi};
pub use self::options::{PostgresLayout, PostgresOptions};
use self::server::{Installed, Server};
use crate::error::{BrokersError, again_after_port_races};
use crate::launch::Life;
use crate::place;
use crate::ports::{self, Port};
use crate::run_directory::RunDirectory;
use crate::security::{Certificates, directory};

/// A running PostgreSQL of this process. It ends, and its directory goes, when it is dropped or the process ends.
#[derive(Debug)]
pub struct Postgres {
    // Dropped in this order: nobody shall write into the directory any more when it is removed.
    server: Server,
    _port: Port,
    directory: RunDirectory,
    certificates: Option<Certificates>,
}

impl Postgres {
    /// Makes a server and waits until it is ready: about a second.
    ///
    /// # Errors
    /// It is not installed, or it is not ready in time; then with the end of its log.
    pub fn start(options: PostgresOptions) -> Result<Self, BrokersError> {
        let installed = Installed::get()?;
        again_after_port_races(|| Self::try_start(&options, &installed))
    }

    fn try_start(options: &PostgresOptions, installed: &Installed) -> Result<Self, BrokersError> {
        let run = RunDirectory::create_in(&place::runs_of(installed.user()), options.layout.name())?;
        let port = ports::reserve_one()?;
        let server = Server::prepare(options, installed, port.number, run.path(), Life::WithUs)?;
        let certificates = Certificates::at(directory(run.path()));
        let postgres = Self {
            server,
            _port: port,
            directory: run,
            certificates: (options.layout == PostgresLayout::Secure).then_some(certificates),
        };
        postgres.server.launch()?;
        if postgres.certificates.is_some() {
            postgres.api().sql("postgres", secure::USERS)?;
        }
        Ok(postgres)
    }

    /// Its address for one who may do everything: `postgres://postgres@127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.api.url()
    }

    /// Databases, and statements of an operator.
    #[must_use]
    pub fn api(&self) -> &PostgresApi {
        &self.server.api
    }

    /// The certificates of a secure server. The role `client` has to show the client certificate, the role `secret` the password
    /// `secret`; both may do what the superuser may. The server's own one names `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// A database of the test's own, see [`PostgresApi::database`].
    ///
    /// # Errors
    /// The server does not answer.
    pub fn database(&self, name: &str) -> Result<Database, BrokersError> {
        self.api().database(name)
    }

    /// The process id of the first of its processes while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.process.pid()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        self.server.process.log_end()
    }

    /// Where log and data lie while it runs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// SIGKILL to all its processes, and gone when this returns. [`start_again`](Self::start_again) brings it back.
    ///
    /// # Errors
    /// It could not be killed.
    pub fn kill(&self) -> Result<(), BrokersError> {
        self.server.kill()
    }

    /// SIGSTOP to all its processes: its connections stay open and silent, new ones are not answered.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<(), BrokersError> {
        self.server.freeze()
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<(), BrokersError> {
        self.server.thaw()
    }

    /// Ends it in an orderly way (a *fast* shutdown): clients are told, open transactions are rolled back.
    ///
    /// # Errors
    /// It could not be ended.
    pub fn stop(&self) -> Result<(), BrokersError> {
        self.server.stop()
    }

    /// Starts it after [`stop`](Self::stop) or [`kill`](Self::kill), on its port and with its data, and waits until it is
    /// ready.
    ///
    /// # Errors
    /// It is not ready in time.
    pub fn start_again(&self) -> Result<(), BrokersError> {
        self.server.launch()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What cannot be killed has ended; there is nobody to tell otherwise.
        let _ = self.server.end();
    }
}
