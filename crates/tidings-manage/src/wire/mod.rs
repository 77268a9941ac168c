//! What goes over the wire: JSON for control, binary frames for messages.

pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod json;

/// The version of the interface, as the first part of every path.
pub(crate) const VERSION: &str = "v1";
/// The type of a body with messages.
pub(crate) const FRAMES: &str = "application/x-tidings-frames";
/// The type of a body with one JSON value a line.
pub(crate) const LINES: &str = "application/x-ndjson";
