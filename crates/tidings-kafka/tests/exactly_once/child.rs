//! The service in a process of its own, which may be killed and frozen: [`Child`].

use crate::service::{Places, start};
use crate::support::{binder, say};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the child is told. Only set for the child.
const TOLD: &str = "TIDINGS_TEST_ONCE";

/// A service that runs. Killed at the latest when this is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    told: (String, Places, Option<String>),
}

/// The child's side; nothing when the tests run as usual.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_that_is_killed() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Vec<&str> = told.split('|').collect();
    let [servers, orders, priced, extras, group, instance] = told[..] else {
        panic!("{told:?}")
    };
    let mut properties = vec![
        ("session.timeout.ms", "2000"),
        ("transaction.timeout.ms", "10000"),
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
    say();
    let running = start(binder(servers, &properties), &places).await;
    // It ends when whoever has started it does.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = ended.await;
    running.drain().await;
}

impl Child {
    /// Starts one. With an instance, its transactional id stays the same when it is started again.
    pub(crate) fn start(servers: &str, places: &Places, instance: Option<&str>) -> Self {
        let told = (servers.to_owned(), places.clone(), instance.map(str::to_owned));
        Self {
            process: spawn(&told),
            told,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// SIGKILL, and another one in its place.
    pub(crate) fn die_and_begin_anew(&mut self) {
        self.kill();
        self.process = spawn(&self.told);
    }

    /// SIGSTOP for so long: to the group it is dead.
    pub(crate) fn freeze(&self, time: Duration) {
        self.stop();
        std::thread::sleep(time);
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
    pub(crate) fn end(mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn((servers, places, instance): &(String, Places, Option<String>)) -> std::process::Child {
    let told = [
        servers,
        &*places.orders,
        &*places.priced,
        &*places.extras,
        &places.group,
        instance.as_deref().unwrap_or_default(),
    ];
    let quiet = std::env::var_os("RUST_LOG").is_none();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::the_service_that_is_killed", "--nocapture"])
        .env(TOLD, told.join("|"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(if quiet { Stdio::null() } else { Stdio::inherit() })
        .spawn()
        .unwrap()
}
