//! Reading all of a broker's directory and saying what is wrong with it: [`verify_directory`].

use crate::directory::{self, Owner};
use crate::overlay::Overlay;
use crate::progress;
use crate::state_check;
use crate::topics::{self, CATALOG};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_core::{BinderError, Progress};
use tidings_log::{DiskFiles, Files, LogReport, Neighbour, Problem, Severity, verify};

/// How far a verification or a repair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyProgress {
    /// Bytes of segments that were read.
    pub bytes_done: u64,
    /// Bytes of all segments when it began.
    pub bytes_total: u64,
}

/// What was found in a broker's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryReport {
    /// The directory.
    pub root: PathBuf,
    /// The process that has it open, as its lock file says; none when nobody has.
    pub owner: Option<String>,
    /// Every destination that the catalog knows, also those that were not read.
    pub destinations: Vec<String>,
    /// Each partition of each destination that was read.
    pub partitions: Vec<PartitionReport>,
    /// The positions of groups, and the messages for later.
    pub state: StateReport,
    /// What is wrong with the directory itself and with the state. What is wrong with a partition is there.
    pub problems: Vec<Problem>,
}

/// What was found in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The destination.
    pub destination: String,
    /// Its number.
    pub partition: u32,
    /// Its log.
    pub log: LogReport,
}

/// What was found in `state.redb`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateReport {
    /// It was read.
    Read {
        /// How many positions of groups.
        positions: u64,
        /// How many messages for later.
        delayed: u64,
    },
    /// There is none: a broker that was never opened for writing.
    Missing,
    /// It can't be read, see the problems.
    Damaged,
    /// Only the owner can read it while it runs.
    InUse,
}

impl DirectoryReport {
    /// Everything that is wrong.
    pub fn all_problems(&self) -> impl Iterator<Item = &Problem> {
        let of_logs = self
            .partitions
            .iter()
            .flat_map(|partition| &partition.log.problems);
        self.problems.iter().chain(of_logs)
    }

    /// Whether nothing is lost, and nothing keeps the broker from being used.
    pub fn is_sound(&self) -> bool {
        let sound_logs = self.partitions.iter().all(|partition| partition.log.is_sound());
        sound_logs && self.problems.iter().all(|one| one.severity == Severity::Harmless)
    }
}

