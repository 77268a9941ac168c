//! The derives and the attribute, used as applications use them.

// The generated code names `::tidings`; the facade is above this crate, and what is used of it here is all in core.
extern crate tidings_core as tidings;

mod elsewhere;
mod event_enums;
mod event_structs;
mod from_ref;
mod handler;
