//! Kafka: everybody may ask its brokers, beside the services that use them.

use super::server::{answers, failed, options_error};
use crate::error::CliError;
use std::sync::Arc;
use tidings_config::{BinderConfig, BinderUrl};
use tidings_core::DynBinder;
use tidings_kafka::{ClientOptions, KafkaBinder};
use tidings_manage::Connection;

/// Connects, and asks a first question, so that a broker that is away is told from whatever is asked next.
pub(super) async fn open(url: &BinderUrl, settings: &BinderConfig) -> Result<Connection, CliError> {
    let options = ClientOptions::from_config(url, settings).map_err(|error| options_error(url, error))?;
    let binder = KafkaBinder::open(options).map_err(|error| failed(url, error.to_string()))?;
    let binder: Arc<dyn DynBinder> = Arc::new(binder);
    answers(url, &*binder, binder.destinations()).await?;
    Ok(Connection::to_server(binder.clone()))
}
