//! RabbitMQ as this machine has it installed: [`Rabbit`].

mod api;
pub(crate) mod background;
mod message;
mod nodes;
mod options;
mod plan;
mod security;
mod virtual_host;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use self::api::RabbitApi;
pub use self::message::RabbitMessage;
pub(crate) use self::nodes::EPMD;
use self::nodes::{Installed, Node, Nodes};
pub use self::options::{RabbitLayout, RabbitListener, RabbitOptions};
pub use self::virtual_host::{RabbitConnection, RabbitQueue, VirtualHost};
use crate::error::{BrokersError, again_after_port_races};
use crate::launch::Life;
use crate::ports::{self, Port};
use crate::run_directory::RunDirectory;
use crate::security::{Certificates, Login, directory};

const LOOK: Duration = Duration::from_millis(50);
/// RabbitMQ's own share of the machine's memory, above which it takes no more messages.
const USUAL_WATERMARK: &str = "0.4";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alarm {
    On,
    Off,
}

/// A running RabbitMQ of this process. It ends, and its directory goes, when it is dropped or the process ends.
///
/// A node that is told to stand still is *frozen* here: RabbitMQ itself calls a node of a minority *paused*.
#[derive(Debug)]
pub struct Rabbit {
    // Dropped in this order: nobody shall write into the directory any more when it is removed.
    nodes: Nodes,
    certificates: Option<Certificates>,
    options: RabbitOptions,
    _ports: Vec<Port>,
    directory: RunDirectory,
}

impl Rabbit {
    /// Starts it and waits until every node is ready: about 7 s for one, 20 s for three.
    ///
    /// # Errors
    /// It is not installed, or a node is not ready in time; then with the end of its log.
    pub fn start(options: RabbitOptions) -> Result<Self, BrokersError> {
        let installed = Installed::get()?;
        again_after_port_races(|| Self::try_start(&options, &installed))
    }

    fn try_start(options: &RabbitOptions, installed: &Installed) -> Result<Self, BrokersError> {
        let run = RunDirectory::create(options.layout.name())?;
        let ports = ports::reserve(plan::ports_needed(options.layout))?;
        let plan = plan::plan(options.layout, &mut ports.iter().map(|port| port.number));
        let nodes = Nodes::prepare(options, installed, plan, run.path())?;
        let certificates = Certificates::at(directory(run.path()));
        let rabbit = Self {
            nodes,
            certificates: (options.layout == RabbitLayout::Secure).then_some(certificates),
            options: options.clone(),
            _ports: ports,
            directory: run,
        };
        rabbit.nodes.launch_all(Life::WithUs)?;
        rabbit.nodes.make_users()?;
        Ok(rabbit)
    }

