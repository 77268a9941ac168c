//! One of the two services, as its attacker sees it: [`Member`].

use super::plan::Life;
use super::relaying::LEASE;
use crate::campaign::{End, Incarnation};
use crate::error::ChaosError;
use std::time::{Duration, Instant};

/// A process that has not come to its place by then is killed.
const WITHIN: Duration = Duration::from_secs(5);
/// A drain may take its deadline, and then some; beyond this the process hangs.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than its lease a process stands still.
const BEYOND_LEASE: Duration = Duration::from_millis(350);
/// How long one works on that stood still.
const AWAKE: Duration = Duration::from_millis(600);

/// A running process and what is in store for it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) incarnation: Incarnation,
    pub(super) number: u32,
    /// Whether it is to end by itself.
    drains: bool,
    /// When it is killed.
    deadline: Instant,
    frozen_since: Option<Instant>,
}

/// How a process ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It killed itself, and has said where.
    Died,
    /// It was killed from outside.
    Killed,
    Drained,
    Failed(String),
}

impl Member {
    pub(super) fn new(incarnation: Incarnation, number: u32, life: Life) -> Self {
        let (drains, after) = match life {
            Life::At { .. } => (false, WITHIN),
            Life::Killed { after } => (false, after),
            Life::Stop { after } => (true, after + STOP_WITHIN),
        };
        Self {
            incarnation,
            number,
            drains,
            deadline: Instant::now() + after,
            frozen_since: None,
        }
    }

    /// Wakes it when it is time, kills it when it is time, and tells how it has ended if it has.
    pub(super) fn look(&mut self) -> Result<Option<Ended>, ChaosError> {
        let ended = match self.incarnation.ended()? {
            Some(End::Killed) => Some(Ended::Died),
            Some(End::Exited) if self.drains => Some(Ended::Drained),
            Some(End::Exited) => Some(Ended::Failed(format!("incarnation {} just ended", self.number))),
            Some(End::Failed(failure)) => Some(Ended::Failed(failure)),
            None => None,
        };
        if ended.is_some() {
            return Ok(ended);
        }
        self.wake_in_time();
        if Instant::now() < self.deadline {
            return Ok(None);
        }
        if self.drains {
            let failure = format!("incarnation {} does not drain", self.number);
            return Ok(Some(Ended::Failed(failure)));
        }
        Ok(Some(match self.kill()? {
            true => Ended::Killed,
            false => Ended::Died,
        }))
    }

    /// Kills it; whether that was needed.
    pub(super) fn kill(&mut self) -> Result<bool, ChaosError> {
        let (_, needed) = self.incarnation.end()?;
        Ok(needed)
    }

    fn wake_in_time(&mut self) {
        match self.frozen_since {
            None if self.incarnation.is_frozen() => self.frozen_since = Some(Instant::now()),
            Some(since) if since.elapsed() > LEASE + BEYOND_LEASE => {
                self.frozen_since = None;
                self.deadline = self.deadline.max(Instant::now() + AWAKE);
                self.incarnation.wake();
            }
            _ => {}
        }
    }
}
