//! Named places at which a process is killed: [`Point`], [`Points`].

use crate::history::{Disk, Event, Fault, History};
use rustix::process::{Signal, getpid, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something with a name in histories and on the command line.
pub trait Named: Copy + Eq {
    /// That name.
    fn name(self) -> &'static str;
}

/// Declares places: each with its name, and how often it is passed within a short life at least.
macro_rules! points {
    ($(#[$of:meta])* $points:ident: $($(#[$doc:meta])* $point:ident = $name:literal, within $most:literal;)*) => {
        $(#[$of])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $points {
            $($(#[$doc])* $point,)*
        }

        impl $points {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point),*];

            /// Its name in histories and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }

            /// It is passed at least so often within a short life.
            pub fn often(self) -> u64 {
                match self {
                    $(Self::$point => $most,)*
                }
            }

            /// The place of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|point| point.name() == name)
            }
        }

        impl $crate::points::Named for $points {
            fn name(self) -> &'static str {
                Self::name(self)
            }
        }
    };
}
pub(crate) use points;

points! {
    /// A place at which a process can be killed.
    Point:
    /// In a handler, before it does anything.
    HandleBefore = "handle-before", within 60;
    /// In a handler that has done everything, before the engine knows.
    HandleAfter = "handle-after", within 60;
    /// Before a message is given to the broker.
    PublishBefore = "publish-before", within 40;
    /// After the broker acknowledged a message, before the publisher knows.
    PublishAfter = "publish-after", within 40;
    /// Before progress is stored, after everything that it stands for was synced.
    StoreBefore = "store-before", within 4;
    /// After progress was stored.
    StoreAfter = "store-after", within 4;
    /// Before progress is reported to the source.
    ReportBefore = "report-before", within 20;
    /// In the middle of a write to the small state.
    StateWriteTorn = "state-write-torn", within 12;
    /// Before a sync of the small state.
    StateFsyncBefore = "state-fsync-before", within 3;
    /// After a sync of the small state.
    StateFsyncAfter = "state-fsync-after", within 3;
    /// Before everything that was reported is stored at once, as on a revoke.
    CommitBefore = "commit-before", within 1;
    /// After it was.
    CommitAfter = "commit-after", within 1;
    /// Before a dead letter is given to the broker.
    DeadLetterBefore = "dead-letter-before", within 3;
    /// After the broker acknowledged a dead letter, before the engine knows.
    DeadLetterAfter = "dead-letter-after", within 3;
    /// Before a message is parked in the retry lane.
    ParkBefore = "park-before", within 2;
    /// After it was, before the engine knows.
    ParkAfter = "park-after", within 2;
    /// Before a write to a segment.
    LogWriteBefore = "log-write-before", within 30;
    /// In the middle of a write to a segment.
    LogWriteTorn = "log-write-torn", within 30;
    /// After a write to a segment.
    LogWriteAfter = "log-write-after", within 30;
    /// Before a sync of a segment.
    FsyncBefore = "fsync-before", within 6;
    /// After a sync of a segment.
    FsyncAfter = "fsync-after", within 6;
    /// Before a file gets its final name.
    RenameBefore = "rename-before", within 1;
    /// After it got it.
    RenameAfter = "rename-after", within 1;
    /// Before a segment is begun.
    RollBefore = "segment-roll-before", within 1;
    /// After its file was created, before its header is in it.
    RollAfter = "segment-roll-after", within 1;
    /// Before an old segment is deleted.
    RetentionBefore = "retention-before", within 1;
    /// After it was.
    RetentionAfter = "retention-after", within 1;
}

impl Point {
    /// Whether a process passes it. Where a kill takes nothing away, the small state is in its own file, as in
    /// production, and no layer sees it.
    pub fn is_reachable(self, disk: Disk) -> bool {
        let in_state = matches!(
            self,
            Self::StateWriteTorn | Self::StateFsyncBefore | Self::StateFsyncAfter
        );
        disk != Disk::Kept || !in_state
    }
}

/// Counts how often a place is passed, and kills the process at the n-th time. Clones count together.
#[derive(Debug, Clone)]
pub struct Points<P = Point> {
    armed: Option<(P, u64)>,
    passed: Arc<AtomicU64>,
    history: Arc<History>,
}

impl<P: Named> Points<P> {
    /// Kills at the n-th time that the place is passed; never without one.
    pub fn new(armed: Option<(P, u64)>, history: Arc<History>) -> Self {
        Self {
            armed,
            passed: Arc::default(),
            history,
        }
    }

    /// Whether it is here and now. Asking counts.
    pub(crate) fn is_due(&self, point: P) -> bool {
        self.armed.is_some_and(|(armed, nth)| {
            armed == point && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == nth
        })
    }

    /// The place is passed.
    pub fn pass(&self, point: P) {
        self.pass_after(point, || {});
    }

    /// The place is passed; this is done first if it is the end.
    pub fn pass_after(&self, point: P, last_act: impl FnOnce()) {
        if self.is_due(point) {
            last_act();
            self.die(point, None);
        }
    }

    /// The place is passed within that call of a handler.
    pub fn pass_in(&self, point: P, call: u64) {
        if self.is_due(point) {
            self.die(point, Some(call));
        }
    }

    pub(crate) fn die(&self, point: P, call: Option<u64>) -> ! {
        let point = Some(point.name().to_owned());
        self.history.write(Event::Fault(Fault { point, call }));
        // Nobody catches SIGKILL; the abort is for a system that forbids it.
        let _ = kill_process(getpid(), Signal::KILL);
        std::process::abort()
    }
}

impl Points {
    /// Lets the broker's own places count too.
    pub fn arm_broker(&self) -> Result<(), String> {
        for point in [Point::StoreBefore, Point::StoreAfter] {
            let points = self.clone();
            fail::cfg_callback(point.name(), move || points.pass(point))?;
        }
        Ok(())
    }
}
