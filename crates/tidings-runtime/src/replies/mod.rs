//! Requests and replies: what a handler replies goes where its message says ([`Answers`]), and a destination is read for
//! replies where the broker has no way of its own ([`requester`]).

mod answers;
mod reader;

pub(crate) use answers::{Answers, PATIENCE, is_tried_again};
pub use reader::{RequestSpec, requester};
