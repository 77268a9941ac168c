//! What configuration says of the relay: [`RelayPlan::configured`].

use super::{ParkedKeys, RelayMode, RelayOptions, RelayPlan};
use crate::replication::{BehindLimit, ReplicationOptions};
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use tidings_config::{
    SqlBehindLimit, SqlConfig, SqlParkedKeys, SqlRelayConfig, SqlRelayMode, SqlReplicationConfig,
};

macro_rules! take {
    ($options:ident from $config:ident: $($key:ident),*) => {$(
        if let Some(said) = &$config.$key {
            $options = $options.$key(said.value.clone());
        }
    )*};
}

impl RelayPlan {
    /// The defaults, and what configuration says. What is wrong with an address is told when a store is opened.
    pub(crate) fn configured(config: &SqlConfig) -> Self {
        let mode = config.relay.mode.as_ref().map(|said| said.value);
        let url = config.replication.url.as_ref().map(|said| &said.value);
        let connect = url.map(|url| {
            let known = matches!(url.scheme(), "postgres" | "postgresql");
            let connect = PgConnectOptions::from_str(url.expose()).ok().filter(|_| known);
            connect.ok_or_else(|| {
                format!("sql.replication.url = \"{url}\" is no address of a PostgreSQL: write postgres://user:password@host:5432/database")
            })
        });
        let mut replication = replication(&config.replication);
        let fault = match connect {
            Some(Ok(connect)) => {
                replication = replication.connect(connect);
                None
            }
            Some(Err(fault)) => Some(fault),
            None => None,
        };
        Self {
            mode: match mode {
                Some(SqlRelayMode::Replication) => RelayMode::Replication,
                Some(SqlRelayMode::Off) => RelayMode::Off,
                Some(SqlRelayMode::Polling) | None => RelayMode::Polling,
            },
            options: options(&config.relay),
            replication,
            fault,
        }
    }
}

fn options(config: &SqlRelayConfig) -> RelayOptions {
    let mut options = RelayOptions::default();
    take!(options from config: batch, batch_bytes, lease, poll_interval, publish_timeout);
    take!(options from config: longest_backoff, backlog_interval, fence, fence_idle, holder);
    match config.parked_keys.as_ref().map(|said| said.value) {
        Some(SqlParkedKeys::Wait) => options.parked_keys(ParkedKeys::Wait),
        Some(SqlParkedKeys::GoOn) => options.parked_keys(ParkedKeys::GoOn),
        None => options,
    }
}

fn replication(config: &SqlReplicationConfig) -> ReplicationOptions {
    let mut options = ReplicationOptions::default();
    take!(options from config: slot, publication, max_in_flight, max_in_flight_bytes);
    take!(options from config: status_interval, lag_interval, lag_limit);
    match config.behind_limit.as_ref().map(|said| said.value) {
        Some(SqlBehindLimit::Poll) => options.behind_limit(BehindLimit::Poll),
        Some(SqlBehindLimit::Alarm) => options.behind_limit(BehindLimit::Alarm),
        None => options,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Postgres, Sqlite};
    use std::time::Duration;
    use tidings_config::Config;

    fn plan(text: &str) -> RelayPlan {
        let config = Config::from_toml(text, "tidings.toml").unwrap();
        RelayPlan::configured(&config.sql())
    }

    #[test]
    fn every_key_of_the_configuration_counts() {
        let RelayPlan {
            mode,
            options,
            replication,
            fault,
        } = plan(
            "[sql.relay]\nmode = \"replication\"\nbatch = 2\nbatch_bytes = \"3KiB\"\nlease = \"4s\"\npoll_interval = \"5s\"\n\
             publish_timeout = \"6s\"\nlongest_backoff = \"7s\"\nbacklog_interval = \"8s\"\nparked_keys = \"wait\"\nfence = false\nfence_idle = \"18s\"\nholder = \"9\"\n\
             [sql.replication]\nslot = \"ten\"\npublication = \"eleven\"\nurl = \"postgres://me@twelve/db\"\nmax_in_flight = 13\n\
             max_in_flight_bytes = \"14KiB\"\nstatus_interval = \"15s\"\nlag_interval = \"16s\"\nlag_limit = \"17MiB\"\n\
             behind_limit = \"poll\"\n",
        );
        let secs = Duration::from_secs;
        assert_eq!((mode, fault), (RelayMode::Replication, None));
        assert_eq!(
            (options.batch, options.batch_bytes, options.lease),
            (2, 3 << 10, secs(4))
        );
        assert_eq!(
            (options.poll_interval, options.publish_timeout),
            (secs(5), secs(6))
        );
        assert_eq!(
            (options.longest_backoff, options.backlog_interval),
            (secs(7), secs(8))
        );
        assert_eq!(
            (options.parked_keys, options.holder.as_str()),
            (ParkedKeys::Wait, "9")
        );
        assert!(!options.fence && RelayOptions::default().fence);
        assert_eq!(options.fence_idle, secs(18));
        let named = (replication.slot.as_deref(), replication.publication.as_deref());
        assert_eq!(named, (Some("ten"), Some("eleven")));
        assert_eq!(replication.connect.unwrap().get_host(), "twelve");
        assert_eq!(
            (replication.max_in_flight, replication.max_in_flight_bytes),
            (13, 14 << 10)
        );
        assert_eq!(
            (replication.status_interval, replication.lag_interval),
            (secs(15), secs(16))
        );
        assert_eq!(
            (replication.lag_limit, replication.behind_limit),
            (17 << 20, BehindLimit::Poll)
        );
    }

    #[test]
    fn what_cannot_be_is_told_with_its_cure_and_without_a_password() {
        let wrong = |text: &str| {
            let text = format!("[sql.relay]\nmode = \"replication\"\n[sql.replication]\n{text}");
            plan(&text).check::<Postgres>().unwrap_err().to_string()
        };
        let told = wrong("url = \"mysql://me:pw@there/db\"");
        assert!(
            told.contains("sql.replication.url") && !told.contains("pw"),
            "{told}"
        );
        assert!(wrong("slot = \"Shop-7\"").contains("Shop-7"));
        let told = plan("[sql.relay]\nmode = \"replication\"")
            .check::<Sqlite>()
            .unwrap_err();
        assert!(
            told.to_string().contains("sql.relay.mode = \"polling\""),
            "{told}"
        );
        assert!(plan("").check::<Sqlite>().is_ok());
    }
}
