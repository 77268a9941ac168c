//! The facade as its users see it.

mod caught_up;
mod claims;
mod compose;
mod describe;
mod errors;
mod events;
mod extract;
mod flow;
mod given;
mod inbox;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "manage")]
mod manage;
mod operate;
#[cfg(feature = "manage")]
mod outbox;
mod partitions;
mod patterns;
mod produce;
mod redrive;
#[cfg(unix)]
mod signals;
mod wiring;
