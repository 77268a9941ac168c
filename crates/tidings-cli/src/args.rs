//! What can be written on the command line: [`Cli`].

use crate::out::{Form, Remarks};
#[cfg(feature = "sql")]
use crate::verbs::sql;
use crate::verbs::{completions, config, describe, dlq, groups, log, man, new, publish, tail, topics};
use clap::{ArgAction, Args, Parser, Subcommand};
use std::path::PathBuf;

/// Look into, publish to and repair what services talk about.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    bin_name = "tidings",
    version,
    disable_help_subcommand = true,
    infer_long_args = false,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
The broker is the one of the project's tidings.toml in the current directory, or the one of --url. Every verb also \
works while the app runs.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not found, 4 refused until you confirm, 5 the broker is \
away or held by somebody else, 6 damaged, 130 interrupted.";

/// What every verb understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where and how")]
pub(crate) struct Global {
    /// The broker's address, as the app has it: embedded:DIRECTORY or kafka://HOST:PORT. The configuration is not read
    /// then
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["config", "profile", "binder"])]
    pub(crate) url: Option<String>,
    /// Read this configuration and not tidings.toml in the current directory
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The profile of the configuration, as TIDINGS_PROFILE
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The binder of the configuration; the one of the channel if a channel is named, otherwise main
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) binder: Option<String>,
    /// Tables for people or JSON lines for programs; tables on a terminal, JSON otherwise
    #[arg(long, global = true, value_name = "FORM", conflicts_with = "json")]
    output: Option<Form>,
    /// The same as --output json
    #[arg(long, global = true)]
    json: bool,
    /// No remarks and no progress on the standard error
    #[arg(long, short, global = true, action = ArgAction::SetTrue)]
    quiet: bool,
}

impl Global {
    /// The form that was asked for.
    pub(crate) fn form(&self) -> Option<Form> {
        if self.json { Some(Form::Json) } else { self.output }
    }

    /// Whether remarks are wanted.
    pub(crate) fn remarks(&self) -> Remarks {
        if self.quiet {
            Remarks::Hidden
        } else {
            Remarks::Shown
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a new project that compiles, runs and has a test
    New(new::NewArgs),
    /// Publish messages to a channel or topic
    #[command(visible_alias = "pub")]
    Publish(publish::PublishArgs),
    /// Show messages: the last ones, from a place on, or as they come
    Tail(tail::TailArgs),
    /// List topics, or the partitions of one
    Topics(topics::TopicsArgs),
    /// See how far groups are, and put them elsewhere
    Groups(groups::GroupsArgs),
    /// Look at dead letters, send them back, discard them
    Dlq(dlq::DlqArgs),
    /// Verify, repair or copy what the broker has stored
    Log(log::LogArgs),
    /// Make the tables of the SQL inbox and outbox, or print them
    #[cfg(feature = "sql")]
    Sql(sql::SqlArgs),
    /// Show the effective configuration and where each value comes from
    Config(config::ConfigArgs),
    /// Show what the running app is made of
    Describe(describe::DescribeArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_and_every_argument_is_explained() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
