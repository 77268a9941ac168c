//! Drives the real program.

mod config;
mod dlq;
mod docs;
mod groups;
mod new;
mod publish;
mod running;
mod service;
mod shell;
mod tail;
mod topics;
mod world;
