//! What operators ask of a running service: [`Operator`].

use super::letters::RedriveOrder;
use super::{Inner, Running};
use crate::binders::{Binders, Brokers, Ground};
use crate::error::Error;
use crate::plan::Plan;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use tidings_core::{BoxFuture, OutboxStatus, Position, Rate, Timestamp};
use tidings_manage::{
    AppDescription, AppHealth, LetterFilter, LetterPosition, ManageError, ManagedApp, ManagedBinder,
    OutboxInfo, PartHealth, RedriveAction, RedriveCounts, RedriveProgress, RedriveRequest, ReplyInfo,
    RequestInfo, Server, ServerOptions, SubscriptionInfo, SubscriptionLane,
};
use tidings_runtime::{
    LaneStatus, Phase, RedriveMode, RedriveReport, RedriveWatch, ReplyStatus, Selection, SubscriptionStatus,
};

/// What the management address is started with.
pub(crate) struct Management {
    options: ServerOptions,
    binders: Vec<ManagedBinder>,
}

impl Management {
    /// None if operators must not ask, or would not find it: they look for it in a directory.
    pub(crate) fn of(plan: &Plan, ground: &Ground, binders: &Binders) -> Option<Self> {
        let options = plan.manage.clone()?;
        if !matches!(ground.brokers, Brokers::Configured) {
            return None;
        }
        let mut has_directory = false;
        let managed = plan.binders.iter().map(|planned| {
            let mut binder = ManagedBinder::new(&planned.name, binders.planned(&planned.name).clone());
            if let Some(snapshots) = binders.snapshots(&planned.name) {
                binder = binder.snapshots(snapshots.clone());
            }
            match planned.url.value.expose().strip_prefix("embedded:") {
                Some(directory) => {
                    has_directory = true;
                    binder.directory(directory)
                }
                None => binder,
            }
        });
        let binders = managed.collect();
        has_directory.then_some(Self { options, binders })
    }
}

impl Running {
    /// Answers operators from now on, until it is drained.
    pub(crate) fn answer(&self, management: Management) -> Result<(), Error> {
        let operator = Arc::new(Operator {
            inner: Arc::downgrade(&self.inner),
        });
        let app = self.inner.app.as_str();
        let server = Server::start(management.options, app, management.binders, Some(operator));
        let server = server.map_err(|error| Error::Manage {
            reason: error.to_string(),
        })?;
        tracing::debug!(address = %server.address(), "operators can ask");
        // Nobody else sets it.
        let _ = self.inner.manage.set(server);
        Ok(())
    }
}

/// The running service for its operators. It does not keep the service alive.
struct Operator {
    inner: Weak<Inner>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operator")
    }
}

impl Operator {
    fn running(&self) -> Option<Running> {
        self.inner.upgrade().map(|inner| Running { inner })
    }
}

impl ManagedApp for Operator {
    fn describe(&self) -> AppDescription {
        let running = self.running();
        let description = running.as_ref().map(Running::describe);
        AppDescription {
            text: description.map(ToString::to_string).unwrap_or_default(),
            json: description.map_or(serde_json::Value::Null, crate::describe::to_json),
        }
    }

    fn health(&self) -> AppHealth {
        let Some(running) = self.running() else {
            return AppHealth {
                live: false,
                ready: false,
                parts: Vec::new(),
            };
        };
        let health = running.health();
        let parts = health.parts.into_iter().map(|part| PartHealth {
            kind: part.kind.to_owned(),
            name: part.name,
            condition: part.condition.to_string(),
            reason: part.reason,
        });
        AppHealth {
            live: health.live,
            ready: health.ready,
            parts: parts.collect(),
        }
    }

    fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        let Some(inner) = self.inner.upgrade() else {
            return Vec::new();
        };
        let subscriptions = inner.subscriptions.iter().map(|one| {
            let inputs = one.handle.inputs();
            let letters = inputs.iter().filter_map(|input| input.dead_letter.as_ref());
            let mut dead_letters: Vec<_> = letters.map(|letters| letters.destination.to_string()).collect();
            dead_letters.dedup();
            SubscriptionInfo {
                name: one.name.clone(),
                group: one.group.as_ref().map(ToString::to_string),
                binder: one.binder.clone(),
                destinations: inputs.iter().map(|input| input.destination.to_string()).collect(),
                dead_letters,
                ..info(one.handle.status())
            }
        });
        subscriptions.collect()
    }

    fn requests(&self) -> Vec<RequestInfo> {
        let Some(running) = self.running() else {
            return Vec::new();
        };
        let requests = running.status().requests.into_iter();
        requests
            .map(|(binder, status)| RequestInfo {
                binder,
                open: status.open as u64,
                answered: status.answered,
                unanswered: status.unanswered,
                late: status.late,
                obstacle: status.obstacle,
            })
            .collect()
    }

    fn outboxes(&self) -> Vec<OutboxInfo> {
        let Some(running) = self.running() else {
            return Vec::new();
        };
        let outboxes = running.status().outboxes.into_iter();
        outboxes.map(|(name, status)| outbox(name, status)).collect()
    }

    fn redrive(
        &self,
        request: RedriveRequest,
        progress: RedriveProgress,
    ) -> BoxFuture<'_, Result<RedriveCounts, ManageError>> {
        Box::pin(async move {
            let Some(inner) = self.inner.upgrade() else {
                return Err(ManageError::failed(
                    "the service is ending: ask again when it runs",
                ));
            };
            let order = order(&request, progress)?;
            let done = inner.redrive(&request.group, order).await;
            done.map(|report| counts(&report)).map_err(manage_error)
        })
    }
}

