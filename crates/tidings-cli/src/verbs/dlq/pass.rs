//! Letting letters pass: by the app that runs, or here. [`pass`]

use super::letters::OfGroup;
use crate::broker::Broker;
use crate::error::CliError;
use crate::out::{Out, Progress};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tidings_core::{Position, Rate};
use tidings_manage::{
    Client, LetterFilter, LetterPosition, RedriveAction, RedriveCounts, RedriveRequest, Replacement,
};
use tidings_runtime::{RedriveError, RedriveMode, RedriveSpec, RedriveWatch, Selection, redrive};

/// How many letters one request names at the most: it has to fit into what the app takes.
const LETTERS_A_REQUEST: usize = 20_000;

/// What becomes of a letter.
#[derive(Debug)]
pub(super) enum Passage {
    /// It goes back as it is.
    Send,
    /// It goes back with another payload.
    Edited(Bytes),
    /// It goes nowhere, and is remembered as if it had gone back.
    Discard,
}

/// How letters pass.
#[derive(Debug)]
pub(super) struct Way {
    /// What becomes of them.
    pub(super) passage: Passage,
    /// How many a second at the most.
    pub(super) rate: Option<f64>,
    /// How many letters of other groups have passed before.
    pub(super) done_before: usize,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// How many have passed.
    pub(super) done: usize,
    /// How many can never pass.
    pub(super) refused: usize,
    /// What is worth knowing about those.
    pub(super) remark: Option<&'static str>,
}

/// Lets the letters of a group pass. An app that runs does it itself, so that nobody sends a letter a second time.
/// Ctrl-C ends it after what is under way was recorded.
pub(super) async fn pass(
    broker: &Broker,
    group: &str,
    letters: &OfGroup,
    way: Way,
    out: &Out,
) -> Result<Passed, CliError> {
    let doing = match way.passage {
        Passage::Discard => "discarding",
        _ => "sending back",
    };
    let progress = out.progress(doing, Some(letters.positions.len() as u64));
    match broker.service() {
        Some(service) => by_service(service, group, letters, &way, &progress).await,
        None => here(broker, group, letters, way, progress).await,
    }
}

fn interrupted(done: u64) -> CliError {
    CliError::Interrupted {
        done: format!("{done} letters were done and will not be done again"),
    }
}

/// Opened here: nobody else can write, so nobody else sends letters back either.
async fn here(
    broker: &Broker,
    group: &str,
    letters: &OfGroup,
    way: Way,
    progress: Progress,
) -> Result<Passed, CliError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut spec = RedriveSpec::new(group, letters.inputs(group));
    spec.selection = Selection::positions(letters.positions.iter().cloned());
    spec.rate = way.rate.map(|per_second| Rate { per_second });
    spec.mode = match &way.passage {
        Passage::Discard => RedriveMode::Discard,
        Passage::Send | Passage::Edited(_) => RedriveMode::Send,
    };
    if let Passage::Edited(payload) = &way.passage {
        spec.payloads = letters
            .positions
            .iter()
            .map(|at| (at.clone(), payload.clone()))
            .collect();
    }
    spec.watch = Some(watch(&stopped, &done, progress));
    let passing = redrive(&**broker.binder(), spec);
    tokio::pin!(passing);
    let report = tokio::select! {
        report = &mut passing => report,
        _ = tokio::signal::ctrl_c() => {
            stopped.store(true, Ordering::Release);
            passing.await
        }
    };
    let so_far = done.load(Ordering::Acquire) + way.done_before as u64;
    match report {
        Ok(_) if stopped.load(Ordering::Acquire) => Err(interrupted(so_far)),
        Ok(report) => Ok(Passed {
            done: report.redriven + report.discarded,
            refused: report.refused,
            remark: None,
        }),
        Err(RedriveError::Binder(error)) => Err(broker.failed(error)),
        Err(error) => Err(CliError::Failed {
            what: format!("{error}; {so_far} letters were done and will not be done again"),
            cure: "try again: they are not done twice".to_owned(),
        }),
    }
}

/// Shows how far it is, and ends it when that is wanted.
fn watch(stopped: &Arc<AtomicBool>, done: &Arc<AtomicU64>, progress: Progress) -> RedriveWatch {
    let (stopped, done) = (stopped.clone(), done.clone());
    RedriveWatch::new(move |report| {
        let now = (report.redriven + report.discarded) as u64;
        progress.add(now.saturating_sub(done.swap(now, Ordering::AcqRel)));
        if stopped.load(Ordering::Acquire) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
}

async fn by_service(
    service: &Client,
    group: &str,
    letters: &OfGroup,
    way: &Way,
    progress: &Progress,
) -> Result<Passed, CliError> {
    let mut passed = Passed::default();
    for some in letters.positions.chunks(LETTERS_A_REQUEST) {
        let request = request(group, some, way);
        let seen = AtomicU64::new(0);
        let report = |counts: RedriveCounts| {
            let done = counts.redriven + counts.discarded;
            progress.add(done.saturating_sub(seen.swap(done, Ordering::AcqRel)));
        };
        let counts = tokio::select! {
            counts = service.redrive(&request, report) => counts?,
            // The app ends what it has begun, and remembers it.
            _ = tokio::signal::ctrl_c() => {
                let done = (passed.done + way.done_before) as u64;
                return Err(interrupted(done + seen.load(Ordering::Acquire)));
            }
        };
        passed.done += usize::try_from(counts.redriven + counts.discarded).unwrap_or(usize::MAX);
        passed.refused += usize::try_from(counts.refused).unwrap_or(usize::MAX);
    }
    if passed.refused > 0 {
        passed.remark = Some("the log of the app says why, a line for each letter");
    }
    Ok(passed)
}

fn request(group: &str, positions: &[Position], way: &Way) -> RedriveRequest {
    let place = |position: &Position| LetterPosition {
        destination: position.destination().to_owned(),
        partition: position.partition(),
        offset: position.offset(),
    };
    let payloads = match &way.passage {
        Passage::Edited(payload) => positions
            .iter()
            .map(|position| Replacement {
                letter: place(position),
                payload: payload.to_vec(),
            })
            .collect(),
        _ => Vec::new(),
    };
    RedriveRequest {
        group: group.to_owned(),
        letters: vec![LetterFilter::Positions(positions.iter().map(place).collect())],
        limit: None,
        action: match way.passage {
            Passage::Discard => RedriveAction::Discard,
            _ => RedriveAction::Send,
        },
        per_second: way.rate,
        payloads,
    }
}
