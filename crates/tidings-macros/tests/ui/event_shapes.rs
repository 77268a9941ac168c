//! What `#[derive(Event)]` says of types that can't be events.
extern crate tidings_core as tidings;

use serde::Serialize;
use tidings_macros::Event;

#[derive(Event)]
union Either {
    number: u32,
    letter: char,
}

#[derive(Event, Serialize)]
struct Borrowed<'a> {
    name: &'a str,
}

#[derive(Event, Serialize)]
enum Never {}

#[derive(Event, Serialize)]
struct Taken;

#[derive(Event, Serialize)]
enum Transparent {
    #[event(transparent)]
    Two(Taken, u32),
    #[event(transparent, name = "taken")]
    Named(Taken),
}

#[derive(Event, Serialize)]
enum SameNames {
    #[event(name = "taken")]
    One,
    #[event(name = "taken")]
    Other,
}

#[derive(Event, Serialize)]
enum VersionOfAVariant {
    #[event(version = 2)]
    One,
}

fn main() {}
