//! `shop load`: drives a running shop over HTTP and checks that every accepted order ends as it should.
//!
//! The shop may be killed and started again meanwhile. Each request has an `Idempotency-Key`, so one that got no
//! answer is sent again without ordering twice; each accepted order is asked for until its story has ended.

mod client;
mod expect;
mod report;
mod sending;

pub use client::{Answer, Client, ClientError};
pub use report::Verdict;
pub use sending::load;

use std::time::Duration;

/// How to load a shop.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// How many orders.
    pub orders: u64,
    /// Of how many customers.
    pub keys: u64,
    /// How many requests at once.
    pub concurrency: usize,
    /// How many of the orders have a name that no label printer knows, 0 to 1.
    pub poison: f64,
    /// For how long nothing may move before the load gives up.
    pub patience: Duration,
    /// The shop.
    pub url: String,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            orders: 1_000,
            keys: 100,
            concurrency: 64,
            poison: 0.01,
            patience: Duration::from_secs(60),
            url: "http://127.0.0.1:8080".to_owned(),
        }
    }
}

/// Runs [`load`] on a runtime of its own.
///
/// # Errors
/// [`LoadError`].
pub fn run(options: LoadOptions) -> Result<Verdict, LoadError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(LoadError::Runtime)?.block_on(load(options))
}

/// Why a load could not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system gives no threads.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    /// Not an address of a shop.
    #[error("{0:?} is not the address of a shop, such as http://127.0.0.1:8080")]
    Url(String),
    /// Nothing has moved for too long.
    #[error(
        "nothing has moved for {patience:?}: {accepted} of {orders} orders are accepted, {ended} have ended; {last}"
    )]
    Stuck {
        /// For how long.
        patience: Duration,
        /// How many were accepted.
        accepted: u64,
        /// How many were to be sent.
        orders: u64,
        /// How many have ended.
        ended: u64,
        /// The last thing that went wrong.
        last: String,
    },
}
