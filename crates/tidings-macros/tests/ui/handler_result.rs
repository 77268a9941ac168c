//! What `#[handler]` says of results.
extern crate tidings_core as tidings;

use tidings::{Batch, Failure, Message, Raw};
use tidings_macros::{Event, handler};

struct Receipt;

#[derive(Event)]
struct Unwritable;

#[handler]
async fn returns_a_number(_payload: Raw) -> u32 {
    7
}

#[handler]
async fn returns_no_event(_payload: Raw) -> Result<Receipt, Failure> {
    Ok(Receipt)
}

#[handler]
async fn returns_an_event_without_serialize(_payload: Raw) -> Option<Unwritable> {
    None
}

#[handler]
async fn returns_an_error_of_its_own(_payload: Raw) -> Result<(), std::io::Error> {
    Ok(())
}

#[handler]
async fn returns_a_number_for_a_batch(_batch: Batch<Message>) -> usize {
    7
}

fn main() {}
