//! A process that is recognised again: its id, when it started, and since which boot.
//!
//! Ids are given out anew. A record of a server that is gone may name a process of somebody else, so nothing is
//! signalled before its start time was compared.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::BrokersError;

/// How often a process that should end is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The same for one that should stand still, and for how long.
const LOOK_AT_STILL: Duration = Duration::from_millis(1);
const STILL_PATIENCE: Duration = Duration::from_secs(10);

/// A process as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// In clock ticks since the boot.
    started: u64,
    boot: String,
}

impl Identity {
    /// The process with that id, if it lives.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        // A zombie has ended; it only waits for its parent to ask how.
        (!matches!(state, 'Z' | 'X')).then(|| Self {
            pid,
            started,
            boot: boot.trim().to_owned(),
        })
    }

    /// This process.
    pub(crate) fn own() -> Result<Self, BrokersError> {
        Self::of(std::process::id()).ok_or_else(|| BrokersError::Io {
            doing: "read",
            what: "/proc/self/stat".into(),
            source: std::io::Error::other(
                "servers are started on Linux only; elsewhere set TIDINGS_TEST_KAFKA, TIDINGS_TEST_RABBITMQ and TIDINGS_TEST_POSTGRES",
            ),
        })
    }

    /// One word that is no other process's, for names of directories.
    pub(crate) fn word(&self) -> String {
        format!("{}-{}", self.pid, self.started)
    }

    /// Whether a process of that word lives.
    pub(crate) fn lives_with_word(word: &str) -> Option<bool> {
        let (pid, started) = word.split_once('-')?;
        let (pid, started): (u32, u64) = (pid.parse().ok()?, started.parse().ok()?);
        Some(Self::of(pid).is_some_and(|found| found.started == started))
    }

    pub(crate) fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Writes the record that [`read`](Self::read) reads.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BrokersError> {
        let text = format!("{} {} {}\n", self.pid, self.started, self.boot);
        let whole = path.with_extension("new");
        std::fs::write(&whole, text).map_err(BrokersError::file("write", &whole))?;
        std::fs::rename(&whole, path).map_err(BrokersError::file("write", path))
    }

    /// The process of a record; `None` when there is no record or none that can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(path).ok()?)
    }

    fn parse(record: &str) -> Option<Self> {
        let mut words = record.split_whitespace();
        Some(Self {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        })
    }

    /// Sends a signal, unless the process has ended. After SIGSTOP all its threads stand still.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.lives()) {
            // It may end at this very moment, which is what a signal is for.
            let _ = kill_process(pid, signal);
        }
        if signal == Signal::STOP {
            self.wait_for_stillness();
        }
    }

    /// Threads stop when they next run or are interrupted, which takes a while on a busy machine. One that waits for a disk
    /// that does not answer is not waited for without end.
    fn wait_for_stillness(&self) {
        let deadline = Instant::now() + STILL_PATIENCE;
        while self.lives() && self.moves() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AT_STILL);
        }
    }

    /// Whether any of its threads may do something.
    fn moves(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        let mut threads = threads.into_iter().flatten().flatten();
        threads.any(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            parse_stat(&stat).is_some_and(|(state, _)| !matches!(state, 'T' | 't' | 'Z' | 'X'))
        })
    }

    /// Waits until it has ended; false when it still lives at the deadline.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.lives() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

/// The living children of a process.
pub(crate) fn children(pid: u32) -> Vec<Identity> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|child| parent_of(*child) == Some(pid));
    children.filter_map(Identity::of).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// State and start time. The name of the program stands in parentheses and may contain any of them.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is the third field, the start time the twenty-second.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_move_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["java", "a) Z 1", "(x y)"] {
            assert_eq!(
                parse_stat(&format!("77 ({name}) {rest}")),
                Some(('S', 4711)),
                "{name}"
            );
        }
        assert_eq!(parse_stat("77 (java) S 1 2"), None);
    }

    #[test]
    fn a_record_of_an_id_that_was_given_out_again_is_recognised_and_not_signalled() {
        let mut sleeper = crate::sleeper::Sleeper::start();
        let now = Identity::of(sleeper.0.id()).unwrap();
        for stale in [
            Identity {
                started: now.started - 1,
                ..now.clone()
            },
            Identity {
                boot: "an earlier boot".into(),
                ..now.clone()
            },
        ] {
            assert!(!stale.lives());
            stale.signal(Signal::KILL);
            assert!(stale.wait(Duration::ZERO));
        }
        assert!(now.lives() && now.moves());
        now.signal(Signal::STOP);
        assert!(now.lives() && !now.moves());
        now.signal(Signal::KILL);
        sleeper.0.wait().unwrap();
        assert!(!now.lives());
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_torn_one_names_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node-1.process");
        let own = Identity::own().unwrap();
        own.write(&path).unwrap();
        assert_eq!(Identity::read(&path), Some(own.clone()));
        assert_eq!(Identity::lives_with_word(&own.word()), Some(true));
        std::fs::write(&path, "4711").unwrap();
        assert_eq!(Identity::read(&path), None);
    }
}
