//! A copy of the small state as it was at one moment: [`StateView`].

use crate::state::{COUNTERS, DEATHS, DELAYED, PROGRESS};
use redb::{Database, ReadTransaction, ReadableTable};
use std::path::Path;

/// The state at the moment in which this was made; later changes do not show.
pub(crate) struct StateView(pub(crate) ReadTransaction);

impl StateView {
    /// Writes all of it into a new file, durable when this returns.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), String> {
        let copied = || -> Result<(), redb::Error> {
            let database = Database::create(path)?;
            let mut writing = database.begin_write()?;
            {
                let mut progress = writing.open_table(PROGRESS)?;
                for row in self.0.open_table(PROGRESS)?.iter()? {
                    let (key, value) = row?;
                    progress.insert(key.value(), value.value())?;
                }
                let mut delayed = writing.open_table(DELAYED)?;
                for row in self.0.open_table(DELAYED)?.iter()? {
                    let (key, value) = row?;
                    delayed.insert(key.value(), value.value())?;
                }
                let mut deaths = writing.open_table(DEATHS)?;
                for row in self.0.open_table(DEATHS)?.iter()? {
                    let (key, value) = row?;
                    deaths.insert(key.value(), value.value())?;
                }
                let mut counters = writing.open_table(COUNTERS)?;
                for row in self.0.open_table(COUNTERS)?.iter()? {
                    let (key, value) = row?;
                    counters.insert(key.value(), value.value())?;
                }
            }
            // Opening the copy must not have to walk it.
            writing.set_quick_repair(true);
            writing.commit()?;
            Ok(())
        };
        copied().map_err(|error| format!("{}: {error}", path.display()))
    }
}
