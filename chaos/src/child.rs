//! The process under attack: one incarnation of the service.

use crate::disk::{PointFiles, PowerFiles, Writeback};
use crate::error::ChaosError;
use crate::history::{Disk, Event, Fsync, History, Lifecycle, Settings};
use crate::plant::Plant;
use crate::points::{Point, Points};
use crate::seam::Seam;
use crate::service::{self, DRAIN, GRACE, Policies, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidings::embedded::{EmbeddedBroker, EmbeddedOptions, Location};
use tidings::{Clock, DynBinder, Running};
use tidings_log::{DiskFiles, Files};

/// What an incarnation is told to do: one argument of its command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The broker's directory, which must exist.
    pub directory: PathBuf,
    /// Where it writes what it does.
    pub history: PathBuf,
    /// Which incarnation it is.
    pub incarnation: u32,
    /// The seed of the campaign.
    pub seed: u64,
    /// What a kill takes away.
    pub disk: Disk,
    /// When an acknowledged message is on the disk.
    pub fsync: Fsync,
    /// About how many messages it publishes.
    pub messages: u64,
    /// How it ends.
    pub ending: Ending,
    /// Where it kills itself, and at which time it passes there.
    pub die: Option<(String, u64)>,
    /// The bug.
    pub plant: Option<String>,
}

/// How an incarnation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It works until it is killed.
    Work,
    /// It drains after that time.
    Stop {
        /// In milliseconds.
        after_ms: u64,
    },
    /// It drains when everything is finished. A service on the log reads the dead letters out of it then, one on a database
    /// waits until its outbox is empty.
    Settle {
        /// It gives up after that time, in milliseconds.
        patience_ms: u64,
    },
}

/// How often positions are looked at.
const LOOK: Duration = Duration::from_millis(12);
/// How often messages are brought to the disk under [`Fsync::Interval`].
const FSYNC_INTERVAL: Duration = Duration::from_millis(10);
/// What may be lost is younger than so many intervals: one that passes, one in which the sync waits behind another, and
/// some for tasks of one process that do not take turns fairly.
const WINDOW_BEATS: usize = 5;
/// What the buffers that are configured here may take, with room for the allocator: a few thousand small messages.
const RSS_BUDGET: u64 = 96 << 20;

/// Lives one life.
///
/// # Errors
/// What the service could not do, which is a finding of its own.
pub fn run(order: &Order) -> Result<(), ChaosError> {
    abort_on_panic();
    runtime()?.block_on(live(order))
}

/// A panic anywhere is a finding; without this a task would take it with it.
pub(crate) fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// What a process under attack runs on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, ChaosError> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let built = runtime.worker_threads(2).enable_all().build();
    built.map_err(ChaosError::service)
}

fn world(order: &Order) -> Result<World, ChaosError> {
    let history = Arc::new(History::open(&order.history, order.incarnation)?);
    history.write(Event::Lifecycle(Lifecycle::Started(settings(order))));
    let armed = match &order.die {
        Some((name, nth)) => Some((Point::named(name).ok_or_else(|| unknown("place", name))?, *nth)),
        None => None,
    };
    let plant = match &order.plant {
        Some(name) => Some(Plant::named(name).ok_or_else(|| unknown("plant", name))?),
        None => None,
    };
    let points = Points::new(armed, history.clone());
    points.arm_broker().map_err(ChaosError::service)?;
    Ok(World::new(history, points, plant))
}

fn unknown(what: &str, name: &str) -> ChaosError {
    ChaosError::Usage(format!("there is no {what} \"{name}\""))
}

fn settings(order: &Order) -> Settings {
    Settings {
        seed: order.seed,
        fsync: order.fsync,
        disk: order.disk,
        window_beats: WINDOW_BEATS,
        grace_ms: GRACE.as_millis() as u64,
        rss_budget: RSS_BUDGET,
        groups: service::groups(),
    }
}

/// Small segments and little retention, so that both are at work all the time.
fn options(order: &Order, world: &World) -> Result<EmbeddedOptions, ChaosError> {
    let fsync = match order.fsync {
        Fsync::Always if world.has(Plant::AckBeforeFsync) => {
            tidings::embedded::Fsync::Interval(Duration::from_secs(60))
        }
        Fsync::Always => tidings::embedded::Fsync::Always,
        Fsync::Interval => tidings::embedded::Fsync::Interval(FSYNC_INTERVAL),
    };
    let files = Arc::new(PointFiles::new(files(order)?, world.points.clone()));
    Ok(EmbeddedOptions::new(Location::Directory(order.directory.clone()))
        .fsync(fsync)
        .segment_bytes(8 << 10)
        .retention_bytes(Some(12 << 10))
        .retention_interval(Duration::from_millis(25))
        .files(files))
}

