//! The seam itself: a binder, its sink and its sources, without the engine.

pub(crate) mod cancelling;
pub(crate) mod changing;
pub(crate) mod closing;
pub(crate) mod delayed;
pub(crate) mod groups;
pub(crate) mod progress;
pub(crate) mod publishing;
pub(crate) mod reading;
pub(crate) mod restarts;
pub(crate) mod storage;
