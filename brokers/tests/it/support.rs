//! The program of this crate in a world of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything takes on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `brokers …` with its own directory for servers, but with the jars of everybody.
pub(crate) fn program(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brokers"));
    command.args(arguments).env("CARGO_TARGET_DIR", home);
    if std::env::var_os("TIDINGS_BROKERS_CACHE").is_none() {
        command.env("TIDINGS_BROKERS_CACHE", cache());
    }
    command.stdin(Stdio::null());
    command
}

/// A directory that every user may pass through: a server may run as another one.
pub(crate) fn home() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    home
}

/// The block of shared memory that a PostgreSQL holds as long as it lives: the last word of the seventh line of its record.
pub(crate) fn shared_memory_of(data: &Path) -> String {
    let record = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let line = record.lines().nth(6).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

/// Whether the system keeps a block of that number.
pub(crate) fn is_kept(block: &str) -> bool {
    let blocks = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    blocks
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some(block))
}

/// Where this test's own servers have their programs from.
fn cache() -> PathBuf {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(target),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    target.join("brokers/cache")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether this machine lacks what a server needs; says so for the test, as `or_skip` does.
pub(crate) fn is_skipped(test: &str, output: &Output) -> bool {
    const MISSING: i32 = 3;
    let missing = output.status.code() == Some(MISSING);
    if missing {
        println!(
            "SKIPPED {test}: {}",
            stderr(output).trim().trim_start_matches("error: ")
        );
    }
    missing
}

/// A process and when it started, so that it is not mistaken for a later one of the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    started: String,
}

impl Process {
    /// The process of that id, if it lives; a zombie does not.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            parent: fields.next()?.parse().ok()?,
            started: fields.nth(17)?.to_owned(),
        })
    }

    pub(crate) fn lives(&self) -> bool {
        Self::of(self.pid).is_some_and(|found| found.started == self.started)
    }
}

/// Whether a process of that id lives.
pub(crate) fn lives(pid: u32) -> bool {
    Process::of(pid).is_some()
}

/// A process and all that it has started, directly or not.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let all: Vec<Process> = entries
        .filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found: Vec<Process> = all.iter().filter(|process| process.pid == pid).cloned().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(all.iter().filter(|process| process.parent == parent).cloned());
        next += 1;
    }
    found
}

/// Waits for something that must come about.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process ids in the records below a directory, nodes last.
pub(crate) fn recorded(directory: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            found.extend(recorded(&path));
        } else if path.extension().is_some_and(|extension| extension == "process") {
            let record = std::fs::read_to_string(&path).unwrap_or_default();
            found.extend(record.split(' ').next().and_then(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}
