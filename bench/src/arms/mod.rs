//! What rows compare: the arms that several of them share.

pub(crate) mod acknowledged;
pub(crate) mod by_hand;
pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod gauge;
pub(crate) mod latency;
pub(crate) mod least;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod replay;
pub(crate) mod rival;
pub(crate) mod topic;
