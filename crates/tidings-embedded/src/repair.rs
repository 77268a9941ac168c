//! Making a damaged directory usable again, for an operator: [`repair_directory`].

mod report;
mod state;

pub use report::{PartitionRepair, RepairMode, RepairReport};

use crate::directory::{self, DirectoryLock, Owner};
use crate::topics::{self, CATALOG};
use crate::verify::{self, VerifyProgress, problem};
use crate::{names, partition};
use state::StateRepair;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidings_core::BinderError;
use tidings_log::{DiskFiles, Files, RepairPlan, RepairRequest, Severity, plan_repair};

/// The folder in the directory into which files are put that a repair changes. Nothing else is ever done with it.
const ASIDE: &str = "damaged";

/// Says what it takes to make a damaged directory usable, or does it. Nobody may have it open. Blocks for long.
///
/// Every record that can be read is kept at its offset, every file that is changed is put aside whole, into the folder
/// `damaged`, with a report of what was done. Where records are gone the log says so: whoever reads is told, and a group's
/// position passes the gap like messages that it has finished. No offset is given a second time that a group's position
/// speaks of.
///
/// # Errors
/// [`BinderError::Failed`]: somebody has the directory open, a newer version wrote it, the disk refuses. What was done
/// until then stays, and a second repair goes on.
pub fn repair_directory(
    root: &Path,
    mode: RepairMode,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<RepairReport, BinderError> {
    repair(root, mode, progress).map_err(|reason| BinderError::Failed {
        doing: format!("repair {}", root.display()),
        reason,
    })
}

fn repair(
    root: &Path,
    mode: RepairMode,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<RepairReport, String> {
    if !root.is_dir() {
        return Err("there is no such directory".to_owned());
    }
    let _hold = Hold::take(root, mode)?;
    let files: Arc<dyn Files> = Arc::new(DiskFiles);
    let mut report = RepairReport::new(root, mode);
    let format = Format::look(root, &mut report)?;
    let catalog = Catalog::look(&*files, root, &mut report)?;
    let state = StateRepair::look(root, &mut report)?;
    let plans = logs(&files, root, (&catalog, &state), &mut report, progress)?;
    let clipped = state.beyond_belief(&report);
    for (_, _, _, end) in &clipped {
        report.note(format!("set a position that can't be to the end {end}"));
    }
    if mode == RepairMode::DryRun || report.is_empty() {
        return Ok(report);
    }
    catalog.apply(&*files, root)?;
    for plan in &plans {
        report
            .aside
            .extend(plan.apply().map_err(|error| error.to_string())?);
    }
    state.apply(root, &clipped, &mut report)?;
    if format == Format::Broken {
        let path = root.join("format");
        if path.exists() {
            report.aside.push(put_aside(root, &path)?);
        }
        directory::write_format(root)?;
    }
    report.write()?;
    Ok(report)
}

/// Keeps owners out until it is dropped.
#[expect(dead_code, reason = "dropping it lets go")]
enum Hold {
    /// Nobody else looks either.
    Alone(DirectoryLock),
    /// Not even the lock file is changed.
    Looking(Owner),
}

impl Hold {
    fn take(root: &Path, mode: RepairMode) -> Result<Self, String> {
        if mode == RepairMode::Apply {
            return DirectoryLock::take(root).map(Self::Alone);
        }
        match directory::owner(root) {
            Owner::Process(pid) => Err(format!(
                "the process {pid} owns it: stop that process, or verify the directory beside it"
            )),
            nobody @ Owner::Nobody(_) => Ok(Self::Looking(nobody)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Format {
    Right,
    Broken,
}

impl Format {
    fn look(root: &Path, report: &mut RepairReport) -> Result<Self, String> {
        match directory::check(root) {
            Ok(true) => Ok(Self::Right),
            Err(reason) if directory::is_newer(root) => Err(reason),
            Ok(false) | Err(_) if root.join("state.redb").exists() => {
                report.note("write the file `format` again".to_owned());
                Ok(Self::Broken)
            }
            Ok(false) => Err("it is no broker's directory, or a snapshot that was not finished".to_owned()),
            Err(reason) => Err(reason),
        }
    }
}

/// The destinations, and those whose files are to be made again.
struct Catalog {
    destinations: BTreeMap<String, u32>,
    lost: Vec<(String, u32)>,
    broken: Vec<PathBuf>,
}

impl Catalog {
    fn look(files: &dyn Files, root: &Path, report: &mut RepairReport) -> Result<Self, String> {
        let mut problems = Vec::new();
        let mut catalog = Self {
            destinations: verify::catalog(files, root, &mut problems)?,
            lost: Vec::new(),
            broken: Vec::new(),
        };
        if let Some(newer) = problems.iter().find(|one| topics::is_newer(files, &one.file)) {
            return Err(format!(
                "{} is of a newer version: use the version of the program that wrote it, or a newer one",
                newer.file.display()
            ));
        }
        for one in problems
            .into_iter()
            .filter(|one| one.severity == Severity::Damage)
        {
            let directory = one
                .file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let own = root.join("topics").join(&directory);
            if one.file.starts_with(root.join(CATALOG)) {
                report.note(format!("put {} aside", one.file.display()));
                catalog.broken.push(one.file.clone());
            }
            match names::of_directory(&directory).zip(partitions(&own)) {
                Some((name, count)) => {
                    report.note(format!(
                        "write the file of the destination \"{name}\" again, with {count} partitions"
                    ));
                    catalog.destinations.insert(name.clone(), count);
                    catalog.lost.push((name, count));
                }
                None => report.problems.push(problem(
                    one.file,
                    Severity::Damage,
                    "nobody knows which destination this was",
                    "its messages stay where they are: restore the file in the catalog",
                )),
            }
        }
        Ok(catalog)
    }

    fn apply(&self, files: &dyn Files, root: &Path) -> Result<(), String> {
        for path in &self.broken {
            put_aside(root, path)?;
        }
        for (name, count) in &self.lost {
            topics::create_files(files, root, name, *count)?;
        }
        Ok(())
    }
}

/// How many partitions a destination's directory has.
fn partitions(topic: &Path) -> Option<u32> {
    let listed = fs::read_dir(topic).ok()?.flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let count = numbers.max()?.checked_add(1)?;
    (count <= topics::MAX_PARTITIONS).then_some(count)
}

fn logs(
    files: &Arc<dyn Files>,
    root: &Path,
    (catalog, state): (&Catalog, &StateRepair),
    report: &mut RepairReport,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<Vec<RepairPlan>, String> {
    let mut plans = Vec::new();
    let places: Vec<_> = catalog
        .destinations
        .iter()
        .flat_map(|(name, count)| (0..*count).map(move |index| (name, index)))
        .collect();
    let dir_of = |name: &str, index| partition::directory(&topics::directory(root, name), index);
    let mut done = VerifyProgress {
        bytes_done: 0,
        bytes_total: places
            .iter()
            .map(|(name, index)| verify::segment_bytes(&**files, &dir_of(name, *index)))
            .sum(),
    };
    for (name, index) in places {
        let dir = dir_of(name, index);
        let request = RepairRequest {
            files,
            dir,
            aside: root
                .join(ASIDE)
                .join(names::directory(name))
                .join(index.to_string()),
            floor: state.floor(name, index),
        };
        let plan = plan_repair(&request, &mut |bytes| {
            done.bytes_done += bytes;
            progress(done);
        });
        let plan = plan.map_err(|error| error.to_string())?;
        report.partitions.push(PartitionRepair {
            destination: name.clone(),
            partition: index,
            steps: plan.steps().to_vec(),
            losses: plan.losses().to_vec(),
            records: plan.records(),
            next_offset: plan.next_offset(),
        });
        plans.push(plan);
    }
    Ok(plans)
}

/// Moves a file into the folder, under a name that nothing has.
fn put_aside(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let folder = root.join(ASIDE);
    directory::create(&folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 1_u32;
    let target = loop {
        let target = folder.join(format!("{name}.{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    let moved = fs::rename(path, &target);
    moved.map_err(|error| format!("{}: {error}", path.display()))?;
    let parent = path.parent().unwrap_or(root);
    for dir in [folder.as_path(), parent] {
        let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    Ok(target)
}
