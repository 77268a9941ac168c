//! What the compiler says of a codec that is none, and of a wrapped type that is no event.
extern crate tidings_core as tidings;

use serde::Serialize;
use tidings_macros::Event;

#[derive(Serialize)]
struct Taken;

#[derive(Event, Serialize)]
enum PaymentEvent {
    #[event(transparent)]
    Taken(Taken),
}

#[derive(Event, Serialize)]
#[event(codec = "Taken")]
struct OrderPlaced;

fn main() {}
