//! Brokers that are servers: whether one answers. [`answers`]

use crate::error::CliError;
use std::time::Duration;
use tidings_config::BinderUrl;
use tidings_core::{BinderError, BinderHealth, DynBinder};
use tokio::time::Instant;

/// Who waits at a terminal is told after this time that no broker answers; clients try for ever.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is asked whether one does.
const LOOK: Duration = Duration::from_millis(50);

/// That a broker cannot be opened.
pub(super) fn failed(url: &BinderUrl, reason: String) -> CliError {
    CliError::Broker {
        url: url.to_string(),
        error: BinderError::Open {
            url: url.to_string(),
            reason,
        },
    }
}

/// That its settings are wrong.
pub(super) fn options_error(url: &BinderUrl, error: BinderError) -> CliError {
    match error {
        BinderError::Open { reason, .. } => CliError::usage(
            format!("{url} cannot be opened: {reason}"),
            "tidings config reference explains every key",
        ),
        error => failed(url, error.to_string()),
    }
}

/// Waits for the answer to a first question, as long as the broker is there.
pub(super) async fn answers<T>(
    url: &BinderUrl,
    binder: &dyn DynBinder,
    question: impl Future<Output = Result<T, BinderError>>,
) -> Result<(), CliError> {
    tokio::select! {
        answer = question => match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(url, error.to_string())),
        },
        reason = stays_away(binder) => Err(failed(url, reason)),
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