/// Reads every byte of a broker's directory: all segments and indexes, the catalog, the state. Nothing is written, and it
/// may have an owner, which is not disturbed; then what the owner keeps to itself is not looked at. Blocks for long.
///
/// # Errors
/// [`BinderError::Failed`] when the directory can't be read at all. Whatever is wrong with its files is in the report.
pub fn verify_directory(
    root: &Path,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<DirectoryReport, BinderError> {
    inspect(root, None, progress).map_err(failed(root))
}

/// The same for one destination: what else there is, only the catalog and the state are looked at. For a destination
/// that the catalog does not know the report has no partitions.
///
/// # Errors
/// As [`verify_directory`].
pub fn verify_destination(
    root: &Path,
    destination: &str,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<DirectoryReport, BinderError> {
    inspect(root, Some(destination), progress).map_err(failed(root))
}

fn failed(root: &Path) -> impl FnOnce(String) -> BinderError {
    let doing = format!("verify {}", root.display());
    move |reason| BinderError::Failed { doing, reason }
}

/// An owner who comes meanwhile is kept out only while the state is read.
fn inspect(
    root: &Path,
    only: Option<&str>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<DirectoryReport, String> {
    let is_wanted = |destination: &str| only.is_none_or(|only| only == destination);
    let owner = directory::owner(root);
    if !root.is_dir() {
        return Err("there is no such directory".to_owned());
    }
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let mut problems = Vec::new();
    check_format(root, &mut problems);
    let mut destinations = catalog(&*files, root, &mut problems)?;
    let known = destinations.keys().cloned().collect();
    destinations.retain(|name, _| is_wanted(name));
    // The state first: logs only grow, so a position that was stored is in them.
    let (state, positions) = match &owner {
        Owner::Process(_) => (StateReport::InUse, Vec::new()),
        Owner::Nobody(_) => read_state(root, &mut problems),
    };
    // From here on an owner may come.
    let pid = match owner {
        Owner::Process(pid) => Some(pid),
        Owner::Nobody(lock) => {
            drop(lock);
            None
        }
    };
    let neighbour = if pid.is_some() {
        Neighbour::Owner
    } else {
        Neighbour::None
    };
    let partitions = logs(&files, root, &destinations, neighbour, progress)?;
    for (destination, group, partition, found) in positions.iter().filter(|one| is_wanted(&one.0)) {
        let of = partitions
            .iter()
            .find(|one| &one.destination == destination && one.partition == *partition);
        let range = of.map(|one| (one.log.first_offset, one.log.next_offset));
        problems.extend(position(root, (destination, group, *partition), found, range));
    }
    Ok(DirectoryReport {
        root: root.to_owned(),
        owner: pid,
        destinations: known,
        partitions,
        state,
        problems,
    })
}

pub(crate) fn problem(file: PathBuf, severity: Severity, what: impl Into<String>, cure: &str) -> Problem {
    Problem {
        file,
        position: None,
        offset: None,
        severity,
        what: what.into(),
        cure: cure.to_owned(),
    }
}

fn check_format(root: &Path, problems: &mut Vec<Problem>) {
    let what = match directory::check(root) {
        Ok(true) => return,
        Ok(false) => {
            "the file is missing: it is no broker's directory, or a snapshot that was not finished".to_owned()
        }
        Err(reason) => reason,
    };
    let cure = "restore the file, or make the snapshot again";
    problems.push(problem(root.join("format"), Severity::Damage, what, cure));
}

/// The destinations by name, with their numbers of partitions.
pub(crate) fn catalog(
    files: &dyn Files,
    root: &Path,
    problems: &mut Vec<Problem>,
) -> Result<BTreeMap<String, u32>, String> {
    let folder = root.join(CATALOG);
    let listed = match files.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| format!("{}: {error}", folder.display()))?,
    };
    let mut destinations = BTreeMap::new();
    for entry in listed {
        let path = folder.join(&entry.name);
        if entry.name.ends_with('~') {
            let cure = "nothing needs to be done: it is ignored";
            problems.push(problem(
                path,
                Severity::Harmless,
                "a file that was never finished",
                cure,
            ));
            continue;
        }
        let text = topics::read_file(files, &path).unwrap_or_default();
        match topics::parse(&text) {
            Some((name, partitions)) if crate::names::directory(name) == entry.name => {
                destinations.insert(name.to_owned(), partitions);
            }
            _ => {
                let what = "the destination's file is damaged, of a newer version or under another's name";
                let cure = "stop the owner and run a repair, or restore the file";
                problems.push(problem(path, Severity::Damage, what, cure));
            }
        }
    }
    strays(root, &destinations, problems);
    Ok(destinations)
}

/// Directories of destinations that the catalog does not know.
fn strays(root: &Path, destinations: &BTreeMap<String, u32>, problems: &mut Vec<Problem>) {
    let known: BTreeSet<String> = destinations
        .keys()
        .map(|name| crate::names::directory(name))
        .collect();
    let topics = root.join("topics");
    let Ok(listed) = std::fs::read_dir(&topics) else {
        return;
    };
    for entry in listed.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let has_file = root.join(CATALOG).join(&name).exists();
        if !known.contains(&name) && !has_file {
            let what = "a destination's directory without its file in the catalog: it was never completely created, or the file is lost";
            let cure = "a repair makes the file if there are messages; otherwise nothing needs to be done";
            let severity = if has_messages(&entry.path()) {
                Severity::Damage
            } else {
                Severity::Harmless
            };
            problems.push(problem(entry.path(), severity, what, cure));
        }
    }
}

/// Whether a segment of any partition has more than its header.
pub(crate) fn has_messages(topic: &Path) -> bool {
    let partitions = std::fs::read_dir(topic).into_iter().flatten().flatten();
    partitions
        .flat_map(|partition| {
            std::fs::read_dir(partition.path())
                .into_iter()
                .flatten()
                .flatten()
        })
        .any(|file| {
            let is_segment = file
                .path()
                .extension()
                .is_some_and(|extension| extension == "log");
            is_segment && file.metadata().is_ok_and(|metadata| metadata.len() > 32)
        })
}

