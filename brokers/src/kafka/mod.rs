//! Apache Kafka 4.1: [`Kafka`].

pub(crate) mod background;
mod jars;
mod node;
mod options;
mod plan;
mod security;
mod tools;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::jars::Jars;
use self::node::Node;
pub use self::options::{Layout, Listener, Options};
use self::plan::NodePlan;
pub use self::security::{Security, Token, TokenKey};
pub use self::tools::{Tool, ToolRun};
use self::wire::Coordinated;
pub use self::wire::PartitionState;
use crate::error::{BrokersError, again_after_port_races};
use crate::launch::Life;
use crate::ports::{self, Port};
use crate::proxy::FaultProxy;
use crate::run_directory::RunDirectory;

const LOOK: Duration = Duration::from_millis(50);

/// A running Kafka of this process. It ends, and its directory goes, when it is dropped or the process ends.
#[derive(Debug)]
pub struct Kafka {
    // Dropped in this order: nobody shall write into the directory any more when it is removed.
    nodes: Vec<Node>,
    proxies: Vec<FaultProxy>,
    security: Option<Security>,
    options: Options,
    jars: Jars,
    _ports: Vec<Port>,
    directory: RunDirectory,
}

impl Kafka {
    /// Starts it and waits until every broker is ready: about 4 s for one, 8 s for three. The first start on a machine
    /// fetches 54 MB.
    ///
    /// # Errors
    /// A program is missing, nothing can be fetched, or a broker is not ready in time; then with the end of its log.
    pub fn start(options: Options) -> Result<Self, BrokersError> {
        let jars = Jars::get()?;
        again_after_port_races(|| Self::try_start(&options, &jars))
    }

    fn try_start(options: &Options, jars: &Jars) -> Result<Self, BrokersError> {
        let directory = RunDirectory::create(options.layout.name())?;
        let ports = ports::reserve(plan::ports_needed(options))?;
        let mut plans = plan::nodes(options, &mut ports.iter().map(|port| port.number));
        let proxies = proxies(&mut plans)?;
        let nodes = node::prepare(options, jars, plans, directory.path())?;
        let tls = crate::security::directory(directory.path());
        let kafka = Self {
            nodes,
            proxies,
            security: (options.layout == Layout::Secure).then(|| Security::at(tls)),
            options: options.clone(),
            jars: jars.clone(),
            _ports: ports,
            directory,
        };
        node::launch_all(&kafka.nodes, Life::WithUs, options.patience)?;
        if options.layout == Layout::Secure {
            set_rules(jars, &kafka.nodes)?;
        }
        Ok(kafka)
    }

