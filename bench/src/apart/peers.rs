//! Programs of other libraries, run as they are from the folder that `TIDINGS_BENCH_PEERS` names.
//!
//! The folder has `java/` with a Maven project; each of its programs takes its arm and work as arguments and the rest
//! as variables, and says the same line as our arms. Without the variable, without Java or without Maven the lines that
//! need them are left out, and the row says so.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::job::{Job, Outcome, outcome_of};
use crate::error::BenchError;
use crate::machine;

const VARIABLE: &str = "TIDINGS_BENCH_PEERS";
const MODULES: [&str; 4] = [
    "spring-kafka",
    "spring-cloud-stream",
    "parallel-consumer",
    "spring-amqp",
];
/// Memory and collector of every Java arm.
const JVM: [&str; 3] = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC"];

/// A way to do the work in another library.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// What the table calls it.
    pub(crate) name: &'static str,
    module: &'static str,
    main: &'static str,
    workload: &'static str,
    how: &'static str,
    /// One more argument.
    with: Option<&'static str>,
}

/// Spring Kafka with these profiles.
pub(crate) const fn spring(name: &'static str, workload: &'static str, how: &'static str) -> Peer {
    Peer {
        name,
        module: "spring-kafka",
        main: "peers.SpringKafka",
        workload,
        how,
        with: None,
    }
}

/// Spring Cloud Stream with this function.
pub(crate) const fn stream(name: &'static str, workload: &'static str, how: &'static str) -> Peer {
    Peer {
        name,
        module: "spring-cloud-stream",
        main: "peers.SpringCloudStream",
        workload,
        how,
        with: None,
    }
}

/// Confluent's parallel consumer with so much concurrency.
pub(crate) const fn parallel(name: &'static str, workload: &'static str, how: &'static str) -> Peer {
    Peer {
        name,
        module: "parallel-consumer",
        main: "peers.ParallelConsumer",
        workload,
        how,
        with: None,
    }
}

/// Spring AMQP with this profile and setting.
pub(crate) const fn amqp(
    name: &'static str,
    workload: &'static str,
    how: &'static str,
    with: &'static str,
) -> Peer {
    Peer {
        name,
        module: "spring-amqp",
        main: "peers.SpringAmqp",
        workload,
        how,
        with: Some(with),
    }
}

/// The programs, built once.
#[derive(Debug)]
pub(crate) struct Peers {
    built: PathBuf,
}

/// The programs; the reason where there are none.
pub(crate) fn peers() -> Result<&'static Peers, &'static str> {
    static PEERS: OnceLock<Result<Peers, String>> = OnceLock::new();
    PEERS
        .get_or_init(|| {
            let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
            let folder = folder.ok_or_else(|| format!("{VARIABLE} names no folder of other programs"))?;
            build(Path::new(&folder)).map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(String::as_str)
}

/// Builds them from a copy: the folder itself is not written to.
fn build(folder: &Path) -> Result<Peers, BenchError> {
    let built = machine::results_directory().join("peers");
    let copy = built.join("java");
    // Whatever is left of the last time: sources may have changed.
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(&built).map_err(BenchError::file(&built))?;
    run(Command::new("cp").arg("-r").arg(folder.join("java")).arg(&copy))?;
    let maven = |arguments: &[&OsStr]| {
        let mut command = Command::new("mvn");
        run(command.args(["-B", "-q"]).args(arguments).current_dir(&copy))
    };
    maven(&["install".as_ref()])?;
    for module in MODULES {
        let mut output = std::ffi::OsString::from("-DoutputDirectory=");
        output.push(built.join("lib").join(module));
        maven(&[
            "-pl".as_ref(),
            module.as_ref(),
            "dependency:copy-dependencies".as_ref(),
            &output,
        ])?;
    }
    Ok(Peers { built })
}

fn run(command: &mut Command) -> Result<(), BenchError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(BenchError::part("building other programs")(format!(
            "{name} ended with {status}"
        ))),
        Err(error) => Err(BenchError::part("building other programs")(format!(
            "{name}: {error}"
        ))),
    }
}

impl Peers {
    /// One run. Half of the messages warm Java up.
    pub(crate) fn run(&self, peer: Peer, job: &Job) -> Result<Outcome, BenchError> {
        let classes = |module: &str| self.built.join("java").join(module).join("target/classes");
        let path = [
            classes("common"),
            classes(peer.module),
            self.built.join("lib").join(peer.module).join("*"),
        ];
        let path = std::env::join_paths(path).map_err(BenchError::part("the class path"))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut command = Command::new("java");
        command
            .args(JVM)
            .arg("-cp")
            .arg(path)
            .args([peer.main, "peer", peer.workload, peer.how])
            .args(peer.with)
            .env("BROKERS", &job.servers)
            .env("AMQP_ADDRESS", &job.servers)
            .env("TOPIC", &job.topic)
            .env("OUT", &job.out)
            .env("GROUP", &job.group)
            .env("WARM", job.warm.to_string())
            .env("COUNT", (job.total - job.warm).to_string())
            .env("T0_NS", now.unwrap_or_default().as_nanos().to_string())
            .stderr(Stdio::null());
        outcome_of(command, peer.name)
    }
}
