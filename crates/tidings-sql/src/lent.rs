//! A transaction of the driver that may be lent: [`Lent`], [`Owner`].

use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::store::{SqlStore, Working};
use sqlx::Transaction;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A transaction; one that was lent goes back to its owner when this is dropped.
pub(crate) struct Lent<DB: Dialect> {
    /// None only while this is taken apart.
    transaction: Option<Transaction<'static, DB>>,
    owner: Option<Arc<Owner<DB>>>,
    /// While a transaction is open the database may work at any moment.
    working: Option<Working>,
}

/// Lends a transaction to one at a time, until it is taken back for good.
pub(crate) struct Owner<DB: Dialect> {
    at_home: Mutex<AtHome<DB>>,
}

struct AtHome<DB: Dialect> {
    transaction: Option<Transaction<'static, DB>>,
    /// Nothing is lent any more, and what comes back is rolled back: whoever still knows this must not keep it open.
    closed: bool,
    working: Option<Working>,
}

impl<DB: Dialect> fmt::Debug for Owner<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

impl<DB: Dialect> Owner<DB> {
    pub(crate) fn new(transaction: Transaction<'static, DB>, working: Option<Working>) -> Arc<Self> {
        Arc::new(Self {
            at_home: Mutex::new(AtHome {
                transaction: Some(transaction),
                closed: false,
                working,
            }),
        })
    }

    /// Lends it, unless somebody has it.
    pub(crate) fn lend(self: &Arc<Self>) -> Option<Lent<DB>> {
        Some(Lent {
            transaction: Some(self.at_home().transaction.take()?),
            owner: Some(self.clone()),
            working: None,
        })
    }

    /// Takes it back for good. None if somebody has it, who rolls it back by dropping it.
    pub(crate) fn take(&self) -> Option<Transaction<'static, DB>> {
        let mut at_home = self.at_home();
        at_home.closed = true;
        at_home.working = None;
        at_home.transaction.take()
    }

    fn at_home(&self) -> MutexGuard<'_, AtHome<DB>> {
        self.at_home.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Dialect> From<Transaction<'static, DB>> for Lent<DB> {
    fn from(transaction: Transaction<'static, DB>) -> Self {
        Self::of(transaction, None)
    }
}

impl<DB: Dialect> Lent<DB> {
    /// One that nobody has to give back.
    pub(crate) fn of(transaction: Transaction<'static, DB>, working: Option<Working>) -> Self {
        Self {
            transaction: Some(transaction),
            owner: None,
            working,
        }
    }

    /// Whether whoever has it may end it.
    ///
    /// # Errors
    /// [`SqlError::NotYours`].
    pub(crate) fn check_own(&self, store: &SqlStore<DB>) -> Result<(), SqlError> {
        match self.owner {
            None => Ok(()),
            Some(_) => Err(SqlError::NotYours {
                place: store.place().to_owned(),
            }),
        }
    }

    /// To be ended.
    ///
    /// # Errors
    /// [`SqlError::NotYours`].
    pub(crate) fn take(mut self, store: &SqlStore<DB>) -> Result<Transaction<'static, DB>, SqlError> {
        self.check_own(store)?;
        Ok(self.transaction.take().expect(HERE))
    }

    /// From now on it is lent by its owner.
    pub(crate) fn into_owner(mut self) -> Arc<Owner<DB>> {
        Owner::new(self.transaction.take().expect(HERE), self.working.take())
    }

    pub(crate) fn transaction(&mut self) -> &mut Transaction<'static, DB> {
        self.transaction.as_mut().expect(HERE)
    }
}

const HERE: &str = "it is taken only by what consumes this";

impl<DB: Dialect> Deref for Lent<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.transaction.as_ref().expect(HERE)
    }
}

impl<DB: Dialect> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.transaction.as_mut().expect(HERE)
    }
}

impl<DB: Dialect> Drop for Lent<DB> {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            let mut at_home = owner.at_home();
            if !at_home.closed {
                at_home.transaction = self.transaction.take();
            }
        }
    }
}
