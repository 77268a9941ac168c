//! Drives the real program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod config;
mod dlq;
mod docs;
mod groups;
#[cfg(feature = "kafka")]
mod kafka;
mod log;
mod new;
mod publish;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod running;
mod service;
mod shell;
#[cfg(feature = "sql")]
mod sql;
mod tail;
mod topics;
mod world;
