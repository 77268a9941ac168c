//! The database under attack: [`Home`].

use super::plan::{SlotLoss, Trouble};
use crate::error::ChaosError;
use crate::history::Store;
use brokers::{BrokersError, CommitFault, CommitProxy, Postgres, PostgresOptions};
use std::path::Path;
use std::time::Duration;

/// Its name on the server.
const DATABASE: &str = "chaos";
/// Of so many COMMITs one loses its connection, while they do.
const EVERY: u64 = 5;
/// A slot that relays read moves on, and may be read again at once: so often it is tried to do something to it.
const TRIES: u32 = 20;
/// A server with this setting keeps only the segment that it writes to for slots.
const KEEP_NOTHING: &str = "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; SELECT pg_reload_conf()";
const KEEP_ALL: &str = "ALTER SYSTEM RESET max_slot_wal_keep_size; SELECT pg_reload_conf()";

/// A database that processes use, and that can be harmed.
#[derive(Debug)]
pub(super) enum Home {
    /// A server of the campaign's own, and what stands before it.
    Postgres(Box<(CommitProxy, Postgres)>),
    /// A file.
    Sqlite(String),
}

impl Home {
    /// A new database, whose file lies in that directory if it is one.
    pub(super) fn new(store: Store, directory: &Path) -> Result<Self, ChaosError> {
        match store {
            Store::Sqlite => {
                let file = directory.join("chaos.db");
                Ok(Self::Sqlite(format!("sqlite:{}", file.display())))
            }
            Store::Postgres => {
                let options = PostgresOptions::durable().setting("deadlock_timeout", "40ms");
                let server = Postgres::start(options).map_err(ChaosError::service)?;
                let created = server
                    .api()
                    .sql("postgres", &format!("CREATE DATABASE {DATABASE}"));
                created.map_err(ChaosError::service)?;
                let url = server.url();
                let host = url.rsplit('@').next().unwrap_or_default();
                let proxy = CommitProxy::start(host).map_err(ChaosError::service)?;
                Ok(Self::Postgres(Box::new((proxy, server))))
            }
        }
    }

    /// Where the campaign itself finds it, past all faults.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Sqlite(url) => url.clone(),
            Self::Postgres(parts) => format!("{}/{DATABASE}", parts.1.url()),
        }
    }

    /// Where a service finds it. The second one has the strictest isolation.
    pub(super) fn url_of(&self, service: usize) -> String {
        match self {
            Self::Sqlite(url) => url.clone(),
            Self::Postgres(parts) => {
                let (proxy, server) = &**parts;
                let url = server.url();
                let user = url.rsplit_once('@').map_or(&*url, |(user, _)| user);
                let isolation = match service {
                    0 => "read%5C%20committed",
                    _ => "serializable",
                };
                format!(
                    "{user}@{}/{DATABASE}?options=-c%20default_transaction_isolation%3D{isolation}",
                    proxy.address()
                )
            }
        }
    }

    /// Harms it, and puts it right again after `away` or a moment; what was done, if it can be.
    pub(super) fn harm(&self, trouble: Trouble, away: Duration) -> Result<Option<&'static str>, ChaosError> {
        let Self::Postgres(parts) = self else {
            return Ok(None);
        };
        let (proxy, server) = &**parts;
        let broken = ChaosError::service;
        Ok(Some(match trouble {
            Trouble::KillServer => {
                server.kill().map_err(broken)?;
                std::thread::sleep(away);
                server.start_again().map_err(broken)?;
                "PostgreSQL killed"
            }
            Trouble::RestartServer => {
                server.stop().map_err(broken)?;
                std::thread::sleep(away);
                server.start_again().map_err(broken)?;
                "PostgreSQL restarted"
            }
            Trouble::Connections => {
                proxy.cut();
                "all connections to PostgreSQL cut"
            }
            Trouble::Slot(loss) => return lose_slot(server, loss).map_err(broken),
            Trouble::Commits(_) | Trouble::Broker(_) | Trouble::FreezeLeader | Trouble::FreezeAny => {
                return Ok(None);
            }
        }))
    }

    /// From now on some COMMITs lose their connection in that way, or none do.
    pub(super) fn cut_commits(&self, fault: Option<CommitFault>) {
        if let Self::Postgres(parts) = self {
            let every = if fault.is_some() { EVERY } else { 0 };
            parts.0.cut_every(every, fault.unwrap_or(CommitFault::Request));
        }
    }

    /// How many have lost it so far.
    pub(super) fn commits_cut(&self) -> u64 {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(parts) => parts.0.commits_cut(),
        }
    }
}

/// Something is done to the slot, if there is one; what.
fn lose_slot(server: &Postgres, loss: SlotLoss) -> Result<Option<&'static str>, BrokersError> {
    Ok(match loss {
        SlotLoss::Reader => cut_off(server)?.then_some("walsender terminated"),
        SlotLoss::Dropped => drop_slot(server)?.then_some("slot dropped"),
        SlotLoss::Invalidated => invalidate(server)?.then_some("slot invalidated"),
    })
}

/// Ends the server's process that reads the slot; whether there was one.
fn cut_off(server: &Postgres) -> Result<bool, BrokersError> {
    // With a time it waits until that has ended.
    let ended = "SELECT count(pg_terminate_backend(active_pid, 5000)) FROM pg_replication_slots WHERE active";
    Ok(server.api().sql(DATABASE, ended)? != "0")
}

/// Whether there was one. Nobody can drop one that is read.
fn drop_slot(server: &Postgres) -> Result<bool, BrokersError> {
    let drop_it = "SELECT slot_name, pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
    let mut tries = 0..TRIES;
    loop {
        cut_off(server)?;
        match server.api().sql(DATABASE, drop_it) {
            Err(_) if tries.next().is_some() => {}
            dropped => return dropped.map(|dropped| !dropped.is_empty()),
        }
    }
}

/// The server goes on to another segment of its log, and keeps none but that.
fn invalidate(server: &Postgres) -> Result<bool, BrokersError> {
    server.api().sql(DATABASE, KEEP_NOTHING)?;
    let turn = "SELECT pg_switch_wal(); CHECKPOINT";
    let lost = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'";
    let mut is_lost = false;
    for _ in 0..TRIES {
        server.api().sql(DATABASE, turn)?;
        is_lost = server.api().sql(DATABASE, lost)? != "0";
        if is_lost {
            break;
        }
    }
    server.api().sql(DATABASE, KEEP_ALL)?;
    Ok(is_lost)
}
