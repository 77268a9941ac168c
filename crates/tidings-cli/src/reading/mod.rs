//! Reading messages of a topic without a group: in the order of their times, and as they come.

mod cursor;
mod filter;
mod merge;

pub(crate) use cursor::Found;
pub(crate) use filter::{MessageFilter, parse_header};
pub(crate) use merge::Merge;
