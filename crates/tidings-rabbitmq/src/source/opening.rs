//! From a connection to queues that are read: [`open`].

use super::lane::{OwnChannel, Reading};
use crate::connection::{Link, Live, PATIENCE};
use crate::options::ClientOptions;
use crate::topology::{QueueSpec, declare};
use crate::trouble::{Kind, Trouble};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Create, SourceError};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// What a consumer is called on its channel, where it is alone. The server's own names are four times as long, come with each
/// message, and are looked at byte by byte.
const TAG: &str = "tidings";

/// Declares these queues and begins to read them with these arguments, each on a channel of its own.
pub(super) async fn open(
    link: Arc<Link>,
    options: Arc<ClientOptions>,
    queues: Vec<(QueueSpec, FieldTable)>,
    wait: Duration,
) -> Result<Vec<Reading>, SourceError> {
    tokio::time::sleep(wait).await;
    let opened = timeout(PATIENCE, async {
        let live = link.live().await?;
        let mut readings = Vec::with_capacity(queues.len());
        for (queue, from) in &queues {
            let reading = read(&live, &options, queue, from, link.runtime()).await;
            readings.push(reading.map_err(|error| refused(queue, &Trouble::of(&error, options.auth())))?);
        }
        Ok(readings)
    });
    opened.await.unwrap_or_else(|_| Err(link.silent()))
}

async fn read(
    live: &Live,
    options: &ClientOptions,
    queue: &QueueSpec,
    from: &FieldTable,
    runtime: &Handle,
) -> Result<Reading, lapin::Error> {
    let own = OwnChannel {
        channel: live.connection.create_channel().await?,
        runtime: runtime.clone(),
    };
    let channel = &own.channel;
    declare(channel, queue).await?;
    let prefetch = queue.prefetch.unwrap_or(options.consuming().prefetch);
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let consuming = channel.basic_consume(
        ShortString::from(&*queue.name),
        ShortString::from(TAG),
        BasicConsumeOptions::default(),
        from.clone(),
    );
    let consumer = consuming.await?;
    Ok(Reading {
        channel: own,
        consumer,
    })
}

/// Somebody may put it right while the service runs, so none of it is for good.
fn refused(queue: &QueueSpec, trouble: &Trouble) -> SourceError {
    let reason = format!("reading the queue \"{}\": {trouble}", queue.name);
    match (trouble.code, trouble.kind) {
        (Some(403), _) | (_, Kind::Denied) => SourceError::Unauthorized { reason },
        (Some(404), _) if queue.create == Create::Never => SourceError::Unavailable {
            reason: format!(
                "{reason}; make it, or let it be made with create = \"if-missing\" in its channel"
            ),
        },
        (Some(406), _) => SourceError::Unavailable {
            reason: format!(
                "{reason}; delete it or make it alike, or take it as it is with create = \"never\" in its channel"
            ),
        },
        _ => SourceError::Unavailable { reason },
    }
}
