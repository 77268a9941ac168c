//! Free ports, reserved on this machine for as long as they are held.
//!
//! They lie below the range from which the system gives out ports to clients: a node that is down for a while would
//! otherwise lose its port to somebody's outgoing connection. A locked file for each keeps other processes of ours away,
//! also while nobody listens. Everybody else is a race, which shows when the server starts and is then tried again.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::error::BrokersError;
use crate::place;

const FROM: u16 = 20_000;
const TO: u16 = 32_000;
const TRIES: usize = 2_000;

/// A port that nobody else of ours takes while this lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

/// Reserves so many ports.
pub(crate) fn reserve(count: usize) -> Result<Vec<Port>, BrokersError> {
    let directory = directory();
    std::fs::create_dir_all(&directory).map_err(BrokersError::file("create", &directory))?;
    let mut ports = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if ports.len() == count {
            return Ok(ports);
        }
        let number = fastrand::u16(FROM..TO);
        let path = directory.join(number.to_string());
        let file = File::create(&path).map_err(BrokersError::file("create", &path))?;
        if file.try_lock().is_ok() && is_free(number) {
            ports.push(Port { number, _lock: file });
        }
    }
    match ports.len() == count {
        true => Ok(ports),
        false => Err(BrokersError::NoPort { from: FROM, to: TO }),
    }
}

/// Reserves one.
pub(crate) fn reserve_one() -> Result<Port, BrokersError> {
    reserve(1)?
        .pop()
        .ok_or(BrokersError::NoPort { from: FROM, to: TO })
}

/// The files are empty and stay: to remove one would take it from somebody who is about to lock it.
fn directory() -> PathBuf {
    place::home().join("ports")
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_given_to_nobody_else_and_a_taken_one_not_at_all() {
        let first = reserve(300).unwrap();
        let second = reserve(300).unwrap();
        for port in &first {
            assert!(second.iter().all(|other| other.number != port.number));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first[0].number)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
