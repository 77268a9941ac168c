//! Kafka: everybody may ask its brokers, beside the services that use them.

use crate::error::CliError;
use std::sync::Arc;
use std::time::Duration;
use tidings_config::{BinderConfig, BinderUrl};
use tidings_core::{BinderError, BinderHealth, DynBinder};
use tidings_kafka::{ClientOptions, KafkaBinder};
use tidings_manage::Connection;
use tokio::time::Instant;

/// Who waits at a terminal is told after this time that no broker answers; clients try for ever.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is asked whether one does.
const LOOK: Duration = Duration::from_millis(50);

/// Connects, and asks a first question, so that a broker that is away is told from whatever is asked next.
pub(super) async fn open(url: &BinderUrl, settings: &BinderConfig) -> Result<Connection, CliError> {
    let failed = |reason: String| CliError::Broker {
        url: url.to_string(),
        error: BinderError::Open {
            url: url.to_string(),
            reason,
        },
    };
    let options = ClientOptions::from_config(url, settings).map_err(|error| match error {
        BinderError::Open { reason, .. } => CliError::usage(
            format!("{url} cannot be opened: {reason}"),
            "tidings config reference explains every key",
        ),
        error => failed(error.to_string()),
    })?;
    let binder = KafkaBinder::open(options).map_err(|error| failed(error.to_string()))?;
    let binder: Arc<dyn DynBinder> = Arc::new(binder);
    tokio::select! {
        answer = binder.destinations() => match answer {
            Ok(_) => Ok(Connection::to_server(binder.clone())),
            Err(error) => Err(failed(error.to_string())),
        },
        reason = stays_away(&*binder) => Err(failed(reason)),
    }
}

/// Resolves when no broker has answered for a while.
async fn stays_away(binder: &dyn DynBinder) -> String {
    let mut since = None;
    loop {
        match binder.health() {
            BinderHealth::Up => since = None,
            BinderHealth::Down(reason) => {
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE {
                    return reason;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
