//! One broker as a process: its files, its start, its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::jars::Jars;
use super::options::{Compiler, Layout, Options};
use super::plan::{self, NodePlan};
use super::security::{self, Security};
use super::wire;
use rustix::process::Signal;

use crate::error::BrokersError;
use crate::launch::{CommandLine, Life};
use crate::process::{self, Process, in_parallel};

/// Any id will do, since every cluster has its own directory; asking for a random one starts a JVM.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";
const FORMAT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a broker may take to hand over and to close its logs before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

const LOG4J: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=c
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
";

/// The files of one broker, from which it can be started any number of times.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) plan: NodePlan,
    properties: PathBuf,
    pub(crate) process: Process,
}

impl Node {
    /// Names the files; [`prepare`] makes them.
    pub(crate) fn new(options: &Options, jars: &Jars, plan: NodePlan, directory: &Path) -> Self {
        let properties = directory.join(format!("node-{}.properties", plan.id));
        let mut log4j = OsString::from("-Dlog4j2.configurationFile=");
        log4j.push(directory.join("log4j2.properties"));
        let mut flags: Vec<OsString> = vec!["-Xms128m".into(), format!("-Xmx{}m", options.heap_mb).into()];
        flags.extend(["-XX:+UseSerialGC".into(), log4j]);
        if options.compiler == Compiler::Quick {
            flags.push("-XX:TieredStopAtLevel=1".into());
        }
        if options.layout == Layout::Secure {
            flags.extend(security::java_flags(directory));
        }
        let command = CommandLine {
            words: jars.command(&flags, "kafka.Kafka", &[properties.clone().into()]),
            variables: Vec::new(),
        };
        Self {
            process: Process::node(options.layout.name(), plan.id, directory, command),
            properties,
            plan,
        }
    }

    fn format(&self, options: &Options, jars: &Jars) -> Result<(), BrokersError> {
        let mut arguments: Vec<OsString> = ["format", "-t", CLUSTER_ID, "-c"].map(OsString::from).to_vec();
        arguments.push(self.properties.clone().into());
        if options.layout == Layout::Secure {
            arguments.extend(security::format_arguments());
        }
        let run = jars.tool("kafka.tools.StorageTool", &arguments, Vec::new(), FORMAT_PATIENCE);
        run.run().map(drop)
    }

    /// Waits until it answers and knows itself and `brokers` brokers in all. It answers nobody before it has its place
    /// in the cluster, so what others remember of an earlier life of it cannot deceive us.
    pub(crate) fn wait_ready(&self, brokers: usize, patience: Duration) -> Result<(), BrokersError> {
        self.process
            .wait_ready(patience, || match wire::metadata(self.plan.plain_port(), None) {
                Ok(known) if known.brokers.len() >= brokers && known.brokers.contains(&self.plan.id) => {
                    Ok(())
                }
                Ok(known) => Err(format!("it knows the brokers {:?}", known.brokers)),
                Err(error) => Err(error.to_string()),
            })
    }
}

/// Writes what all nodes start from, and formats their storage at the same time.
pub(crate) fn prepare(
    options: &Options,
    jars: &Jars,
    plans: Vec<NodePlan>,
    directory: &Path,
) -> Result<Vec<Node>, BrokersError> {
    let write =
        |path: &Path, text: String| std::fs::write(path, text).map_err(BrokersError::file("write", path));
    write(&directory.join("log4j2.properties"), LOG4J.into())?;
    if options.layout == Layout::Secure {
        Security::create(crate::security::directory(directory))?;
    }
    let all = plans.clone();
    let nodes: Vec<Node> = plans
        .into_iter()
        .map(|plan| Node::new(options, jars, plan, directory))
        .collect();
    for node in &nodes {
        write(
            &node.properties,
            plan::properties(options, &all, &node.plan, directory),
        )?;
    }
    in_parallel(&nodes, |node| node.format(options, jars))?;
    Ok(nodes)
}

/// Starts all and waits for all: a lone node of three is never ready.
pub(crate) fn launch_all(nodes: &[Node], life: Life, patience: Duration) -> Result<(), BrokersError> {
    for node in nodes {
        node.process.launch(life)?;
    }
    in_parallel(nodes, |node| node.wait_ready(nodes.len(), patience))
}

/// Ends nodes in an orderly way, all at once.
pub(crate) fn stop_all(nodes: &[Node]) -> Result<(), BrokersError> {
    let processes: Vec<&Process> = nodes.iter().map(|node| &node.process).collect();
    process::stop_all(&processes, Signal::TERM, STOP_PATIENCE)
}
