//! The service in a process of its own, which may be killed and frozen: [`Child`].

use crate::service::{Places, start};
use crate::support::{binder, say_to};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

/// What the child is told. Only set for the child.
const TOLD: &str = "TIDINGS_TEST_ONCE";

/// How soon a service is taken for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// As soon as can be, for a test that waits for it. A machine that has no time for a member then loses it too.
    Short,
    /// Not by a machine that is slow.
    Long,
}

impl Session {
    const SHORT: Duration = Duration::from_millis(3_000);

    /// Of the session, and of a transaction.
    fn millis(self) -> [&'static str; 2] {
        match self {
            Self::Short => ["3000", "10000"],
            Self::Long => ["20000", "40000"],
        }
    }
}

/// What a service is told.
#[derive(Debug, Clone)]
struct Told {
    servers: String,
    places: Places,
    instance: Option<String>,
    session: Session,
}

/// A service that runs. Killed at the latest when this is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    told: Told,
    log: Log,
}

/// What services have to say, shown when a test fails.
pub(crate) struct Log(tempfile::NamedTempFile);

/// Lines of it that are shown.
const LAST_LINES: usize = 40;

impl Drop for Log {
    #[allow(clippy::print_stdout, reason = "why a campaign failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = std::fs::read_to_string(self.0.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = lines.len().saturating_sub(LAST_LINES);
            println!("a service said last:\n{}", lines[last..].join("\n"));
        }
    }
}

/// The child's side; nothing when the tests run as usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_that_is_killed() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Vec<&str> = told.split('|').collect();
    let [
        servers,
        orders,
        priced,
        extras,
        group,
        instance,
        session,
        transaction,
    ] = told[..]
    else {
        panic!("{told:?}")
    };
    let mut properties = vec![
        ("session.timeout.ms", session),
        ("transaction.timeout.ms", transaction),
    ];
    if !instance.is_empty() {
        properties.push(("transactional.id", instance));
    }
    let places = Places {
        orders: orders.into(),
        priced: priced.into(),
        extras: extras.into(),
        group: group.to_owned(),
    };
    say_to(LevelFilter::WARN);
    let running = start(binder(servers, &properties), &places).await;
    // It ends when whoever has started it does.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = ended.await;
    running.drain().await;
}

impl Child {
    /// Starts one. With an instance, its transactional id stays the same when it is started again.
    pub(crate) fn start(servers: &str, places: &Places, instance: Option<&str>, session: Session) -> Self {
        let told = Told {
            servers: servers.to_owned(),
            places: places.clone(),
            instance: instance.map(str::to_owned),
            session,
        };
        let log = Log(tempfile::NamedTempFile::new().unwrap());
        Self {
            process: spawn(&told, &log),
            told,
            log,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// SIGKILL, and another one in its place.
    pub(crate) fn die_and_begin_anew(&mut self) {
        self.kill();
        self.process = spawn(&self.told, &self.log);
    }

    /// SIGSTOP for so long that to the group it is dead.
    pub(crate) fn freeze(&self) {
        self.stop();
        std::thread::sleep(Session::SHORT + Duration::from_millis(1_500));
        self.go_on();
    }

    pub(crate) fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Lets it drain and end.
    pub(crate) fn end(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(told: &Told, log: &Log) -> std::process::Child {
    let [session, transaction] = told.session.millis();
    let told = [
        &told.servers,
        &*told.places.orders,
        &*told.places.priced,
        &*told.places.extras,
        &told.places.group,
        told.instance.as_deref().unwrap_or_default(),
        session,
        transaction,
    ];
    // Those that come after one that was killed go on in the same file.
    let log = File::options().append(true).open(log.0.path()).unwrap();
    let quiet = std::env::var_os("RUST_LOG").is_none();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::the_service_that_is_killed", "--nocapture"])
        .env(TOLD, told.join("|"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(if quiet { Stdio::from(log) } else { Stdio::inherit() })
        .spawn()
        .unwrap()
}