    /// The address of the first node for one who may do everything: `amqp://guest:guest@127.0.0.1:port/%2F`.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.api.url()
    }

    /// The addresses of all nodes, running or not.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.api.urls()
    }

    /// The address of a listener for a user; a client that shows a certificate at [`RabbitListener::Mtls`] needs none.
    ///
    /// # Errors
    /// The layout has no such listener.
    pub fn url_of(&self, listener: RabbitListener, user: Option<Login>) -> Result<String, BrokersError> {
        let info = user.map(|user| format!("{}:{}@", user.name, user.password));
        let url = self.nodes.url_of(listener, &info.unwrap_or_default());
        url.ok_or(BrokersError::NoListener {
            listener: listener.name(),
        })
    }

    /// The certificates of a secure server. [`Login::ALICE`], and whoever shows the client certificate, may do everything
    /// with queues and exchanges of the virtual host `/` whose names start with `alice-`; [`Login::BOB`] may not even
    /// enter it.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The management API, of whichever node answers.
    #[must_use]
    pub fn api(&self) -> &RabbitApi {
        &self.nodes.api
    }

    /// The management API of one node only.
    ///
    /// # Errors
    /// There is no such node.
    pub fn api_of(&self, node: u32) -> Result<RabbitApi, BrokersError> {
        Ok(self.nodes.api.only(self.index(node)?))
    }

    /// A virtual host of the test's own, see [`RabbitApi::virtual_host`].
    ///
    /// # Errors
    /// No node answers.
    pub fn virtual_host(&self, name: &str) -> Result<VirtualHost, BrokersError> {
        self.api().virtual_host(name)
    }

    /// The numbers of the nodes, running or not.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        self.nodes.nodes.iter().map(|node| node.plan.number)
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

    /// Runs `rabbitmqctl` for a node and gives what it printed.
    ///
    /// # Errors
    /// There is no such node, or the command fails; then with what it said.
    pub fn control(&self, node: u32, arguments: &[&str]) -> Result<String, BrokersError> {
        self.node(node)?.control(arguments)
    }

    /// SIGKILL: the node is gone when this returns. [`start_node`](Self::start_node) brings it back. What was declared
    /// in the last seconds may be gone with it unless others have it too, see [`settle`](Self::settle).
    ///
    /// # Errors
    /// There is no such node.
    pub fn kill(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.kill()
    }

    /// Has a node write down which virtual hosts, users and queues there are. It does so by itself within 2 s; killed
    /// before that, a node without others comes back without the queue, or with an empty one that never answers.
    ///
    /// # Errors
    /// There is no such node, or it does not run.
    pub fn settle(&self, node: u32) -> Result<(), BrokersError> {
        let write = "ok = mnesia:sync_log(), [ok = dets:sync(Table) || Table <- dets:all()].";
        self.node(node)?.control(&["eval", write]).map(drop)
    }

    /// SIGSTOP: the node stands still, its connections stay open and silent.
    ///
    /// # Errors
    /// There is no such node, or it is not running.
    pub fn freeze(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.signal(Signal::STOP)
    }

    /// SIGCONT: a frozen node goes on.
    ///
    /// # Errors
    /// There is no such node, or it is not running.
    pub fn thaw(&self, node: u32) -> Result<(), BrokersError> {
        self.node(node)?.process.signal(Signal::CONT)
    }

    /// SIGTERM: the node tells its clients and ends; after half a minute it is killed.
    ///
    /// # Errors
    /// There is no such node.
    pub fn stop_node(&self, node: u32) -> Result<(), BrokersError> {
        self.nodes.stop(self.node(node)?)
    }

    /// Starts a node that was stopped or killed, on its ports and with its data, and waits until it is ready. A node of a
    /// cluster is not before another one is there: start them together with [`start_nodes`](Self::start_nodes).
    ///
    /// # Errors
    /// There is no such node, or it is not ready in time.
    pub fn start_node(&self, node: u32) -> Result<(), BrokersError> {
        self.nodes.launch(self.node(node)?, Life::WithUs)
    }

    /// Starts every node that is down, all at once, and waits until each knows all others.
    ///
    /// # Errors
    /// One is not ready in time.
    pub fn start_nodes(&self) -> Result<(), BrokersError> {
        self.nodes.launch_all(Life::WithUs)
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
        self.nodes.stop_all()
    }

    /// Makes a node believe that it is short of memory: publishers of the whole cluster are blocked when this returns.
    ///
    /// # Errors
    /// There is no such node, or it does not come about within the patience of the options.
    pub fn raise_memory_alarm(&self, node: u32) -> Result<(), BrokersError> {
        self.set_watermark(node, "0.0001", Alarm::On)
    }

    /// Ends what [`raise_memory_alarm`](Self::raise_memory_alarm) began.
    ///
    /// # Errors
    /// As there.
    pub fn clear_memory_alarm(&self, node: u32) -> Result<(), BrokersError> {
        self.set_watermark(node, USUAL_WATERMARK, Alarm::Off)
    }

    fn set_watermark(&self, node: u32, share: &str, wanted: Alarm) -> Result<(), BrokersError> {
        let found = self.node(node)?;
        found.control(&["set_vm_memory_high_watermark", share])?;
        let deadline = Instant::now() + self.options.patience;
        let (name, api) = (found.plan.erlang_name(), self.api_of(node)?);
        loop {
            let alarms = api.memory_alarms()?;
            if alarms.contains(&name) == (wanted == Alarm::On) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(BrokersError::Protocol {
                    address: self.url(),
                    problem: format!("still has the memory alarms {alarms:?} with the watermark {share}"),
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    fn node(&self, node: u32) -> Result<&Node, BrokersError> {
        Ok(&self.nodes.nodes[self.index(node)?])
    }

    fn index(&self, node: u32) -> Result<usize, BrokersError> {
        let nodes = &self.nodes.nodes;
        let found = nodes.iter().position(|known| known.plan.number == node);
        found.ok_or(BrokersError::NoNode {
            node,
            nodes: nodes.len(),
        })
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        // A node that cannot be killed has ended; there is nobody to tell otherwise.
        let _ = self.nodes.kill_all();
    }
}