fn files(order: &Order) -> Result<Arc<dyn Files>, ChaosError> {
    let seed = order.seed ^ u64::from(order.incarnation) << 16;
    let writeback = match order.disk {
        Disk::Kept => return Ok(Arc::new(DiskFiles)),
        Disk::PowerLoss => Writeback::Never,
        Disk::Torn => Writeback::AtRandom { seed },
    };
    let directory: &Path = &order.directory;
    let loaded = PowerFiles::load(directory, writeback);
    Ok(Arc::new(loaded.map_err(ChaosError::io("read", directory))?))
}

async fn live(order: &Order) -> Result<(), ChaosError> {
    let world = world(order)?;
    let broker = EmbeddedBroker::open(options(order, &world)?).map_err(ChaosError::service)?;
    let bare: Arc<dyn DynBinder> = Arc::new(broker);
    // What is stored now must hold for what was done before.
    let mut known = BTreeSet::new();
    service::note_positions(&*bare, &service::groups(), &world.history, &mut known).await?;
    let seam = Seam::over(bare.clone(), world.clone());
    let policies = Policies::of(order.seed, order.incarnation, world.plant);
    let config = service::config().map_err(ChaosError::service)?;
    let started = service::service(world.clone(), policies)
        .start_on(config, seam, Clock::System)
        .await;
    let running = started.map_err(ChaosError::service)?;
    let rss = service::resident();
    world.history.write(Event::Lifecycle(Lifecycle::Ready { rss }));
    let work = work(order, &world, &*bare, &running);
    let looking = look(&world.history, &*bare, known);
    tokio::select! {
        worked = work => worked?,
        looked = looking => looked?,
        beaten = beat(order, &world.history) => beaten?,
    }
    stop(&world, &*bare, &running).await
}

async fn work(
    order: &Order,
    world: &World,
    bare: &dyn DynBinder,
    running: &Running,
) -> Result<(), ChaosError> {
    let publishing = service::publish(
        running.publisher().clone(),
        order.incarnation,
        order.seed,
        order.messages,
    );
    match order.ending {
        Ending::Work => {
            publishing.await?;
            std::future::pending().await
        }
        Ending::Stop { after_ms } => {
            let stopped = tokio::time::timeout(Duration::from_millis(after_ms), publishing).await;
            stopped.unwrap_or(Ok(()))
        }
        Ending::Settle { patience_ms } => {
            publishing.await?;
            let patience = Duration::from_millis(patience_ms);
            let groups = service::groups();
            service::settle(bare, &groups, &world.history, patience).await?;
            service::letters(bare, &groups, &world.history).await
        }
    }
}

/// Looks at stored positions and at memory, as long as the process lives.
async fn look(
    history: &History,
    bare: &dyn DynBinder,
    mut known: BTreeSet<(String, String, u32, u64)>,
) -> Result<(), ChaosError> {
    let groups = service::groups();
    loop {
        for _ in 0..4 {
            tokio::time::sleep(LOOK).await;
            service::note_positions(bare, &groups, history, &mut known).await?;
        }
        service::note_rss(history);
    }
}

/// Shows when the process could work, where the checker must know.
async fn beat(order: &Order, history: &Arc<History>) -> Result<(), ChaosError> {
    while settings(order).may_lose() {
        tokio::time::sleep(FSYNC_INTERVAL).await;
        let history = history.clone();
        let beat = move || history.write(Event::Lifecycle(Lifecycle::Beat));
        tokio::task::spawn_blocking(beat)
            .await
            .map_err(ChaosError::service)?;
    }
    std::future::pending().await
}

async fn stop(world: &World, bare: &dyn DynBinder, running: &Running) -> Result<(), ChaosError> {
    let history = &world.history;
    history.write(Event::Lifecycle(Lifecycle::Draining {
        deadline_ms: DRAIN.as_millis() as u64,
    }));
    let drained = running.drain().await;
    if world.has(Plant::IgnoreDeadline) {
        tokio::time::sleep(DRAIN + GRACE + DRAIN).await;
    }
    let mut problems = drained.problems;
    if let Err(error) = bare.close().await {
        problems.push(error.to_string());
    }
    history.write(Event::Lifecycle(Lifecycle::Drained {
        abandoned: drained.abandoned as u64,
        problems,
    }));
    history.write(Event::Lifecycle(Lifecycle::Ended));
    Ok(())
}
