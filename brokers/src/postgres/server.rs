//! The processes of one PostgreSQL, its files, and the user that it runs as.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::database::PostgresApi;
use super::options::{PostgresLayout, PostgresOptions};
use super::{secure, shared_memory};
use crate::error::BrokersError;
use crate::identity;
use crate::launch::{CommandLine, Life};
use crate::process::{Process, stop_all};
use crate::programs::{self, Run};

/// The only process that has a record; the others are its children.
pub(crate) const NODE: u32 = 1;
/// Where its files are in its directory.
pub(crate) const DATA: &str = "data";
const SUPERUSER: &str = "postgres";
const INITDB_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Whom PostgreSQL runs as where this process is root, which it refuses to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    id: u32,
    group: u32,
}

/// What of PostgreSQL is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    server: PathBuf,
    initdb: PathBuf,
    psql: PathBuf,
    user: Option<User>,
}

impl Installed {
    pub(crate) fn get() -> Result<Self, BrokersError> {
        Ok(Self {
            server: programs::find(&programs::POSTGRES)?,
            initdb: programs::find(&programs::INITDB)?,
            psql: programs::find(&programs::PSQL)?,
            user: user()?,
        })
    }

    /// Another user than that of this process, if it has to be one.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user.as_ref().map(|user| user.id)
    }

    /// A program of PostgreSQL with what is to be done before it. A change of the user makes the kernel forget the signal
    /// for the end of the parent, so it is asked for again; and PostgreSQL tidies its shared memory up when it is told to
    /// quit and not when it is killed.
    fn words(&self, program: &Path, life: Life) -> Result<Vec<OsString>, BrokersError> {
        let mut words: Vec<OsString> = vec![programs::find(&programs::SETPRIV)?.into()];
        if let Some(user) = &self.user {
            words.push(format!("--reuid={}", user.id).into());
            words.push(format!("--regid={}", user.group).into());
            words.push("--clear-groups".into());
        }
        if life == Life::WithUs {
            words.extend(["--pdeathsig".into(), "QUIT".into()]);
        }
        words.push(program.into());
        Ok(words)
    }
}

/// Root takes the user of the package, or else one who has nothing.
fn user() -> Result<Option<User>, BrokersError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let users = std::fs::read_to_string(path).map_err(BrokersError::file("read", path))?;
    let found = ["postgres", "nobody"]
        .iter()
        .find_map(|name| find_user(&users, name));
    match found {
        Some(user) => Ok(Some(user)),
        None => Err(BrokersError::io("start", "PostgreSQL as root")(
            std::io::Error::other("it refuses to, and there is neither a user `postgres` nor `nobody`"),
        )),
    }
}

fn find_user(users: &str, name: &str) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next().filter(|found| *found == name)?;
        Some(User {
            name: found.to_owned(),
            id: fields.nth(1)?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    })
}

/// A PostgreSQL that can be started from its files any number of times.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) api: PostgresApi,
    options: PostgresOptions,
    life: Life,
    data: PathBuf,
}

impl Server {
    /// Makes its files.
    pub(crate) fn prepare(
        options: &PostgresOptions,
        installed: &Installed,
        port: u16,
        directory: &Path,
        life: Life,
    ) -> Result<Self, BrokersError> {
        let data = directory.join(DATA);
        std::fs::create_dir_all(&data).map_err(BrokersError::file("create", &data))?;
        if let Some(user) = &installed.user {
            std::os::unix::fs::chown(&data, Some(user.id), Some(user.group))
                .map_err(BrokersError::file("give away", &data))?;
        }
        initdb(installed, &data)?;
        if options.layout == PostgresLayout::Secure {
            let owner = installed.user.as_ref().map(|user| (user.id, user.group));
            secure::prepare(directory, &data, owner)?;
        }
        let mut words = installed.words(&installed.server, life)?;
        words.extend(["-D".into(), data.clone().into()]);
        for (key, value) in settings(options, port) {
            words.extend(["-c".into(), format!("{key}={value}").into()]);
        }
        let command = CommandLine {
            words,
            variables: Vec::new(),
        };
        let url = format!("postgres://{SUPERUSER}@127.0.0.1:{port}");
        Ok(Self {
            process: Process::node(options.layout.name(), NODE, directory, command),
            api: PostgresApi::new(installed.psql.clone(), url),
            options: options.clone(),
            life,
            data,
        })
    }

    /// Starts it unless it runs, and waits until it answers.
    pub(crate) fn launch(&self) -> Result<(), BrokersError> {
        self.process.launch(self.life)?;
        self.process.wait_ready(self.options.patience, || {
            let asked = self.api.sql("postgres", "SELECT 1");
            asked.map(drop).map_err(|error| error.to_string())
        })
    }

