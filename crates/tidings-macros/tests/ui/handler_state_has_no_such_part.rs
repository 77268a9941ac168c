//! The state is told, and the argument is no part of it.
extern crate tidings_core as tidings;

use tidings::{Raw, State};
use tidings_macros::{FromRef, handler};

#[derive(Clone)]
struct Bank;

#[derive(Clone)]
struct Mailer;

#[derive(Clone, FromRef)]
struct Shop {
    bank: Bank,
}

#[handler(state = Shop)]
async fn charge(_order: Raw, _bank: State<Bank>, _mailer: State<Mailer>) {}

fn main() {}
