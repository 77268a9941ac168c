//! `tidings log`: what the embedded broker has stored is read, repaired, copied.

mod repair;
mod snapshot;
mod verify;

use crate::args::Global;
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::{Out, Progress};
use clap::{Args, Subcommand};

/// What `log` understands.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Read every byte and say what is wrong; works beside a running app
    Verify(verify::VerifyArgs),
    /// Make a damaged directory usable again, and keep everything that can be read
    Repair(repair::RepairArgs),
    /// Copy everything, consistently, also while the app runs
    Snapshot(snapshot::SnapshotArgs),
}

/// Verifies, repairs or copies.
pub(crate) async fn run(global: &Global, args: LogArgs, out: &mut Out) -> Result<Exit, CliError> {
    match args.what {
        What::Verify(args) => verify::run(global, &args, out).await,
        What::Repair(args) => repair::run(global, &args, out).await,
        What::Snapshot(args) => snapshot::run(global, &args, out).await,
    }
}

/// Does long work on a thread of its own, until it is done or ctrl-C comes; `left` says what is left of it then.
async fn long<T: Send + 'static>(
    progress: Progress,
    left: &str,
    work: impl FnOnce(&Progress) -> T + Send + 'static,
) -> Result<T, CliError> {
    // Taken away when this returns, also when the work goes on.
    let here = progress.share();
    let working = tokio::task::spawn_blocking(move || work(&progress));
    let done = tokio::select! {
        done = working => done,
        _ = tokio::signal::ctrl_c() => {
            drop(here);
            return Err(CliError::Interrupted { done: left.to_owned() });
        }
    };
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => CliError::Interrupted {
            done: left.to_owned(),
        },
    })
}
