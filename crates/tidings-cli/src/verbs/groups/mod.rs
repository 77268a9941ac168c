//! `tidings groups`.

mod list;
mod queues;
mod reset;

use crate::args::Global;
use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::unknown;
use crate::out::Out;
use clap::{Args, Subcommand};
use tidings_core::{GroupInfo, PartitionPosition, Progress};

/// What `groups` understands.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GroupsArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: list::LsArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the groups with their lag; what groups alone does
    Ls(list::LsArgs),
    /// Show where a group stands in each partition; on RabbitMQ what lies in its queues
    Show(list::ShowArgs),
    /// Let a group go on elsewhere
    Reset(reset::ResetArgs),
}

/// Looks at groups or moves one.
pub(crate) async fn run(global: &Global, args: GroupsArgs, out: &mut Out) -> Result<Exit, CliError> {
    match args.what {
        None => list::ls(global, &args.list, out).await,
        Some(What::Ls(args)) => list::ls(global, &args, out).await,
        Some(What::Show(args)) => list::show(global, &args, out).await,
        Some(What::Reset(args)) => reset::run(global, &args, out).await,
    }
}

/// The group of that name.
async fn group(broker: &Broker, name: &str) -> Result<GroupInfo, CliError> {
    let groups = broker.groups().await?;
    match groups.iter().find(|group| *group.name == *name) {
        Some(group) => Ok(group.clone()),
        None => {
            let known = groups
                .iter()
                .map(|group| &*group.name)
                .filter(|name| !is_recorder(name));
            Err(unknown("group", name, format!("in {}", broker.url()), known))
        }
    }
}

/// Whether it is only the memory of which dead letters were sent back.
pub(super) fn is_recorder(group: &str) -> bool {
    group.ends_with(".redrive")
}

/// Whether a topic holds the messages of a group that wait.
fn is_retry_of(topic: &str, group: &str) -> bool {
    topic
        .strip_suffix(".retry")
        .and_then(|rest| rest.strip_suffix(group))
        .is_some_and(|rest| rest.ends_with('.'))
}

/// How many messages of a partition the group has not finished.
fn lag(at: &PartitionPosition, progress: Option<&Progress>) -> u64 {
    let Some(progress) = progress else {
        return at.end.saturating_sub(at.first);
    };
    let from = progress.watermark.max(at.first);
    let open = at.end.saturating_sub(from);
    let finished = progress.finished.iter().map(|range| {
        let start = range.start.max(from);
        range.end.min(at.end).saturating_sub(start)
    });
    open.saturating_sub(finished.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_finished_above_the_watermark_is_no_lag() {
        let at = PartitionPosition {
            partition: 0,
            first: 10,
            end: 100,
            progress: None,
        };
        let progress = |watermark, finished: &[(u64, u64)]| Progress {
            watermark,
            finished: finished.iter().map(|(start, end)| *start..*end).collect(),
            attempts: Vec::new(),
        };
        assert_eq!(lag(&at, None), 90);
        assert_eq!(lag(&at, Some(&progress(100, &[]))), 0);
        assert_eq!(lag(&at, Some(&progress(90, &[(95, 97)]))), 8);
        assert_eq!(lag(&at, Some(&progress(0, &[(5, 12)]))), 88);
        assert_eq!(lag(&at, Some(&progress(500, &[]))), 0);
    }

    #[test]
    fn a_retry_topic_belongs_to_its_group() {
        assert!(is_retry_of("orders.billing.retry", "billing"));
        assert!(!is_retry_of("orders.billing.retry", "ling"));
        assert!(!is_retry_of("orders", "billing"));
    }
}
