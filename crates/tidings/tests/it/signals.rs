//! SIGTERM drains, a second one ends the process at once. The service runs in a process of its own: this test binary,
//! started again with the name of the one test that is the service.

use crate::events::placed;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tidings::Error;
use tidings::prelude::*;

/// How long the child's handler works, in milliseconds. Only set for the child.
const WORK: &str = "TIDINGS_TEST_WORK_MS";
/// How long the child's drain may take; ten minutes without it.
const DRAIN: &str = "TIDINGS_TEST_DRAIN";

/// The child's side; nothing when the tests run as usual.
#[tokio::test]
async fn the_service_that_is_signalled() -> Result<(), Error> {
    let Some(work) = std::env::var(WORK).ok().and_then(|work| work.parse().ok()) else {
        return Ok(());
    };
    let say = |word: &str| writeln!(std::io::stdout().lock(), "\n{word}").expect("the parent reads");
    let handle = move |_: Raw| async move {
        say("working");
        tokio::time::sleep(millis(work)).await;
        say("finished");
    };
    let once = std::sync::atomic::AtomicBool::new(false);
    let once = std::sync::Arc::new(once);
    let publish = move || {
        let first = !once.swap(true, std::sync::atomic::Ordering::SeqCst);
        async move { first.then(|| placed("1")) }
    };
    let app: App = App::new("shop")
        .add(on("orders", handle).group("slow"))
        .add(every(secs(60), publish).to("orders"));
    let drain = std::env::var(DRAIN).unwrap_or_else(|_| "10m".to_owned());
    let toml = format!("[binder.main]\nurl = \"memory:\"\n[app]\ndrain_timeout = \"{drain}\"");
    app.run(Config::from_toml(&toml, "tidings.toml")?).await?;
    say("drained");
    Ok(())
}

/// Set for the child whose handler blocks the only thread that its runtime has.
const BLOCK: &str = "TIDINGS_TEST_BLOCK";

/// The child's side; nothing when the tests run as usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_service_that_blocks_its_runtime() -> Result<(), Error> {
    if std::env::var_os(BLOCK).is_none() {
        return Ok(());
    }
    let handle = |_: Raw| async {
        writeln!(std::io::stdout().lock(), "\nworking").expect("the parent reads");
        std::thread::sleep(secs(600));
    };
    let app: App = App::new("shop")
        .add(on("orders", handle).group("stuck"))
        .add(every(secs(60), || async { placed("1") }).to("orders"));
    app.run(Config::from_toml(
        "[binder.main]\nurl = \"memory:\"",
        "tidings.toml",
    )?)
    .await
}

/// Kills the child if a test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Service {
    /// A service whose handler works that long, once it has begun to.
    fn working(work_ms: u64) -> (Self, impl Iterator<Item = String>) {
        let work = work_ms.to_string();
        Self::start("signals::the_service_that_is_signalled", &[(WORK, &work)])
    }

    fn start(test: &str, variables: &[(&str, &str)]) -> (Self, impl Iterator<Item = String> + use<>) {
        let program = std::env::current_exe().expect("this test runs");
        let mut child = Command::new(program)
            .args([test, "--exact", "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "working"), "the handler never began");
        (Self(child), lines)
    }

    /// Sends signals until the process ends: two that come together are one.
    fn terminate_until_it_ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.terminate();
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .stderr(Stdio::null())
            .status();
        sent.expect("there is a program called kill");
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("it is our child")
    }
}

#[test]
fn sigterm_finishes_what_runs_and_exits_with_success() {
    let (mut service, lines) = Service::working(500);
    service.terminate();
    let said: Vec<_> = lines
        .filter(|line| line == "finished" || line == "drained")
        .collect();
    assert_eq!(said, ["finished", "drained"]);
    assert!(service.0.wait().expect("it is our child").success());
}

#[test]
fn a_second_sigterm_ends_the_process_at_once() {
    let (mut service, _lines) = Service::working(600_000);
    assert_eq!(service.terminate_until_it_ends().code(), Some(143));
}

#[test]
fn a_second_sigterm_ends_a_process_whose_handlers_block_every_thread() {
    let (mut service, _lines) =
        Service::start("signals::the_service_that_blocks_its_runtime", &[(BLOCK, "1")]);
    assert_eq!(service.terminate_until_it_ends().code(), Some(143));
}

#[test]
fn a_drain_that_gave_work_up_ends_with_a_failure_that_names_it() {
    let variables = [(WORK, "600000"), (DRAIN, "100ms")];
    let (mut service, lines) = Service::start("signals::the_service_that_is_signalled", &variables);
    service.terminate();
    assert!(
        lines
            .filter(|line| line == "finished" || line == "drained")
            .count()
            == 0
    );
    let mut said = String::new();
    let mut stderr = service.0.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut said).expect("it is text");
    assert!(!service.0.wait().expect("it is our child").success());
    assert!(said.contains("subscription slow gave up 1 message"), "{said}");
}
