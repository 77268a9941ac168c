//! The crash campaign: processes publish and handle on the embedded log and are killed while they do, at random and at
//! named places; what they write down is read by a checker that says by name what went wrong.
//!
//! - [`history`]: what is written down, one line at a time, so that a kill loses none.
//! - [`checker`]: reads the histories of a run and reports lost writes, duplicates and their kind.
//! - [`service`]: the service under attack, with every way through the engine.
//! - [`seam`], [`disk`], [`points`]: what is put around broker and files to watch, to kill and to cut the power.
//! - [`plant`]: bugs that are planted on purpose, to see the checker find them.
//! - [`sql`]: the same for effects and events in a database.
//! - [`campaign`]: one incarnation after the other, and the verdict.

pub mod arguments;
pub mod campaign;
pub mod checker;
pub mod child;
pub mod disk;
mod error;
pub mod history;
pub mod plant;
pub mod points;
pub mod seam;
pub mod service;
pub mod sql;

pub use error::ChaosError;
