//! A part that can't be cloned.
extern crate tidings_core as tidings;

use tidings_macros::FromRef;

struct Bank;

#[derive(FromRef)]
struct Shop {
    bank: Bank,
}

fn main() {}
