//! The directory of a server that lives as long as this process.
//!
//! Its name tells the owner. A janitor, a shell that waits for the end of a pipe, removes it when the owner is killed;
//! [`sweep`] does the same for owners that took their janitor with them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::BrokersError;
use crate::identity::Identity;
use crate::{launch, place};

/// What a record of a process is called.
pub(crate) const RECORD: &str = "process";

/// The servers are being killed by the kernel at the same time, and may still write; hence more than one try.
const JANITOR: &str = r#"cat >/dev/null; n=0
until rm -rf -- "$1" 2>/dev/null || [ $n -ge 100 ]; do n=$((n+1)); sleep 0.1; done"#;

/// A directory that is removed when it is dropped, and when this process is killed.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    /// `None` when directories shall be kept.
    janitor: Option<Child>,
}

impl RunDirectory {
    /// Makes a new one, after those of the dead are gone.
    pub(crate) fn create(name: &str) -> Result<Self, BrokersError> {
        Self::create_in(&place::runs(), name)
    }

    /// The same in another place for such directories.
    pub(crate) fn create_in(runs: &Path, name: &str) -> Result<Self, BrokersError> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        sweep(runs);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = runs.join(format!("{}-{name}-{number}", Identity::own()?.word()));
        std::fs::create_dir_all(&path).map_err(BrokersError::file("create", &path))?;
        let janitor = match keeps() {
            true => None,
            false => Some(janitor(&path)?),
        };
        Ok(Self { path, janitor })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn keeps() -> bool {
    std::env::var_os("TIDINGS_BROKERS_KEEP").is_some_and(|value| !value.is_empty())
}

fn janitor(path: &Path) -> Result<Child, BrokersError> {
    let mut command = Command::new("sh");
    command.args(["-c", JANITOR, "brokers-janitor"]).arg(path);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.process_group(0).current_dir("/");
    launch::spawn(command)
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        let Some(mut janitor) = self.janitor.take() else {
            return;
        };
        // Errors leave a directory below `target`, which the next start removes.
        let _ = std::fs::remove_dir_all(&self.path);
        if let Some(mut pipe) = janitor.stdin.take() {
            let _ = pipe.flush();
        }
        let _ = janitor.wait();
    }
}

/// Ends the servers and removes the directories of processes that are gone.
pub(crate) fn sweep(runs: &Path) {
    let Ok(entries) = std::fs::read_dir(runs) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if owner_lives(&name.to_string_lossy()) == Some(false) && !keeps() {
            end_recorded(&entry.path());
            // Another process may be sweeping too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// `None` when the name is not one of ours.
fn owner_lives(name: &str) -> Option<bool> {
    let mut words = name.splitn(3, '-');
    let word = format!("{}-{}", words.next()?, words.next()?);
    Identity::lives_with_word(&word)
}

/// The processes that have a record in a directory, by the stem of the record's name.
pub(crate) fn recorded(directory: &Path) -> Vec<(String, Option<Identity>)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let records = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == RECORD));
    let mut found: Vec<_> = records
        .map(|path| {
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (stem, Identity::read(&path))
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

fn end_recorded(directory: &Path) {
    for identity in recorded(directory)
        .into_iter()
        .filter_map(|(_, identity)| identity)
    {
        identity.signal(Signal::KILL);
        identity.wait(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sleeper::Sleeper;

    #[test]
    fn the_sweep_ends_the_servers_of_the_dead_and_leaves_those_of_the_living() {
        let runs = tempfile::tempdir().unwrap();
        let mut dead = Command::new("true").spawn().unwrap();
        let dead_word =
            Identity::of(dead.id()).map_or_else(|| "4194303-1".to_owned(), |identity| identity.word());
        dead.wait().unwrap();
        let own = Identity::own().unwrap();
        let [orphaned, living, strange] = [
            format!("{dead_word}-kafka-1"),
            format!("{}-kafka-1", own.word()),
            "notes".into(),
        ]
        .map(|name| runs.path().join(name));
        for directory in [&orphaned, &living, &strange] {
            std::fs::create_dir(directory).unwrap();
        }
        let (left, kept) = (Sleeper::start(), Sleeper::start());
        let record = |sleeper: &Sleeper, directory: &Path| {
            let identity = Identity::of(sleeper.0.id()).unwrap();
            identity.write(&directory.join("node-1.process")).unwrap();
            identity
        };
        let (left_identity, kept_identity) = (record(&left, &orphaned), record(&kept, &living));
        sweep(runs.path());
        assert!(!left_identity.lives() && kept_identity.lives());
        assert!(!orphaned.exists() && living.exists() && strange.exists());
    }
}
