//! RabbitMQ: everybody may ask it, beside the services that use it.

use super::server::{answers, failed, options_error};
use crate::error::CliError;
use std::sync::Arc;
use tidings_config::{BinderConfig, BinderUrl, RabbitmqChannelConfig};
use tidings_manage::Connection;
use tidings_rabbitmq::{ClientOptions, DestinationOptions, RabbitBinder};

/// Connects, so that a server that is away, or lets nobody in, is told from whatever is asked next.
pub(super) async fn open(
    url: &BinderUrl,
    settings: &BinderConfig,
    destinations: &[(String, RabbitmqChannelConfig)],
) -> Result<Connection, CliError> {
    let mut options = ClientOptions::from_config(url, settings).map_err(|error| options_error(url, error))?;
    for (name, said) in destinations {
        let said = DestinationOptions::from_config(said).map_err(|error| {
            CliError::usage(
                format!("{name} on {url}: {error}"),
                "tidings config reference explains every key",
            )
        })?;
        // Of two channels with one destination only one has to say it.
        if said != DestinationOptions::default() {
            options = options.with_destination(name, said);
        }
    }
    let binder = RabbitBinder::open(options).map_err(|error| failed(url, error.to_string()))?;
    let binder = Arc::new(binder);
    answers(url, &*binder, binder.connected()).await?;
    Ok(Connection::to_server(binder))
}
