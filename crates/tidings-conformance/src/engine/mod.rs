//! Whole apps on the broker under test.
//!
//! Where the invariants of the design are attacked, each with a fault that a wrong implementation fails:
//! 1 (only what is finished is committed): `faults::progress_never_runs_ahead_of_what_is_finished`;
//! 2 (nothing lost, nothing invented): `simulation`, `faults`; 3 (order of a key): `ordering`, `waits`, `rebalance`;
//! 4 (dead letters): `letters`; 6 (revoked work never commits): `rebalance`; 7 (bounds): `pressure`;
//! 8 (drain): `draining`; 9 (crashes of the log): `restarts`, and the broker's own tests below the seam;
//! 10 (headers are not trusted): `headers`. 5 (inbox and outbox) needs a database, which no binder brings.

pub(crate) mod acks;
pub(crate) mod batches;
pub(crate) mod control;
pub(crate) mod draining;
pub(crate) mod faults;
pub(crate) mod handling;
pub(crate) mod headers;
pub(crate) mod letters;
pub(crate) mod ordering;
pub(crate) mod patterns;
pub(crate) mod peers;
pub(crate) mod pressure;
pub(crate) mod rebalance;
pub(crate) mod redrive;
pub(crate) mod requests;
pub(crate) mod restarts;
pub(crate) mod retries;
pub(crate) mod simulation;
pub(crate) mod waits;