fn outbox(name: String, status: OutboxStatus) -> OutboxInfo {
    let age = status.backlog.and_then(|backlog| backlog.age);
    OutboxInfo {
        name,
        role: status.role.as_str().to_owned(),
        replicates: status.replicates,
        sent: status.sent,
        parked: status.parked,
        rounds: status.rounds,
        failures: status.failures,
        backlog: status.backlog.map(|backlog| backlog.messages),
        backlog_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        backlog_parked: status.backlog.map(|backlog| backlog.parked),
        slot_lag_bytes: status.slot_lag,
        lag_alarm: status.lag_alarm,
        obstacle: status.obstacle,
    }
}

fn manage_error(error: Error) -> ManageError {
    match error {
        Error::Unknown { kind, name, known } => {
            ManageError::unknown(kind, &name, known.iter().map(String::as_str))
        }
        Error::Binder { error, .. } => ManageError::Broker(error),
        other => ManageError::failed(other),
    }
}

fn order(request: &RedriveRequest, progress: RedriveProgress) -> Result<RedriveOrder, ManageError> {
    let rate = match request.per_second {
        Some(per_second) if per_second.is_finite() && per_second > 0.0 => Some(Rate { per_second }),
        Some(per_second) => {
            let reason = format!("{per_second} is no rate: give a number above 0 per second");
            return Err(ManageError::failed(reason));
        }
        None => None,
    };
    let payloads = request.payloads.iter();
    Ok(RedriveOrder {
        selection: selection(&request.letters)?,
        limit: request
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        mode: match request.action {
            RedriveAction::Send => RedriveMode::Send,
            RedriveAction::DryRun => RedriveMode::DryRun,
            RedriveAction::Discard => RedriveMode::Discard,
        },
        rate,
        payloads: payloads
            .map(|one| (position(&one.letter), one.payload.clone().into()))
            .collect::<HashMap<_, _>>(),
        watch: Some(RedriveWatch::new(move |report| progress.report(&counts(report)))),
    })
}

/// The letters that all filters accept.
fn selection(filters: &[LetterFilter]) -> Result<Selection, ManageError> {
    let mut each = Vec::with_capacity(filters.len());
    for filter in filters {
        each.push(match filter {
            LetterFilter::Key(key) => Selection::key(key.clone()),
            LetterFilter::MessageIds(ids) => Selection::message_ids(ids.iter().cloned()),
            LetterFilter::Positions(positions) => {
                let positions: HashSet<_> = positions.iter().map(position).collect();
                Selection::positions(positions)
            }
            LetterFilter::FailedWithin { from_ms, to_ms } => {
                Selection::FailedWithin(Timestamp::from_millis(*from_ms)..Timestamp::from_millis(*to_ms))
            }
            LetterFilter::ErrorContains(text) => Selection::ErrorContains(text.clone()),
            other => {
                return Err(ManageError::failed(format!(
                    "this version does not know {other:?}"
                )));
            }
        });
    }
    Ok(match (each.pop(), each.is_empty()) {
        (None, _) => Selection::All,
        (Some(only), true) => only,
        (Some(last), false) => {
            each.push(last);
            Selection::matching(move |letter| each.iter().all(|selection| selection.accepts(letter)))
        }
    })
}

fn position(at: &LetterPosition) -> Position {
    Position::new(at.destination.as_str(), at.partition, at.offset)
}

fn counts(report: &RedriveReport) -> RedriveCounts {
    RedriveCounts {
        pending: report.pending as u64,
        selected: report.selected as u64,
        redriven: report.redriven as u64,
        discarded: report.discarded as u64,
        refused: report.refused as u64,
    }
}

fn info(status: SubscriptionStatus) -> SubscriptionInfo {
    let (last_failure_ms, last_failure) = status.last_failure.unzip();
    SubscriptionInfo {
        phase: phase(status.phase).to_owned(),
        running: status.running as u64,
        waiting: status.waiting as u64,
        queued: status.queued as u64,
        handled: status.handled,
        failed: status.failed,
        retried: status.retried,
        parked: status.parked,
        dead_lettered: status.dead_lettered,
        dropped: status.dropped,
        replies: replies(status.replies),
        obstacle: status.obstacle,
        last_failure,
        last_failure_ms: last_failure_ms.map(Timestamp::as_millis),
        lanes: status.lanes.iter().map(lane).collect(),
        ..SubscriptionInfo::default()
    }
}

fn replies(replies: ReplyStatus) -> ReplyInfo {
    ReplyInfo {
        sent: replies.sent,
        unaddressed: replies.unaddressed,
        refused: replies.refused,
        orphaned: replies.orphaned,
        not_taken: replies.not_taken,
    }
}

fn lane(lane: &LaneStatus) -> SubscriptionLane {
    SubscriptionLane {
        destination: lane.destination.to_string(),
        partition: lane.partition,
        watermark: lane.watermark,
        received: lane.received,
        open: lane.open as u64,
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "connecting",
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Draining => "draining",
        Phase::Stopped => "stopped",
        Phase::Failed => "failed",
        _ => "unknown",
    }
}
