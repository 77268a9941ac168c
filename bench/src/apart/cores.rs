//! Which core runs what: the broker the first, clients the second, so that neither takes the other's time.

use std::path::PathBuf;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::BenchError;

/// The cores that this process was allowed when it was first asked for.
fn allowed() -> Result<Vec<usize>, BenchError> {
    let set =
        sched_getaffinity(None).map_err(|error| BenchError::system("asking for cores")(error.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Starts a process on the core of the clients. Threads and processes take over the cores of whoever starts them.
pub(crate) fn on_the_clients<T>(start: impl FnOnce() -> T) -> Result<T, BenchError> {
    on(1, start)
}

/// Starts a process on the core of the broker.
pub(crate) fn on_the_brokers<T>(start: impl FnOnce() -> T) -> Result<T, BenchError> {
    on(0, start)
}

fn on<T>(place: usize, start: impl FnOnce() -> T) -> Result<T, BenchError> {
    let failed = |error: rustix::io::Errno| BenchError::system("choosing a core")(error.into());
    let before = sched_getaffinity(None).map_err(failed)?;
    let allowed = allowed()?;
    if let (2.., Some(core)) = (allowed.len(), allowed.get(place)) {
        sched_setaffinity(None, &only(*core)).map_err(failed)?;
    }
    let started = start();
    sched_setaffinity(None, &before).map_err(failed)?;
    Ok(started)
}

/// Puts every thread of a process on the core of the broker. Those that it starts later follow.
pub(crate) fn to_the_brokers(process: u32) -> Result<(), BenchError> {
    let [first, _, ..] = allowed()?[..] else {
        return Ok(());
    };
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    // Twice: a thread that was started during the first round by one that had not moved yet.
    for _ in 0..2 {
        for task in std::fs::read_dir(&tasks).map_err(BenchError::file(&tasks))? {
            let name = task.map_err(BenchError::file(&tasks))?.file_name();
            let thread = name
                .to_str()
                .and_then(|name| name.parse().ok())
                .and_then(Pid::from_raw);
            // One that has ended meanwhile needs no core.
            let _ = thread.map(|thread| sched_setaffinity(Some(thread), &only(first)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_started_on_one_core_and_this_thread_keeps_its_own() {
        let before = allowed().unwrap();
        let inside = on_the_clients(allowed).unwrap().unwrap();
        assert!(inside.len() == 1 || before.len() == 1, "{inside:?}");
        assert_eq!(allowed().unwrap(), before);
    }
}
