//! One broker as a process: its files, its start, its end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::jars::Jars;
use super::options::{Compiler, Layout, Options};
use super::plan::{self, NodePlan};
use super::security::{self, Security};
use super::wire;
use crate::error::{BrokersError, tail};
use crate::identity::Identity;
use crate::launch::{self, Life};
use crate::run_directory::RECORD;

/// Any id will do, since every cluster has its own directory; asking for a random one starts a JVM.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";
const FORMAT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a broker may take to hand over and to close its logs before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

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
    name: String,
    properties: PathBuf,
    log: PathBuf,
    record: PathBuf,
    command: Vec<OsString>,
    /// The running process, when it was started by this one. It is not asked for its end before that is wanted, so its
    /// id cannot be given to somebody else meanwhile.
    child: Mutex<Option<Child>>,
}

impl Node {
    /// Names the files; [`write`](Self::write) makes them.
    pub(crate) fn new(options: &Options, jars: &Jars, plan: NodePlan, directory: &Path) -> Self {
        let file = |what: &str| directory.join(format!("node-{}.{what}", plan.id));
        let properties = file("properties");
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
        Self {
            name: format!("{}, node {}", options.layout.name(), plan.id),
            command: jars.command(&flags, "kafka.Kafka", &[properties.clone().into()]),
            log: file("log"),
            record: file(RECORD),
            properties,
            plan,
            child: Mutex::new(None),
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Starts the process; [`wait_ready`](Self::wait_ready) tells when it can be used.
    pub(crate) fn launch(&self, life: Life) -> Result<(), BrokersError> {
        let mut child = self.child();
        if child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
        {
            return Ok(());
        }
        *child = Some(launch::server(life, &self.command, &self.log, &self.record)?);
        Ok(())
    }

    /// Waits until it answers and knows itself and `brokers` brokers in all. It answers nobody before it has its place
    /// in the cluster, so what others remember of an earlier life of it cannot deceive us.
    pub(crate) fn wait_ready(&self, brokers: usize, patience: Duration) -> Result<(), BrokersError> {
        let started = Instant::now();
        loop {
            let ended = match self.child().as_mut() {
                Some(child) => child
                    .try_wait()
                    .map_err(BrokersError::io("look at", self.name.clone()))?,
                None => return Err(BrokersError::NodeStopped { node: self.plan.id }),
            };
            if let Some(status) = ended {
                return Err(BrokersError::Ended {
                    server: self.name.clone(),
                    status: status.to_string(),
                    log: self.log.clone(),
                    end: self.log_end(),
                });
            }
            let last = match wire::metadata(self.plan.plain_port(), None) {
                Ok(known) if known.brokers.len() >= brokers && known.brokers.contains(&self.plan.id) => {
                    return Ok(());
                }
                Ok(known) => format!("it knows the brokers {:?}", known.brokers),
                Err(error) => error.to_string(),
            };
            if started.elapsed() >= patience {
                return Err(BrokersError::NotReady {
                    server: self.name.clone(),
                    after: patience,
                    last,
                    log: self.log.clone(),
                    end: self.log_end(),
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    pub(crate) fn log_end(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&bytes))
    }

    /// The process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Sends a signal to the running process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), BrokersError> {
        let stopped = BrokersError::NodeStopped { node: self.plan.id };
        let identity = self.pid().and_then(Identity::of).ok_or(stopped)?;
        identity.signal(signal);
        Ok(())
    }

    /// Waits for the end of a process that was told to go; kills it when it does not.
    pub(crate) fn reap(&self, patience: Duration) -> Result<(), BrokersError> {
        let Some(mut child) = self.child().take() else {
            return Ok(());
        };
        let ended = crate::programs::wait(&mut child, patience);
        // Nobody runs under this record any more; without it the status would have to guess.
        let _ = std::fs::remove_file(&self.record);
        ended
            .map(drop)
            .map_err(BrokersError::io("end", self.name.clone()))
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&self) -> Result<(), BrokersError> {
        let mut child = self.child();
        if let Some(mut child) = child.take() {
            let killed = child.kill().and_then(|()| child.wait());
            let _ = std::fs::remove_file(&self.record);
            killed.map_err(BrokersError::io("kill", self.name.clone()))?;
        }
        Ok(())
    }

    /// Lets go of a process that shall outlive this one.
    pub(crate) fn release(&self) {
        drop(self.child().take());
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
        Security::create(security::directory(directory))?;
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
        node.launch(life)?;
    }
    in_parallel(nodes, |node| node.wait_ready(nodes.len(), patience))
}

/// TERM to all at once: the last ones of a quorum would otherwise wait for those that are gone.
pub(crate) fn stop_all(nodes: &[Node]) -> Result<(), BrokersError> {
    for node in nodes {
        match node.signal(Signal::TERM) {
            Ok(()) | Err(BrokersError::NodeStopped { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    in_parallel(nodes, |node| node.reap(STOP_PATIENCE))
}

/// The same for every node at the same time; the first error counts.
pub(crate) fn in_parallel(
    nodes: &[Node],
    work: impl Fn(&Node) -> Result<(), BrokersError> + Sync,
) -> Result<(), BrokersError> {
    let work = &work;
    std::thread::scope(|scope| {
        let running: Vec<_> = nodes.iter().map(|node| scope.spawn(move || work(node))).collect();
        // All are waited for, whatever the first one says.
        let results: Vec<_> = running.into_iter().map(|thread| thread.join()).collect();
        results.into_iter().try_for_each(|result| match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}
