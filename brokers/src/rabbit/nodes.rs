//! The processes of one RabbitMQ: its nodes, and the epmd by which they find each other.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::api::{Place, RabbitApi};
use super::options::{RabbitLayout, RabbitListener, RabbitOptions};
use super::plan::{self, NodePlan, Plan};
use super::security;
use crate::error::BrokersError;
use crate::launch::{CommandLine, Life};
use crate::process::{self, Process, in_parallel};
use crate::programs::{self, Run};
use crate::security::{Certificates, directory};

/// What epmd is called among the records and logs.
pub(crate) const EPMD: &str = "epmd";
/// `guest` comes with RabbitMQ and may do everything, from this machine only.
pub(crate) const GUEST: &str = "guest";
/// How long a node may take to end in an orderly way before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// For one run of `rabbitmqctl`, which takes a second on a machine that has nothing else to do.
const CONTROL_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Counts of quorum queues are brought up to date every 5 s by default, which is long for a test.
const ADVANCED: &str = "[{rabbit, [{quorum_tick_interval, 500}]}].\n";

/// What of RabbitMQ is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    server: PathBuf,
    control: PathBuf,
    epmd: PathBuf,
}

impl Installed {
    pub(crate) fn get() -> Result<Self, BrokersError> {
        Ok(Self {
            server: programs::find(&programs::RABBITMQ)?,
            control: programs::find(&programs::RABBITMQCTL)?,
            epmd: programs::find(&programs::EPMD)?,
        })
    }
}

/// One node, from whose files it can be started any number of times.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) plan: NodePlan,
    pub(crate) process: Process,
    control: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Node {
    /// Runs `rabbitmqctl` for this node and gives what it printed.
    pub(crate) fn control(&self, arguments: &[&str]) -> Result<String, BrokersError> {
        let quietly = ["-q"].iter().chain(arguments);
        let run = Run {
            program: self.control.clone(),
            arguments: quietly.map(OsString::from).collect(),
            variables: self.variables.clone(),
            directory: None,
            stdin: Vec::new(),
            deadline: CONTROL_PATIENCE,
            title: format!("rabbitmqctl {} (node {})", arguments.join(" "), self.plan.number),
        };
        let printed = run.run()?;
        Ok(String::from_utf8_lossy(&printed.stdout).into_owned())
    }
}

/// All processes of a server.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<Node>,
    pub(crate) api: RabbitApi,
    epmd: Process,
    epmd_port: u16,
    options: RabbitOptions,
    directory: PathBuf,
}

impl Nodes {
    /// Writes what they start from.
    pub(crate) fn prepare(
        options: &RabbitOptions,
        installed: &Installed,
        plan: Plan,
        server: &Path,
    ) -> Result<Self, BrokersError> {
        if options.layout == RabbitLayout::Secure {
            Certificates::create(directory(server))?;
        }
        // Whoever knows it may do everything with the nodes.
        let cookie = format!("{:016X}{:016X}", fastrand::u64(..), fastrand::u64(..));
        for node in &plan.nodes {
            write_files(options, node, &cookie, server)?;
        }
        let name = options.layout.name();
        let port = plan.epmd.to_string();
        let words = [installed.epmd.as_os_str(), "-port".as_ref(), port.as_ref()];
        let address = ["-address", "127.0.0.1"].map(OsString::from);
        let epmd = CommandLine {
            words: words.map(OsString::from).into_iter().chain(address).collect(),
            variables: Vec::new(),
        };
        let places = plan.nodes.iter().map(|node| Place {
            amqp: format!("amqp://{GUEST}:{GUEST}@127.0.0.1:{}", node.plain_port()),
            http: format!("http://127.0.0.1:{}", node.http),
        });
        Ok(Self {
            api: RabbitApi::new(GUEST, GUEST, places.collect()),
            epmd: Process::beside_nodes(name, EPMD, server, epmd),
            epmd_port: plan.epmd,
            nodes: plan
                .nodes
                .into_iter()
                .map(|node| make_node(name, installed, plan.epmd, node, server))
                .collect(),
            options: options.clone(),
            directory: server.to_owned(),
        })
    }

    /// Starts those that are down, all at once, and waits until each knows all others.
    pub(crate) fn launch_all(&self, life: Life) -> Result<(), BrokersError> {
        self.launch_epmd(life)?;
        for node in &self.nodes {
            node.process.launch(life)?;
        }
        in_parallel(&self.nodes, |node| self.wait_ready(node, self.nodes.len()))
    }

    /// Starts one. The others may be down as well, so only the node itself is waited for.
    pub(crate) fn launch(&self, node: &Node, life: Life) -> Result<(), BrokersError> {
        self.launch_epmd(life)?;
        node.process.launch(life)?;
        self.wait_ready(node, 1)
    }

    /// Ends all nodes in an orderly way, then epmd.
    pub(crate) fn stop_all(&self) -> Result<(), BrokersError> {
        let processes: Vec<&Process> = self.nodes.iter().map(|node| &node.process).collect();
        process::stop_all(&processes, Signal::TERM, STOP_PATIENCE)?;
        self.epmd.kill()
    }