    /// The addresses for clients: those of the plain listeners, on a secure broker that for TLS with SASL.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let plans = self.plans();
        let usual = plan::bootstrap(&plans, self.options.layout.usual());
        usual.expect("every layout has its usual listener")
    }

    /// The addresses of another listener.
    ///
    /// # Errors
    /// The options opened none.
    pub fn bootstrap_of(&self, listener: Listener) -> Result<String, BrokersError> {
        let no_listener = BrokersError::NoListener {
            listener: listener.name(),
        };
        plan::bootstrap(&self.plans(), listener).ok_or(no_listener)
    }

    /// Certificates, users and tokens of a secure broker.
    #[must_use]
    pub fn security(&self) -> Option<&Security> {
        self.security.as_ref()
    }

    /// What stands before a node, see [`Options::with_proxies`].
    ///
    /// # Errors
    /// There is no such node, or there are no proxies.
    pub fn proxy(&self, node: u32) -> Result<&FaultProxy, BrokersError> {
        let index = self.index(node)?;
        self.proxies.get(index).ok_or(BrokersError::NoListener {
            listener: Listener::Proxied.name(),
        })
    }

    /// A run of one of Kafka's tools, or kcat, against the plain listener: as one who may do everything.
    pub fn tool(&self, tool: Tool) -> ToolRun<'_> {
        let plain = plan::bootstrap(&self.plans(), Listener::Plain);
        ToolRun::new(
            &self.jars,
            tool,
            plain.expect("every layout has a plain listener"),
        )
    }

    /// The ids of the nodes, running or not.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().map(|node| node.plan.id)
    }

    /// The process id of a node while it runs.
    ///
    /// # Errors
    /// There is no such node.
    pub fn pid(&self, node: u32) -> Result<Option<u32>, BrokersError> {
        Ok(self.node(node)?.process.pid())
    }

    /// The end of a node's log.
    ///
    /// # Errors
    /// There is no such node.
    pub fn log_end(&self, node: u32) -> Result<String, BrokersError> {
        Ok(self.node(node)?.process.log_end())
    }

    /// Where configuration, logs and data lie while it runs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// SIGKILL: the node is gone when this returns. [`start_node`](Self::start_node) brings it back.
    ///
    /// # Errors
    /// There is no such node.
    pub fn kill(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.kill()
    }

    /// SIGSTOP: the node freezes, its connections stay open and silent.
    ///
    /// # Errors
    /// There is no such node, or it is not running.
    pub fn pause(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.signal(Signal::STOP)
    }

    /// SIGCONT: a frozen node goes on.
    ///
    /// # Errors
    /// There is no such node, or it is not running.
    pub fn resume(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.signal(Signal::CONT)
    }

    /// SIGTERM: the node hands over its partitions and ends; after half a minute it is killed.
    ///
    /// # Errors
    /// There is no such node.
    pub fn stop_node(&self, node: u32) -> Result<(), BrokersError> {
        node::stop_all(std::slice::from_ref(self.node(node)?))
    }

    /// Starts a node that was stopped or killed, on its ports and with its data, and waits until it is ready.
    ///
    /// # Errors
    /// There is no such node, or it is not ready in time.
    pub fn start_node(&self, node: u32) -> Result<(), BrokersError> {
        let node = self.node(node)?;
        node.process.launch(Life::WithUs)?;
        // The others may be down as well, and a quorum of three needs two: only the node itself is waited for.
        node.wait_ready(1, self.options.patience)
    }

    /// Starts every node that is down, all at once, and waits until all are ready.
    ///
    /// # Errors
    /// One is not ready in time.
    pub fn start_nodes(&self) -> Result<(), BrokersError> {
        node::launch_all(&self.nodes, Life::WithUs, self.options.patience)
    }

    /// [`stop_node`](Self::stop_node), then [`start_node`](Self::start_node).
    ///
    /// # Errors
    /// As theirs.
    pub fn restart(&self, node: u32) -> Result<(), BrokersError> {
        self.stop_node(node)?;
        self.start_node(node)
    }

    /// Ends every node in an orderly way. Dropping kills them, which is quicker and as good when the data is not read
    /// again.
    ///
    /// # Errors
    /// One could not be ended.
    pub fn stop(self) -> Result<(), BrokersError> {
        node::stop_all(&self.nodes)
    }

    /// The partitions of a topic as a running node sees them.
    ///
    /// # Errors
    /// No node answers, or there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<PartitionState>, BrokersError> {
        self.ask(|port| wire::metadata(port, Some(topic)))
            .map(|metadata| metadata.partitions)
    }

    /// The node that leads a partition; `None` while there is none.
    ///
    /// # Errors
    /// As [`partitions`](Self::partitions).
    pub fn leader(&self, topic: &str, partition: u32) -> Result<Option<u32>, BrokersError> {
        let partitions = self.partitions(topic)?;
        let state = partitions.into_iter().find(|state| state.partition == partition);
        Ok(state.and_then(|state| state.leader))
    }

    /// The node that coordinates a consumer group. The first question makes Kafka create the topic of offsets, so it
    /// waits until there is an answer.
    ///
    /// # Errors
    /// No node answers.
    pub fn group_coordinator(&self, group: &str) -> Result<u32, BrokersError> {
        self.coordinator(Coordinated::Group, group)
    }

    /// The node that coordinates a transactional id.
    ///
    /// # Errors
    /// As [`group_coordinator`](Self::group_coordinator).
    pub fn transaction_coordinator(&self, transactional_id: &str) -> Result<u32, BrokersError> {
        self.coordinator(Coordinated::Transaction, transactional_id)
    }

    fn coordinator(&self, kind: Coordinated, name: &str) -> Result<u32, BrokersError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            match self.ask(|port| wire::coordinator(port, kind, name)) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(LOOK),
                result => return result,
            }
        }
    }

    /// Waits until every partition of a topic has a leader and so many nodes in sync.
    ///
    /// # Errors
    /// It does not come about within the patience of the options.
    pub fn wait_in_sync(&self, topic: &str, nodes: usize) -> Result<(), BrokersError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            let partitions = self.partitions(topic);
            let is_good = |state: &PartitionState| state.leader.is_some() && state.in_sync.len() >= nodes;
            match partitions {
                Ok(partitions) if !partitions.is_empty() && partitions.iter().all(is_good) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Ok(partitions) if Instant::now() >= deadline => {
                    return Err(BrokersError::Protocol {
                        address: self.bootstrap(),
                        problem: format!("still says of {topic:?}: {partitions:?}"),
                    });
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    /// Asks running nodes in turn until one answers.
    fn ask<T>(&self, question: impl Fn(u16) -> Result<T, BrokersError>) -> Result<T, BrokersError> {
        let mut last = BrokersError::NodeStopped { node: 1 };
        for node in self.nodes.iter().filter(|node| node.process.pid().is_some()) {
            match question(node.plan.plain_port()) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn plans(&self) -> Vec<NodePlan> {
        self.nodes.iter().map(|node| node.plan.clone()).collect()
    }

    fn node(&self, node: u32) -> Result<&Node, BrokersError> {
        Ok(&self.nodes[self.index(node)?])
    }

    fn index(&self, node: u32) -> Result<usize, BrokersError> {
        let found = self.nodes.iter().position(|known| known.plan.id == node);
        found.ok_or(BrokersError::NoNode {
            node,
            nodes: self.nodes.len(),
        })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &self.nodes {
            // A node that cannot be killed has ended; there is nobody to tell otherwise.
            let _ = node.process.kill();
        }
    }
}

/// A proxy before each node that wants one, whose port the node then tells its clients.
fn proxies(plans: &mut [NodePlan]) -> Result<Vec<FaultProxy>, BrokersError> {
    let doors = plans
        .iter_mut()
        .flat_map(|plan| &mut plan.doors)
        .filter(|door| door.listener == Listener::Proxied);
    doors
        .map(|door| {
            let proxy = FaultProxy::start(format!("127.0.0.1:{}", door.port))?;
            door.advertised = proxy.address().port();
            Ok(proxy)
        })
        .collect()
}

/// Gives the users of a secure broker their rights.
fn set_rules(jars: &Jars, nodes: &[Node]) -> Result<(), BrokersError> {
    let plans: Vec<NodePlan> = nodes.iter().map(|node| node.plan.clone()).collect();
    let plain = plan::bootstrap(&plans, Listener::Plain).unwrap_or_default();
    ToolRun::new(jars, Tool::Acls, plain)
        .args(security::rules())
        .run()
        .map(drop)
}
