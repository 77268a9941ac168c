//! Rows on a real Apache Kafka, beside loops by hand, and beside other libraries where their programs are at hand.

pub(super) mod consume;
pub(super) mod latency;
pub(super) mod process;
pub(super) mod produce;
pub(super) mod transform;
pub(super) mod waits;

use crate::apart::job::{Job, Outcome, Packing};
use crate::apart::peers::{Peer, Peers, peers};
use crate::error::BenchError;
use crate::kafka::server::unique;
use crate::measure::Sample;
use crate::pairs::Pairs;
use crate::rows::{Setting, agree};

/// Orders of the rows that consume. Every arm reads all of them, so that all get the same checksum.
const MESSAGES: u64 = 1_000_000;

/// A run in a fresh group, whose checksum must be this one.
fn run(job: &Job, checksum: u64) -> Result<Outcome, BenchError> {
    let outcome = Job {
        group: unique("group"),
        ..job.clone()
    }
    .run()?;
    agree(&format!("{:?}", job.arm), outcome.checksum, checksum)?;
    Ok(outcome)
}

/// What a job's arm adds up to when it has handled everything once.
fn checksum_of(job: &Job) -> Result<u64, BenchError> {
    let group = unique("group");
    Ok(Job { group, ..job.clone() }.run()?.checksum)
}

/// Ours beside one by hand, A B B A. Each run is a process of its own, so none is left out as the first.
fn beside(setting: &Setting<'_>, ours: &Job, reference: &Job, checksum: u64) -> Result<Pairs, BenchError> {
    Pairs::of_processes(
        setting.length.rounds(),
        || run(ours, checksum).map(|outcome| outcome.sample()),
        || run(reference, checksum).map(|outcome| outcome.sample()),
    )
}

/// Ours beside a program of another library.
fn beside_peer(
    setting: &Setting<'_>,
    ours: &Job,
    peer: Peer,
    theirs: &Job,
    checksum: Option<u64>,
) -> Result<Pairs, BenchError> {
    let peers = the_peers()?;
    let theirs = || -> Result<Sample, BenchError> {
        let job = Job {
            group: unique("peer"),
            ..theirs.clone()
        };
        let outcome = peers.run(peer, &job)?;
        if let Some(checksum) = checksum {
            agree(peer.name, outcome.checksum, checksum)?;
        }
        Ok(outcome.sample())
    };
    let ours = || match checksum {
        Some(checksum) => run(ours, checksum).map(|outcome| outcome.sample()),
        // Each run reads from the beginning.
        None => {
            let fresh = Job {
                group: unique("group"),
                ..ours.clone()
            };
            fresh.run().map(|outcome| outcome.sample())
        }
    };
    Pairs::of_processes(setting.length.rounds(), ours, theirs)
}

/// What the name of a line says about it.
fn said(packing: Packing) -> &'static str {
    match packing {
        Packing::Plain => "",
        Packing::Lz4 => ", lz4",
    }
}

fn the_peers() -> Result<&'static Peers, BenchError> {
    peers().map_err(BenchError::part("other libraries"))
}