    /// Ends it in an orderly way without waiting for its clients to go.
    pub(crate) fn stop(&self) -> Result<(), BrokersError> {
        stop_all(&[&self.process], Signal::INT, STOP_PATIENCE)
    }

    /// Ends it at once. It is thawed first, since a frozen one hears nothing.
    pub(crate) fn end(&self) -> Result<(), BrokersError> {
        let _ = self.thaw();
        stop_all(&[&self.process], Signal::QUIT, KILL_PATIENCE)?;
        shared_memory::give_back(&self.data)
    }

    /// Kills all its processes at once. The first one stands still before its children are counted, so it makes no more.
    pub(crate) fn kill(&self) -> Result<(), BrokersError> {
        let Some(pid) = self.process.pid() else {
            return Ok(());
        };
        self.process.signal(Signal::STOP)?;
        let children = identity::children(pid);
        self.process.kill()?;
        for child in &children {
            child.signal(Signal::KILL);
        }
        match children.iter().all(|child| child.wait(KILL_PATIENCE)) {
            true => Ok(()),
            false => Err(BrokersError::io("kill", "a process of PostgreSQL")(
                std::io::Error::other("it survives SIGKILL; is its disk gone?"),
            )),
        }
    }

    pub(crate) fn freeze(&self) -> Result<(), BrokersError> {
        self.process.signal(Signal::STOP)?;
        self.signal_children(Signal::STOP);
        Ok(())
    }

    pub(crate) fn thaw(&self) -> Result<(), BrokersError> {
        self.signal_children(Signal::CONT);
        self.process.signal(Signal::CONT)
    }

    fn signal_children(&self, signal: Signal) {
        for child in self.process.pid().into_iter().flat_map(identity::children) {
            child.signal(signal);
        }
    }

    /// Lets go of a process that shall outlive this one.
    pub(crate) fn release(&self) {
        self.process.release();
    }
}

fn settings(options: &PostgresOptions, port: u16) -> Vec<(String, String)> {
    let port = port.to_string();
    let every = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("unix_socket_directories", ""),
        ("max_connections", "200"),
        ("wal_level", "logical"),
        ("max_wal_senders", "10"),
        ("max_replication_slots", "10"),
    ];
    let secure = match options.layout {
        PostgresLayout::Secure => secure::SETTINGS,
        _ => &[],
    };
    let ours = every.iter().chain(options.layout.settings()).chain(secure);
    let ours = ours.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ours.chain(options.settings.iter().cloned()).collect()
}

fn initdb(installed: &Installed, data: &Path) -> Result<(), BrokersError> {
    let words = installed.words(&installed.initdb, Life::WithUs)?;
    let mut words = words.into_iter();
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    let mut arguments: Vec<OsString> = words.collect();
    arguments.extend(["-D".into(), data.into(), "-U".into(), SUPERUSER.into()]);
    arguments.extend(["-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"].map(OsString::from));
    let run = Run {
        program,
        arguments,
        variables: Vec::new(),
        // It wants to come back to where it was started, which another user may not be able to.
        directory: Some(PathBuf::from("/")),
        stdin: Vec::new(),
        deadline: INITDB_PATIENCE,
        title: "initdb".into(),
    };
    run.run().map(drop)
}

/// Whether something answers there as a PostgreSQL does.
pub(crate) fn answers(port: u16) -> bool {
    let Ok(psql) = programs::find(&programs::PSQL) else {
        return false;
    };
    let api = PostgresApi::new(psql, format!("postgres://{SUPERUSER}@127.0.0.1:{port}"));
    api.sql("postgres", "SELECT 1").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\nxpostgres:x:1:1::/:\npostgres:x:103:110::/var/lib:/bin/bash\nnobody:x:65534:65534::/:\n";
        let found = find_user(users, "postgres").unwrap();
        assert_eq!(
            (found.name.as_str(), found.id, found.group),
            ("postgres", 103, 110)
        );
        assert_eq!(find_user(users, "nobody").unwrap().id, 65534);
        assert_eq!(find_user("postgres:x", "postgres"), None);
    }

    #[test]
    fn a_setting_of_the_test_wins() {
        let options = PostgresOptions::durable().setting("max_connections", "5");
        let all = settings(&options, 4711);
        assert_eq!(
            all.last().unwrap(),
            &("max_connections".to_owned(), "5".to_owned())
        );
        assert!(all.contains(&("port".to_owned(), "4711".to_owned())));
        assert!(!all.iter().any(|(key, _)| key == "fsync"));
    }
}
