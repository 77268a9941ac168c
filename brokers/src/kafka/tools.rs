//! Kafka's own command line tools and kcat, as the judge of what we write: [`ToolRun`].

use std::ffi::OsString;
use std::time::Duration;

use super::jars::Jars;
use crate::error::BrokersError;
use crate::programs::{self, Run};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that talks to a Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tool {
    /// `kafka-topics`
    Topics,
    /// `kafka-consumer-groups`
    Groups,
    /// `kafka-acls`
    Acls,
    /// `kafka-configs`
    Configs,
    /// `kafka-leader-election`
    LeaderElection,
    /// `kafka-transactions`
    Transactions,
    /// `kafka-console-producer`; it sends the lines of its input.
    Producer,
    /// `kafka-console-consumer`; give it `--max-messages` or `--timeout-ms`, or it reads until its deadline.
    Consumer,
    /// `kcat`, which stands on librdkafka and is not Kafka's own. Its version in Debian cannot do SCRAM with Kafka 4.
    Kcat,
}

impl Tool {
    fn class(self) -> Option<&'static str> {
        Some(match self {
            Self::Topics => "org.apache.kafka.tools.TopicCommand",
            Self::Groups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            Self::Acls => "org.apache.kafka.tools.AclCommand",
            Self::Configs => "kafka.admin.ConfigCommand",
            Self::LeaderElection => "org.apache.kafka.tools.LeaderElectionCommand",
            Self::Transactions => "org.apache.kafka.tools.TransactionsCommand",
            Self::Producer => "org.apache.kafka.tools.ConsoleProducer",
            Self::Consumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Self::Kcat => return None,
        })
    }
}

/// One run of a [`Tool`]; [`run`](Self::run) starts it.
#[derive(Debug)]
#[must_use = "nothing is started before `run`"]
pub struct ToolRun<'a> {
    jars: &'a Jars,
    tool: Tool,
    bootstrap: String,
    arguments: Vec<OsString>,
    stdin: Vec<u8>,
    deadline: Duration,
}

impl<'a> ToolRun<'a> {
    pub(crate) fn new(jars: &'a Jars, tool: Tool, bootstrap: String) -> Self {
        Self {
            jars,
            tool,
            bootstrap,
            arguments: Vec::new(),
            stdin: Vec::new(),
            deadline: PATIENCE,
        }
    }

    /// Arguments; the address of the broker is among them already.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// What it reads from its standard input.
    pub fn stdin(self, stdin: impl Into<Vec<u8>>) -> Self {
        Self {
            stdin: stdin.into(),
            ..self
        }
    }

    /// Another address, where the usual listener is not meant.
    pub fn bootstrap(self, bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            ..self
        }
    }

    /// It is killed after that time; default 60 s.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Runs it to its end and gives what it printed.
    ///
    /// # Errors
    /// It is not installed, fails, or does not end in time; each with the end of its output.
    pub fn run(self) -> Result<String, BrokersError> {
        let run = match self.tool.class() {
            Some(class) => {
                let mut arguments = vec!["--bootstrap-server".into(), self.bootstrap.into()];
                arguments.extend(self.arguments);
                self.jars.tool(class, &arguments, self.stdin, self.deadline)
            }
            None => kcat(self.bootstrap, self.arguments, self.stdin, self.deadline)?,
        };
        let printed = run.run()?;
        Ok(String::from_utf8_lossy(&printed.stdout).into_owned())
    }
}

fn kcat(
    bootstrap: String,
    more: Vec<OsString>,
    stdin: Vec<u8>,
    deadline: Duration,
) -> Result<Run, BrokersError> {
    let words: Vec<_> = more.iter().map(|argument| argument.to_string_lossy()).collect();
    let title = format!("kcat -b {bootstrap} {}", words.join(" "));
    let mut arguments = vec!["-b".into(), bootstrap.into()];
    arguments.extend(more);
    Ok(Run {
        program: programs::find(&programs::KCAT)?,
        arguments,
        variables: Vec::new(),
        directory: None,
        stdin,
        deadline,
        title,
    })
}
