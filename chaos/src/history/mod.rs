//! JSONL histories: what processes under attack write, and what the checker reads.

mod event;
mod reader;
mod sql;
mod writer;

pub use event::{
    Acked, Commit, DeadLetter, Disk, Event, Fault, Fsync, GroupFacts, Handle, Lifecycle, Line, Phase, Seen,
    Send, Settings, Stage,
};
pub use reader::{read_all, read_text};
pub use sql::{Arrival, Effect, SqlEvent, Store};
pub use writer::History;
