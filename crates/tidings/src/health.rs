//! Whether a running service works: [`Health`].

use std::fmt;
use tidings_core::{BinderHealth, OutboxStatus, RelayRole};
use tidings_runtime::Phase;

/// Whether a running service works, and why not. For the probes of an orchestrator and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the process can recover by itself. If not, it should be started again: a subscription was refused for
    /// good, or a part ended that should run.
    pub live: bool,
    /// Whether every broker works and every part runs. Not while it connects or drains. A part that is paused by
    /// hand is ready; one that meets an obstacle is ready too, because another instance would meet it as well.
    pub ready: bool,
    /// Every part.
    pub parts: Vec<PartHealth>,
}

/// Whether one part of a running service works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartHealth {
    /// `binder`, `subscription`, `producer` or `outbox`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How it is.
    pub condition: Condition,
    /// What stands in the way, if something does.
    pub reason: Option<String>,
}

/// How a part of a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Up,
    /// It does not work yet, or not any more because the service drains.
    Waiting,
    /// It works in part: the reason says what stands in the way, and it is tried again.
    Degraded,
    /// It does not work.
    Down,
    /// It will not work again without a new start.
    Failed,
}

impl Condition {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Waiting => "waiting",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Health {
    pub(crate) fn of(parts: Vec<PartHealth>) -> Self {
        let none = |conditions: &[Condition]| !parts.iter().any(|part| conditions.contains(&part.condition));
        Self {
            live: none(&[Condition::Failed]),
            ready: none(&[Condition::Failed, Condition::Down, Condition::Waiting]),
            parts,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "live: {}, ready: {}", self.live, self.ready)?;
        for part in &self.parts {
            write!(f, "  {} {}: {}", part.kind, part.name, part.condition)?;
            match &part.reason {
                Some(reason) => writeln!(f, ": {reason}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

impl PartHealth {
    pub(crate) fn binder(name: &str, health: BinderHealth) -> Self {
        let (condition, reason) = match health {
            BinderHealth::Up => (Condition::Up, None),
            BinderHealth::Down(reason) => (Condition::Down, Some(reason)),
        };
        Self {
            kind: "binder",
            name: name.to_owned(),
            condition,
            reason,
        }
    }

    /// `may_end`: a stream ends when it has no more items, a subscription does not.
    pub(crate) fn part(
        kind: &'static str,
        name: &str,
        phase: Phase,
        end: End,
        obstacle: Option<String>,
    ) -> Self {
        let condition = match (phase, end) {
            (Phase::Failed, _) | (Phase::Stopped, End::Unexpected) => Condition::Failed,
            (Phase::Stopped, End::Expected) => Condition::Up,
            (Phase::Connecting | Phase::Draining | Phase::Stopped, _) => Condition::Waiting,
            _ if obstacle.is_some() => Condition::Degraded,
            _ => Condition::Up,
        };
        Self {
            kind,
            name: name.to_owned(),
            condition,
            reason: obstacle,
        }
    }
}

impl PartHealth {
    /// What sends from an outbox. Whatever stands in its way, messages are kept meanwhile, and another instance would
    /// meet it as well.
    pub(crate) fn outbox(name: &str, status: &OutboxStatus, ended: bool, draining: bool) -> Self {
        let reason = in_the_way(status);
        let condition = match (ended, draining) {
            (_, true) => Condition::Waiting,
            (true, false) => Condition::Failed,
            _ if reason.is_some() => Condition::Degraded,
            _ if status.role == RelayRole::Starting => Condition::Waiting,
            _ => Condition::Up,
        };
        Self {
            kind: "outbox",
            name: name.to_owned(),
            condition,
            reason,
        }
    }
}

/// What keeps messages in an outbox that should not be there.
fn in_the_way(status: &OutboxStatus) -> Option<String> {
    let lag = status.lag_alarm.then(|| match status.slot_lag {
        Some(lag) => {
            format!("the server keeps {lag} bytes of its log for the slot, which is beyond the limit")
        }
        None => "the slot was too far behind and is dropped".to_owned(),
    });
    let parked = status.backlog.map_or(0, |backlog| backlog.parked);
    let parked = match parked {
        0 => None,
        1 => Some("1 message is parked".to_owned()),
        _ => Some(format!("{parked} messages are parked")),
    };
    let reasons: Vec<_> = [status.obstacle.clone(), lag, parked]
        .into_iter()
        .flatten()
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// What it means that a part has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing: it was finished.
    Expected,
    /// The service was drained.
    Drained,
    /// It should run.
    Unexpected,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(phase: Phase, end: End, obstacle: Option<&str>) -> Health {
        Health::of(vec![
            PartHealth::binder("main", BinderHealth::Up),
            PartHealth::part("subscription", "billing", phase, end, obstacle.map(str::to_owned)),
        ])
    }

    #[test]
    fn health_is_honest_about_every_phase() {
        for (phase, end, obstacle, live, ready) in [
            (Phase::Running, End::Unexpected, None, true, true),
            (Phase::Paused, End::Unexpected, None, true, true),
            (
                Phase::Running,
                End::Unexpected,
                Some("a dead letter cannot be written"),
                true,
                true,
            ),
            (
                Phase::Connecting,
                End::Unexpected,
                Some("the broker is away"),
                true,
                false,
            ),
            (Phase::Draining, End::Drained, None, true, false),
            (Phase::Stopped, End::Drained, None, true, false),
            (Phase::Stopped, End::Unexpected, None, false, false),
            (Phase::Stopped, End::Expected, None, true, true),
            (Phase::Failed, End::Unexpected, Some("refused"), false, false),
        ] {
            let health = part(phase, end, obstacle);
            assert_eq!(
                (health.live, health.ready),
                (live, ready),
                "{phase:?} {end:?}\n{health}"
            );
        }
    }

    #[test]
    fn an_outbox_says_what_stands_in_its_way_and_costs_no_readiness() {
        type Change = fn(&mut OutboxStatus);
        let check = |change: Change, ended, draining| {
            let mut status = OutboxStatus::default();
            status.role = RelayRole::Follows;
            change(&mut status);
            let part = PartHealth::outbox("db", &status, ended, draining);
            let (condition, reason) = (part.condition, part.reason.clone().unwrap_or_default());
            (condition, Health::of(vec![part]).ready, reason)
        };
        let cases: [(Change, Condition, bool, &str); 6] = [
            (|_| {}, Condition::Up, true, ""),
            (|status| status.role = RelayRole::Leads, Condition::Up, true, ""),
            (
                |status| status.role = RelayRole::Starting,
                Condition::Waiting,
                false,
                "",
            ),
            (
                |status| status.obstacle = Some("the broker is away".to_owned()),
                Condition::Degraded,
                true,
                "the broker is away",
            ),
            (
                |status| status.backlog = Some(tidings_core::Backlog::new(3, None, 2)),
                Condition::Degraded,
                true,
                "2 messages are parked",
            ),
            (
                |status| (status.lag_alarm, status.slot_lag) = (true, Some(9)),
                Condition::Degraded,
                true,
                "keeps 9 bytes",
            ),
        ];
        for (change, condition, ready, words) in cases {
            let (found, is_ready, reason) = check(change, false, false);
            assert_eq!((found, is_ready), (condition, ready), "{reason}");
            assert!(reason.contains(words), "{reason}");
        }
        assert_eq!(check(|_| {}, true, false).0, Condition::Failed);
        assert_eq!(check(|_| {}, true, true).0, Condition::Waiting);
    }

    #[test]
    fn a_broker_that_is_down_makes_the_service_not_ready_and_says_why() {
        let health = Health::of(vec![PartHealth::binder(
            "main",
            BinderHealth::Down("disk full".to_owned()),
        )]);
        assert!(health.live && !health.ready);
        assert!(
            health.to_string().contains("binder main: down: disk full"),
            "{health}"
        );
    }
}
