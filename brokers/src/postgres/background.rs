//! A PostgreSQL that stays until it is told to go, see [`background`](crate::background).

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::options::{PostgresLayout, PostgresOptions};
use super::server::{self, DATA, Installed, NODE, Server};
use super::{secure, shared_memory};
use crate::background::About;
use crate::error::BrokersError;
use crate::launch::Life;
use crate::{place, ports, security};

/// Where such servers live. Without an installed one there are none.
pub(crate) fn home() -> PathBuf {
    let user = Installed::get().ok().and_then(|installed| installed.user());
    place::background_of(user)
}

/// Starts it in that directory and waits until it is ready.
pub(crate) fn start(layout: PostgresLayout, directory: &Path) -> Result<(), BrokersError> {
    let installed = Installed::get()?;
    // Held until it listens, which keeps others away from then on.
    let port = ports::reserve_one()?;
    let mut about = About::default();
    about.process(&format!("node-{NODE}"), port.number);
    let options = PostgresOptions::of(layout);
    let server = Server::prepare(&options, &installed, port.number, directory, Life::OnItsOwn)?;
    about.say(&format!("url {}/postgres", server.api.url()));
    if layout == PostgresLayout::Secure {
        about.say(&format!(
            "certificates {}",
            security::directory(directory).display()
        ));
    }
    about.write(directory)?;
    let started = server.launch().and_then(|()| match layout {
        PostgresLayout::Secure => server.api.sql("postgres", secure::USERS).map(drop),
        _ => Ok(()),
    });
    match started {
        Ok(()) => server.release(),
        // Waited for here, so that no zombie stays behind while this process lives.
        Err(_) => server.end()?,
    }
    started
}

/// Whether what listens there can be used.
pub(crate) fn answers(port: u16) -> bool {
    server::answers(port)
}

/// Gives back what a killed one left.
pub(crate) fn tidy(directory: &Path) -> Result<(), BrokersError> {
    shared_memory::give_back(&directory.join(DATA))
}

/// What ends it without waiting for its clients to go.
pub(crate) const STOP: Signal = Signal::INT;
