//! One server as a process: it can be started from its files any number of times, watched, harmed and ended.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::{BrokersError, head, tail};
use crate::identity::Identity;
use crate::launch::{self, CommandLine, Life};
use crate::run_directory::RECORD;

/// How often a server that shall become ready is asked.
const LOOK: Duration = Duration::from_millis(50);

/// A process of a server, running or not.
#[derive(Debug)]
pub(crate) struct Process {
    /// Which node of its server it is, for messages.
    number: u32,
    name: String,
    command: CommandLine,
    log: PathBuf,
    record: PathBuf,
    /// How long the log was when it was started last.
    log_before: AtomicU64,
    /// The running process, when it was started by this one. It is not asked for its end before that is wanted, so its
    /// id cannot be given to somebody else meanwhile.
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Node `number` of a server; log and record are called `node-NUMBER` in its directory.
    pub(crate) fn node(server: &str, number: u32, directory: &Path, command: CommandLine) -> Self {
        let (name, stem) = (format!("{server}, node {number}"), format!("node-{number}"));
        Self::new(name, number, &directory.join(stem), command)
    }

    /// What the nodes of a server need beside them; log and record bear its name.
    pub(crate) fn beside_nodes(server: &str, name: &str, directory: &Path, command: CommandLine) -> Self {
        Self::new(format!("{server}, {name}"), 0, &directory.join(name), command)
    }

    fn new(name: String, number: u32, stem: &Path, command: CommandLine) -> Self {
        Self {
            number,
            name,
            command,
            log: stem.with_extension("log"),
            record: stem.with_extension(RECORD),
            log_before: AtomicU64::new(0),
            child: Mutex::new(None),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it unless it runs; [`wait_ready`](Self::wait_ready) tells when it can be used.
    pub(crate) fn launch(&self, life: Life) -> Result<(), BrokersError> {
        let mut child = self.child();
        if child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        {
            return Ok(());
        }
        let length = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        self.log_before.store(length, Ordering::Relaxed);
        *child = Some(launch::server(life, &self.command, &self.log, &self.record)?);
        Ok(())
    }

    /// Asks until the answer is good. A process that ends is noticed at once; the last bad answer is told at the end of
    /// the patience.
    pub(crate) fn wait_ready(
        &self,
        patience: Duration,
        is_ready: impl Fn() -> Result<(), String>,
    ) -> Result<(), BrokersError> {
        let started = Instant::now();
        loop {
            let ended = match self.child().as_mut() {
                Some(child) => child
                    .try_wait()
                    .map_err(BrokersError::io("look at", self.name.clone()))?,
                None => return Err(BrokersError::NodeStopped { node: self.number }),
            };
            if let Some(status) = ended {
                return Err(BrokersError::Ended {
                    server: self.name.clone(),
                    status: status.to_string(),
                    log: self.log.clone(),
                    end: self.last_words(),
                });
            }
            let Err(last) = is_ready() else {
                return Ok(());
            };
            if started.elapsed() >= patience {
                return Err(BrokersError::NotReady {
                    server: self.name.clone(),
                    after: patience,
                    last,
                    log: self.log.clone(),
                    end: self.last_words(),
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(crate) fn log_end(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&bytes))
    }

    /// What it printed since its last start, where that is most telling.
    fn last_words(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let before = usize::try_from(self.log_before.load(Ordering::Relaxed)).unwrap_or_default();
        telling(&String::from_utf8_lossy(bytes.get(before..).unwrap_or_default()))
    }

    /// The process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), BrokersError> {
        let stopped = BrokersError::NodeStopped { node: self.number };
        let identity = self.pid().and_then(Identity::of).ok_or(stopped)?;
        identity.signal(signal);
        Ok(())
    }

    /// Waits for the end of a process that was told to go; kills it when it does not.
    fn reap(&self, patience: Duration) -> Result<(), BrokersError> {
        let Some(mut child) = self.child().take() else {
            return Ok(());
        };
        let ended = crate::programs::wait(&mut child, patience);
        // Nobody runs under this record any more; without it the status would have to guess.
        let _ = std::fs::remove_file(&self.record);
        ended
            .map(drop)
            .map_err(BrokersError::io("end", self.name.clone()))
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&self) -> Result<(), BrokersError> {
        let mut child = self.child();
        if let Some(mut child) = child.take() {
            let killed = child.kill().and_then(|()| child.wait());
            let _ = std::fs::remove_file(&self.record);
            killed.map_err(BrokersError::io("kill", self.name.clone()))?;
        }
        Ok(())
    }

    /// Lets go of a process that shall outlive this one.
    pub(crate) fn release(&self) {
        drop(self.child().take());
    }
}

/// A signal to all at once, since the last ones of a quorum would otherwise wait for those that are gone; KILL for those
/// that take longer than the patience.
pub(crate) fn stop_all(
    processes: &[&Process],
    signal: Signal,
    patience: Duration,
) -> Result<(), BrokersError> {
    for process in processes {
        match process.signal(signal) {
            Ok(()) | Err(BrokersError::NodeStopped { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    in_parallel(processes, |process| process.reap(patience))
}

/// The same for every node at the same time; the first error counts.
pub(crate) fn in_parallel<T: Sync>(
    nodes: &[T],
    work: impl Fn(&T) -> Result<(), BrokersError> + Sync,
) -> Result<(), BrokersError> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = nodes.iter().map(|node| scope.spawn(move || work(node))).collect();
        // All are waited for, whatever the first one says.
        let results: Vec<_> = running.into_iter().map(|thread| thread.join()).collect();
        results.into_iter().try_for_each(|result| match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Erlang reports its first error by a hundred lines of what followed from it; others say it last.
fn telling(log: &str) -> String {
    const ERROR: &str = " [error] ";
    match log.find(ERROR) {
        Some(place) => {
            let line = log[..place].rfind('\n').map_or(0, |end| end + 1);
            head(&log[line..])
        }
        None => tail(log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_erlang_is_shown_and_the_last_lines_of_others() {
        let noise = "noise\n".repeat(100);
        let erlang = format!("{noise}10:00 [error] <0.1.0> no such key\n{noise}");
        assert!(telling(&erlang).starts_with("  10:00 [error] <0.1.0> no such key\n  noise"));
        let java = format!("10:00 ERROR unlucky\n{noise}the end\n");
        let said = telling(&java);
        assert!(said.ends_with("the end") && !said.contains("unlucky"), "{said}");
    }
}
