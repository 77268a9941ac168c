//! Other people's programs: found with a cure when missing, run with a deadline.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{BrokersError, tail};
use crate::launch;

/// A program that may be missing.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    cure: &'static str,
    /// Where it is looked for before the PATH.
    first: &'static [&'static str],
}

impl Program {
    const fn on_path(name: &'static str, cure: &'static str) -> Self {
        Self {
            name,
            cure,
            first: &[],
        }
    }
}

pub(crate) const JAVA: Program = Program::on_path(
    "java",
    "Kafka 4 needs Java 17 or newer: `apt-get install default-jdk-headless`",
);
pub(crate) const MAVEN: Program = Program::on_path("mvn", "it fetches Kafka once: `apt-get install maven`");
pub(crate) const KCAT: Program = Program::on_path("kcat", "install it: `apt-get install kcat`");
pub(crate) const OPENSSL: Program =
    Program::on_path("openssl", "it makes the certificates: `apt-get install openssl`");
pub(crate) const SETPRIV: Program = Program::on_path(
    "setpriv",
    "it lets servers die with their tests: `apt-get install util-linux`; elsewhere than on Linux set \
     TIDINGS_TEST_KAFKA, TIDINGS_TEST_RABBITMQ and TIDINGS_TEST_POSTGRES to running servers (`docker compose up -d`)",
);
pub(crate) const SETSID: Program = Program::on_path(
    "setsid",
    "it lets servers outlive the command: `apt-get install util-linux`",
);
pub(crate) const RABBITMQ: Program = rabbitmq("rabbitmq-server");
pub(crate) const RABBITMQCTL: Program = rabbitmq("rabbitmqctl");
pub(crate) const POSTGRES: Program = postgres("postgres");
pub(crate) const INITDB: Program = postgres("initdb");
pub(crate) const PSQL: Program = postgres("psql");
pub(crate) const IPCRM: Program = Program::on_path(
    "ipcrm",
    "it gives back the shared memory of a killed PostgreSQL: `apt-get install util-linux`",
);
pub(crate) const EPMD: Program = Program::on_path(
    "epmd",
    "it comes with Erlang, which RabbitMQ runs on: `apt-get install rabbitmq-server`",
);

/// Debian has scripts of the same names on the PATH, which insist on the user `rabbitmq`.
const fn rabbitmq(name: &'static str) -> Program {
    Program {
        name,
        cure: "install it: `apt-get install rabbitmq-server`",
        first: &["/usr/lib/rabbitmq/bin"],
    }
}

/// Debian keeps a server's programs beside the PATH, with its client.
const fn postgres(name: &'static str) -> Program {
    Program {
        name,
        cure: "install it: `apt-get install postgresql-15`",
        first: &[
            "/usr/lib/postgresql/15/bin",
            "/usr/lib/postgresql/16/bin",
            "/usr/lib/postgresql/17/bin",
            "/usr/lib/postgresql/18/bin",
        ],
    }
}

/// The path of a program.
pub(crate) fn find(program: &Program) -> Result<PathBuf, BrokersError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let java_home =
        std::env::var_os("JAVA_HOME").filter(|home| program.name == JAVA.name && !home.is_empty());
    let first = java_home.map(|home| Path::new(&home).join("bin"));
    let found = first
        .into_iter()
        .chain(program.first.iter().map(PathBuf::from))
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(program.name))
        .find(|file| is_executable(file));
    found.ok_or(BrokersError::MissingProgram {
        program: program.name,
        cure: program.cure,
    })
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// What a program printed when it ended well.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) stdout: Vec<u8>,
}

/// One run of a program that ends by itself.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Beside those of this process.
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) deadline: Duration,
    /// What messages call it; the whole command line of a Java program is no help to anybody.
    pub(crate) title: String,
}

impl Run {
    /// Runs it to its end. It is killed at the deadline, and when this process ends.
    pub(crate) fn run(self) -> Result<Printed, BrokersError> {
        let mut command = launch::dying_with_us(&self.program)?;
        command.args(&self.arguments).stdin(Stdio::piped());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = launch::spawn(command)?;
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let input = self.stdin;
        // A program that reads nothing must not hold us up, so its input is written beside.
        let writer = child.stdin.take().map(|mut pipe| {
            // It may have ended without reading all, which its status tells better than this.
            std::thread::spawn(move || drop(pipe.write_all(&input)))
        });
        let status = wait(&mut child, self.deadline);
        let (stdout, stderr) = (joined(stdout), joined(stderr));
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        let output = || {
            let printed = String::from_utf8_lossy(&stdout);
            tail(&format!("{printed}\n{}", String::from_utf8_lossy(&stderr)))
        };
        match status.map_err(BrokersError::io("wait for", self.title.clone()))? {
            Some(status) if status.success() => Ok(Printed { stdout }),
            Some(status) => Err(BrokersError::Failed {
                command: self.title,
                status,
                output: output(),
            }),
            None => Err(BrokersError::Deadline {
                command: self.title,
                after: self.deadline,
                output: output(),
            }),
        }
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

fn joined(collector: JoinHandle<Vec<u8>>) -> Vec<u8> {
    collector.join().unwrap_or_default()
}

/// Waits for a child; `None` when it had to be killed.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
