//! What rows compare: the arms that several of them share.

#[cfg(feature = "rows")]
pub(crate) mod acknowledged;
pub(crate) mod by_hand;
pub(crate) mod engine;
#[cfg(feature = "rows")]
pub(crate) mod files;
pub(crate) mod gauge;
#[cfg(feature = "rows")]
pub(crate) mod latency;
#[cfg(feature = "rows")]
pub(crate) mod least;
#[cfg(feature = "rows")]
pub(crate) mod log;
#[cfg(feature = "rows")]
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod replay;
#[cfg(feature = "rows")]
pub(crate) mod rival;
pub(crate) mod topic;
