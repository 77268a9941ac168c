//! The shop's flows on a broker and a database in memory, and the shop as a program over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic is the report, also in its helpers"
)]

mod database;
mod flows;
mod http;
mod kafka;
mod killed;
mod process;
mod rabbitmq;
mod restart;
mod several;
mod support;
mod tally;