    /// Ends one node in an orderly way.
    pub(crate) fn stop(&self, node: &Node) -> Result<(), BrokersError> {
        process::stop_all(&[&node.process], Signal::TERM, STOP_PATIENCE)
    }

    /// SIGKILL to all; what a node has started ends by itself when the node is gone.
    pub(crate) fn kill_all(&self) -> Result<(), BrokersError> {
        let nodes = in_parallel(&self.nodes, |node| node.process.kill());
        self.epmd.kill().and(nodes)
    }

    /// Lets go of processes that shall outlive this one.
    pub(crate) fn release_all(&self) {
        self.nodes.iter().for_each(|node| node.process.release());
        self.epmd.release();
    }

    fn launch_epmd(&self, life: Life) -> Result<(), BrokersError> {
        self.epmd.launch(life)?;
        self.epmd.wait_ready(self.options.patience, || {
            let connected = connect(self.epmd_port);
            connected.map(drop).map_err(|error| error.to_string())
        })
    }

    fn wait_ready(&self, node: &Node, nodes: usize) -> Result<(), BrokersError> {
        let index = node.plan.number as usize - 1;
        let api = self.api.only(index);
        node.process.wait_ready(self.options.patience, || {
            speaks_amqp(node.plan.plain_port())?;
            let running = api.running().map_err(|error| error.to_string())?;
            if running.len() < nodes || !running.contains(&node.plan.erlang_name()) {
                return Err(format!("it knows the nodes {running:?}"));
            }
            let started = node.control(&["await_startup"]);
            started.map(drop).map_err(|error| error.to_string())
        })?;
        match self.options.layout {
            RabbitLayout::Secure => node
                .control(&["eval", &security::open_doors(&node.plan, &self.directory)])
                .map(drop),
            RabbitLayout::Plain | RabbitLayout::Cluster => Ok(()),
        }
    }

    /// Makes the users of a secure server; the others have none but `guest`.
    pub(crate) fn make_users(&self) -> Result<(), BrokersError> {
        if self.options.layout != RabbitLayout::Secure {
            return Ok(());
        }
        let users = security::users();
        let mut users = users.iter();
        users.try_for_each(|(place, user)| self.api.put(place, user))
    }

    /// The first address of a listener, for a user of it.
    pub(crate) fn url_of(&self, listener: RabbitListener, user_info: &str) -> Option<String> {
        let port = self.nodes.first()?.plan.port(listener)?;
        let (scheme, host) = listener.scheme_and_host();
        Some(format!("{scheme}://{user_info}{host}:{port}/%2F"))
    }
}

fn make_node(name: &str, installed: &Installed, epmd: u16, plan: NodePlan, server: &Path) -> Node {
    let variables: Vec<(OsString, OsString)> = plan::variables(epmd, &plan, server)
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let command = CommandLine {
        words: vec![installed.server.clone().into()],
        variables: variables.clone(),
    };
    Node {
        process: Process::node(name, plan.number, server, command),
        control: installed.control.clone(),
        variables,
        plan,
    }
}

fn write_files(
    options: &RabbitOptions,
    node: &NodePlan,
    cookie: &str,
    server: &Path,
) -> Result<(), BrokersError> {
    use std::os::unix::fs::PermissionsExt;
    let home = node.home(server);
    std::fs::create_dir_all(&home).map_err(BrokersError::file("create", &home))?;
    let write =
        |path: &Path, text: &str| std::fs::write(path, text).map_err(BrokersError::file("write", path));
    write(&node.config_file(server), &plan::config(options, node, server))?;
    write(&home.join("advanced.config"), ADVANCED)?;
    write(&home.join("enabled_plugins"), plan::plugins(options.layout))?;
    let secret = home.join(".erlang.cookie");
    write(&secret, cookie)?;
    // Erlang takes no cookie that others can read.
    let only_ours = std::fs::Permissions::from_mode(0o400);
    std::fs::set_permissions(&secret, only_ours).map_err(BrokersError::file("protect", &secret))
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    Ok(stream)
}

/// Says what a client of AMQP 0-9-1 says first, and hears whether it is asked to begin a connection.
pub(crate) fn speaks_amqp(port: u16) -> Result<(), String> {
    /// A method on channel 0, and after its length: class connection, method start.
    const METHOD: &[u8] = &[1, 0, 0];
    const START: &[u8] = &[0, 10, 0, 10];
    let mut answer = [0; 11];
    let mut exchange = || {
        let mut stream = connect(port)?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        stream.read_exact(&mut answer)
    };
    match exchange() {
        Err(error) => Err(format!("127.0.0.1:{port} does not speak AMQP: {error}")),
        Ok(()) if answer.starts_with(METHOD) && answer.ends_with(START) => Ok(()),
        Ok(()) => Err(format!(
            "127.0.0.1:{port} does not begin as AMQP does: {answer:?}"
        )),
    }
}
