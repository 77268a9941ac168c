//! File layers under the broker: [`PointFiles`] kills at named places, [`PowerFiles`] loses what was not synced.

mod inode;
mod names;
mod points;
mod power;

pub use points::PointFiles;
pub use power::{PowerFiles, Writeback};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic elsewhere has left nothing half-done here: every change is made in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
