//! The verbs, one file each.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod describe;
pub(crate) mod dlq;
pub(crate) mod groups;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod new;
pub(crate) mod publish;
#[cfg(feature = "sql")]
pub(crate) mod sql;
pub(crate) mod tail;
pub(crate) mod topics;

use crate::args::{Cli, Verb};
use crate::error::CliError;
use crate::exit::Exit;
use crate::out::Out;

/// Does what the command line says.
pub(crate) fn run(cli: Cli, out: &mut Out) -> Result<Exit, CliError> {
    let Cli { global, verb } = cli;
    // Verbs that need no broker.
    match verb {
        Verb::New(args) => return new::run(&args, out),
        Verb::Completions(args) => return completions::run(&args, out),
        Verb::Man(args) => return man::run(&args, out),
        Verb::Config(args) => return config::run(&global, &args, out),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start", error))?;
    let done = runtime.block_on(async {
        match verb {
            Verb::Publish(args) => publish::run(&global, args, out).await,
            Verb::Tail(args) => tail::run(&global, args, out).await,
            Verb::Topics(args) => topics::run(&global, args, out).await,
            Verb::Groups(args) => groups::run(&global, args, out).await,
            Verb::Dlq(args) => dlq::run(&global, args, out).await,
            Verb::Log(args) => log::run(&global, args, out).await,
            #[cfg(feature = "sql")]
            Verb::Sql(args) => sql::run(args, out).await,
            Verb::Describe(args) => describe::run(&global, &args, out).await,
            Verb::New(_) | Verb::Completions(_) | Verb::Man(_) | Verb::Config(_) => Ok(Exit::Done),
        }
    });
    if matches!(done, Err(CliError::Interrupted { .. })) {
        // What still reads or copies is not waited for.
        runtime.shutdown_background();
    }
    done
}
