//! Opening a broker by its address: [`open`].

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod server;

use super::{Address, Intent};
use crate::error::CliError;
use std::path::Path;
use tidings_config::{BinderUrl, nearest};
use tidings_manage::{Connection, connect};

/// What an address may begin with.
const SCHEMES: [&str; 5] = ["embedded", "memory", "kafka", "amqp", "amqps"];

/// Asks the running app that owns the broker, or opens it.
pub(super) async fn open(address: &Address, intent: Intent) -> Result<Connection, CliError> {
    let Address {
        url,
        origin,
        settings,
        on_rabbitmq,
        ..
    } = address;
    check(url, origin, intent)?;
    #[cfg(feature = "kafka")]
    if url.scheme() == "kafka" {
        return kafka::open(url, settings).await;
    }
    #[cfg(feature = "rabbitmq")]
    if is_rabbitmq(url) {
        return rabbitmq::open(url, settings, on_rabbitmq).await;
    }
    // Of no use to who was built without the drivers.
    let _ = (settings, on_rabbitmq);
    let wish = match intent {
        Intent::Read => tidings_manage::Intent::Read,
        Intent::Change | Intent::Create => tidings_manage::Intent::Change,
    };
    Ok(connect(url.expose(), wish).await?)
}

fn is_rabbitmq(url: &BinderUrl) -> bool {
    matches!(url.scheme(), "amqp" | "amqps")
}

/// Refuses what cannot be meant before anything is opened, because opening makes a directory that is missing.
pub(super) fn check(url: &BinderUrl, origin: &str, intent: Intent) -> Result<(), CliError> {
    match url.scheme() {
        scheme if !SCHEMES.contains(&scheme) => {
            let meant = nearest(scheme, SCHEMES).map(|meant| format!("did you mean {meant}:? "));
            Err(CliError::usage(
                format!("{url} ({origin}) names a broker that this program does not know"),
                format!(
                    "{}write embedded:DIRECTORY, kafka://HOST:PORT or amqp://USER:PASSWORD@HOST/VHOST",
                    meant.unwrap_or_default()
                ),
            ))
        }
        "kafka" if cfg!(not(feature = "kafka")) => Err(CliError::usage(
            format!("{url} ({origin}) is a Kafka, and this program was built without its driver"),
            "install it with the feature \"kafka\", which is one of its defaults",
        )),
        _ if is_rabbitmq(url) && cfg!(not(feature = "rabbitmq")) => Err(CliError::usage(
            format!("{url} ({origin}) is a RabbitMQ, and this program was built without its driver"),
            "install it with the feature \"rabbitmq\", which is one of its defaults",
        )),
        "memory" => Err(CliError::refused(
            format!("{url} ({origin}) lives in the memory of the app alone"),
            "run the app on embedded:DIRECTORY",
        )),
        "embedded" if Path::new(url.expose_rest()).is_file() => Err(CliError::missing(
            format!("{} ({origin}) is a file and no directory", url.expose_rest()),
            "name the directory of the broker with --url embedded:DIRECTORY",
        )),
        "embedded" if intent != Intent::Create && !Path::new(url.expose_rest()).is_dir() => {
            Err(CliError::missing(
                format!("there is no directory {} ({origin})", url.expose_rest()),
                "run this in the directory of your project, or name the broker with --url embedded:DIRECTORY",
            ))
        }
        _ => Ok(()),
    }
}
