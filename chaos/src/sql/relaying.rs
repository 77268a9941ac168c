//! The relay of a process, of either kind.

use super::child::Order;
use super::database::TestDb;
use super::relays::Relaying;
use super::scene::Scene;
use super::tap::Tap;
use crate::error::ChaosError;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;
use tidings_sql::sqlx::postgres::{PgConnectOptions, PgSslMode};
use tidings_sql::{Relay, RelayOptions, ReplicationOptions, ReplicationRelay};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long after the death of a relay another one takes over.
pub(super) const LEASE: Duration = Duration::from_millis(700);
/// How many messages a relay sends at once.
const BATCH: usize = 64;
/// How often a server is told how far everything is done with.
const STATUS_INTERVAL: Duration = Duration::from_millis(30);
/// How often a relay looks whether something lies in the table that has not come.
const LAG_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the relay of a process. It runs until `stopped` is dropped.
pub(super) async fn start<DB: TestDb>(
    order: &Order,
    scene: &Scene<DB>,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, ChaosError> {
    let options = RelayOptions::default()
        .lease(LEASE)
        .poll_interval(Duration::from_millis(50))
        .publish_timeout(Duration::from_secs(3))
        .longest_backoff(Duration::from_millis(300))
        .batch(BATCH)
        .holder(order.incarnation.to_string());
    let stop = async move { drop(stopped.await) };
    if order.relaying == Relaying::Polling {
        let relay = Relay::new(&scene.store, scene.sink.clone(), options);
        return Ok(tokio::spawn(relay.run(stop)));
    }
    let store = DB::as_postgres(&scene.store)
        .ok_or_else(|| ChaosError::Usage("only PostgreSQL can be replicated".to_owned()))?;
    let relay = ReplicationRelay::new(
        store,
        scene.sink.clone(),
        options,
        replication(order, scene).await?,
    );
    Ok(tokio::spawn(relay.map_err(ChaosError::service)?.run(stop)))
}

/// By a way of its own to the same server, behind which are the cuts that meet all connections.
async fn replication<DB: TestDb>(order: &Order, scene: &Scene<DB>) -> Result<ReplicationOptions, ChaosError> {
    let connect = PgConnectOptions::from_str(&order.url).map_err(ChaosError::service)?;
    let server = format!("{}:{}", connect.get_host(), connect.get_port());
    let tap = Tap::new(server, scene.steps.clone(), scene.history.clone());
    let address = tap.start().await.map_err(ChaosError::service)?;
    let connect = connect
        .host(&Ipv4Addr::LOCALHOST.to_string())
        .port(address.port());
    Ok(ReplicationOptions::default()
        .connect(connect.ssl_mode(PgSslMode::Disable))
        .status_interval(STATUS_INTERVAL)
        .lag_interval(LAG_INTERVAL))
}
