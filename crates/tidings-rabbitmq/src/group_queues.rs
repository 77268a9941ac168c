//! What lies in the queues of a group: [`count`].

use crate::layout::Layout;
use crate::letters::letters_queue;
use crate::topology::Topology;
use crate::waits::queues_of_waits;
use std::sync::Arc;
use tidings_core::{BinderError, DestinationRole, GroupQueue, retry_destination};

/// Asks for each of them. The first one has to be there, the others are made when they are needed.
pub(crate) async fn count(
    topology: &Topology,
    layout: &Layout,
    group: &str,
) -> Result<Vec<GroupQueue>, BinderError> {
    let destination = &layout.destination;
    let read = layout.queue(Some(group), topology).name;
    let retry: Arc<str> = retry_destination(destination, group).into();
    let letters = letters_queue(destination, group).into();
    let mut queues = vec![ask(topology, read, DestinationRole::Messages).await?];
    let waits = queues_of_waits(&retry).map(|name| (name, DestinationRole::Retry));
    let others = [(retry.clone(), DestinationRole::Retry)]
        .into_iter()
        .chain(waits)
        .chain([(letters, DestinationRole::DeadLetters)]);
    for (name, role) in others {
        match ask(topology, name, role).await {
            Err(BinderError::UnknownDestination { .. }) => {}
            asked => queues.push(asked?),
        }
    }
    Ok(queues)
}

async fn ask(topology: &Topology, name: Arc<str>, role: DestinationRole) -> Result<GroupQueue, BinderError> {
    let (waiting, readers) = topology.counts(&name).await?;
    Ok(GroupQueue {
        name,
        role,
        waiting: waiting.into(),
        readers,
    })
}
