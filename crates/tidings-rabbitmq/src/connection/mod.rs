//! One logical connection that is kept: [`Link`].
//!
//! lapin's own recovery is not used: it publishes nothing again, and confirms that were on their way never come.

mod backoff;
mod link;
mod open;
mod reactor;
mod state;
mod stream;
mod wakes;

pub(crate) use link::{Link, PATIENCE};
pub(crate) use open::Live;
pub(crate) use state::LinkState;
pub(crate) use wakes::Late;
