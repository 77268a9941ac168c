//! What stands between the engine and the broker: it writes down what crosses the seam, kills the process there, and
//! plants bugs.

mod binder;
mod sink;
mod source;

pub use binder::Seam;
