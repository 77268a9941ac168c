//! What `#[derive(FromRef)]` says.
extern crate tidings_core as tidings;

use std::sync::Arc;
use tidings_macros::FromRef;

#[derive(Clone)]
struct Bank;

#[derive(FromRef)]
struct TwoBanks {
    eur: Arc<Bank>,
    usd: Arc<Bank>,
}

#[derive(FromRef)]
struct TwoOfATuple(Bank, Bank);

#[derive(FromRef)]
enum NotAlwaysThere {
    Bank(Bank),
}

#[derive(FromRef)]
struct AnyPart<T> {
    part: T,
}

#[derive(FromRef)]
struct Misspelt {
    #[from_ref(skp)]
    bank: Bank,
}

fn main() {}
