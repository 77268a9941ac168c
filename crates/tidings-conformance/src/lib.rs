//! What every binder of Tidings must do, as tests: one suite, called by each binder's own tests.
//!
//! A binder's test program says how its broker is opened and what it can do, and gets one `#[test]` for each case:
//!
//! ```
//! # use std::sync::Arc;
//! # use tidings_conformance::{Feature, Features, Harness, Opening};
//! # use tidings_core::{BinderError, BoxFuture, Capabilities, Clock, DynBinder};
//! # fn open_broker(_: Clock) -> Result<Arc<dyn DynBinder>, BinderError> { Err(BinderError::Closed) }
//! struct Memory;
//!
//! impl Harness for Memory {
//!     fn name(&self) -> &'static str {
//!         "memory"
//!     }
//!     fn features(&self) -> Features {
//!         Features::of(Capabilities::NONE).with(Feature::VirtualTime)
//!     }
//!     fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn DynBinder>, BinderError>> {
//!         Box::pin(async move { open_broker(opening.clock) })
//!     }
//! }
//!
//! tidings_conformance::suite!(memory, || Memory);
//! # fn main() {}
//! ```
//!
//! The cases have two layers. `seam` uses a binder as the engine does: it publishes, joins groups, reads, stores
//! progress. `engine` runs whole apps on it, also with faults put in between: publishes that are refused, late or
//! unanswered, events that come late or twice, progress that is lost before a crash, members that come and go.
//!
//! A case that needs what a broker lacks prints `SKIPPED <case>: <broker> has no <feature>`, and is counted as skipped.
//! Where the broker lives in the test's process, time is virtual: no case waits in fact.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "all of this crate is tests: a panic is how they fail"
)]

mod apps;
mod catalog;
mod engine;
mod faulty;
mod features;
mod harness;
mod member;
mod runner;
mod seam;
mod stage;
mod witness;
mod world;

pub use features::{Feature, Features};
pub use harness::{Harness, Opening, StorageFault};
pub use runner::run;
