//! Where a run takes place: the machine, the disk, the directories.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::error::BenchError;

/// Where the results go: `target/bench` of the workspace.
pub(crate) fn results_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the manifest directory of bench lies in the root of the workspace")
        .join("target/bench")
}

/// A directory for logs, on the disk of the workspace: the system's directory for temporary files is often in memory,
/// and what is written there costs no fsync. Removed at the end.
pub(crate) fn scratch() -> Result<TempDir, BenchError> {
    let directory = results_directory();
    std::fs::create_dir_all(&directory).map_err(BenchError::file(&directory))?;
    tempfile::Builder::new()
        .prefix("scratch-")
        .tempdir_in(&directory)
        .map_err(BenchError::file(&directory))
}

/// What a reader must know of the machine to judge the figures.
pub(crate) fn describe(scratch: &Path) -> Vec<(String, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    [
        ("processor", processor()),
        ("cores", cores.to_string()),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("disk", disk_of(scratch)),
        ("compiler", compiler()),
        ("load before", load()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Resident memory of a process in megabytes: `VmRSS` is now, `VmHWM` the peak.
pub(crate) fn resident_megabytes(process: u32, field: &str) -> Result<f64, BenchError> {
    let path = PathBuf::from(format!("/proc/{process}/status"));
    let status = std::fs::read_to_string(&path).map_err(BenchError::file(&path))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kilobytes| kilobytes / 1024.0)
        .ok_or_else(|| BenchError::Part {
            part: "memory",
            reason: format!("{} has no {field}", path.display()),
        })
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned())
}

/// How busy the machine is: the mean number of runnable tasks over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = first_line("/proc/loadavg");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// The file system of a path, by the longest mount point above it.
fn disk_of(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mount_of(&mounts, path).unwrap_or_else(|| "unknown".into())
}

fn mount_of(mounts: &str, path: &Path) -> Option<String> {
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let (device, _, kind) = fields
        .filter(|(_, point, _)| path.starts_with(point))
        .max_by_key(|(_, point, _)| point.len())?;
    Some(format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_above_a_path_is_its_disk() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpfoo xfs rw 0 0\n";
        for (path, expected) in [
            ("/home/x", "ext4 on /dev/a"),
            ("/tmp/x", "tmpfs on tmpfs"),
            ("/tmpfoo", "xfs on /dev/b"),
        ] {
            assert_eq!(mount_of(mounts, Path::new(path)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn this_process_has_resident_memory_and_no_field_of_another_name() {
        let own = std::process::id();
        assert!(resident_megabytes(own, "VmRSS").unwrap() > 0.1);
        assert!(resident_megabytes(own, "VmNone").is_err());
    }
}