fn logs(
    files: &Arc<dyn Files>,
    root: &Path,
    destinations: &BTreeMap<String, u32>,
    neighbour: Neighbour,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<Vec<PartitionReport>, String> {
    let places: Vec<_> = destinations
        .iter()
        .flat_map(|(name, count)| (0..*count).map(move |index| (name, index)))
        .map(|(name, index)| {
            (
                name,
                index,
                crate::partition::directory(&topics::directory(root, name), index),
            )
        })
        .collect();
    let mut done = VerifyProgress {
        bytes_done: 0,
        bytes_total: places
            .iter()
            .map(|(_, _, dir)| segment_bytes(&**files, dir))
            .sum(),
    };
    let mut reports = Vec::with_capacity(places.len());
    for (name, index, dir) in &places {
        let verified = verify(files, dir, neighbour, &mut |bytes| {
            done.bytes_done += bytes;
            progress(done);
        });
        // What looks wrong may be what an owner does who has come meanwhile.
        let verified = match verified {
            Ok(report) if neighbour == Neighbour::None && !report.problems.is_empty() => {
                match directory::owner(root) {
                    Owner::Process(_) => verify(files, dir, Neighbour::Owner, &mut |_| {}),
                    Owner::Nobody(_) => Ok(report),
                }
            }
            verified => verified,
        };
        let log = verified.unwrap_or_else(|error| LogReport {
            dir: dir.clone(),
            problems: vec![problem(
                dir.clone(),
                Severity::Damage,
                error.to_string(),
                "stop the owner and run a repair, or restore the directory from a copy",
            )],
            ..LogReport::default()
        });
        reports.push(PartitionReport {
            destination: (*name).clone(),
            partition: *index,
            log,
        });
    }
    Ok(reports)
}

pub(crate) fn segment_bytes(files: &dyn Files, dir: &Path) -> u64 {
    let listed = files.list(dir).unwrap_or_default();
    let segments = listed.iter().filter(|entry| entry.name.ends_with(".log"));
    segments.map(|entry| entry.len).sum()
}

/// Reads the state without writing: what redb would put right is put right in memory only.
fn read_state(root: &Path, problems: &mut Vec<Problem>) -> (StateReport, Vec<crate::state::Stored>) {
    let path = root.join("state.redb");
    if !path.exists() {
        return (StateReport::Missing, Vec::new());
    }
    match Overlay::open(&path)
        .map_err(|error| error.to_string())
        .and_then(state_check::read)
    {
        Ok(read) => {
            for row in &read.unreadable {
                let what = format!("{} can't be read: it is damaged or of a newer version", row.what);
                problems.push(problem(
                    path.clone(),
                    Severity::Damage,
                    what,
                    "run a repair, which takes it out",
                ));
            }
            let report = StateReport::Read {
                positions: read.positions.len() as u64,
                delayed: read.delayed,
            };
            (report, read.positions)
        }
        Err(reason) => {
            let cure = "restore the file from a snapshot; a repair puts it aside, and with it every group's position and every message for later";
            problems.push(problem(path, Severity::Damage, reason, cure));
            (StateReport::Damaged, Vec::new())
        }
    }
}

/// Whether a group's position is within its partition.
fn position(
    root: &Path,
    (destination, group, partition): (&str, &str, u32),
    progress: &Progress,
    range: Option<(u64, u64)>,
) -> Option<Problem> {
    let file = root.join("state.redb");
    let of = format!("the position of the group \"{group}\" in {destination}/{partition}");
    let Some((first, end)) = range else {
        let cure = "nothing needs to be done";
        let what = format!("{of}: there is no such partition");
        return Some(problem(file, Severity::Harmless, what, cure));
    };
    let covered = progress::covered(progress);
    if covered > end {
        let what = format!("{of} speaks of messages up to {covered}, and the log ends at {end}");
        let cure = "run a repair, which makes the log go on behind it, or set the group's position";
        return Some(problem(file, Severity::Damage, what, cure));
    }
    (progress.watermark < first).then(|| {
        let what = format!(
            "{of} is {}, and the first message that is left is {first}",
            progress.watermark
        );
        problem(
            file,
            Severity::Harmless,
            what,
            "nothing needs to be done: the group goes on there",
        )
    })
}
