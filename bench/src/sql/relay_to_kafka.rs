//! W9-fence: what is in the outbox goes to a real Kafka.

use std::time::Duration;

use sqlx::Postgres;
use tidings_core::DynBinder;
use tidings_kafka::{ClientOptions, KafkaBinder};
use tidings_sql::{Relay, RelayOptions, SqlStore};

use super::broken;
use crate::apart::job::{Job, Outcome, gauge};
use crate::error::BenchError;

/// Our relay, as the only one or not, until everything was sent and taken out. What came is for the broker to say.
pub(super) async fn ours(job: &Job, fence: bool) -> Result<Outcome, BenchError> {
    let gauge = gauge(job);
    let options = ClientOptions::from_url(&format!("kafka://{}", job.out));
    let options = options.map_err(BenchError::part("the broker's address"))?;
    let kafka = KafkaBinder::open(options).map_err(BenchError::part("Kafka"))?;
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let relay = Relay::new(
        &store,
        DynBinder::sink(&kafka),
        RelayOptions::default().fence(fence),
    );
    let status = relay.status();
    let running = tokio::spawn(relay.run(std::future::pending()));
    let mut counted = 0;
    while counted < job.total {
        tokio::time::sleep(Duration::from_millis(1)).await;
        while counted < status.sent().min(job.total) {
            gauge.hit(1);
            counted += 1;
        }
    }
    let reading = gauge.finished().await?;
    running.abort();
    Outcome::of(&reading)
}
