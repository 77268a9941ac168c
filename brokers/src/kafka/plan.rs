//! Which node listens where, and its `server.properties`. Pure.

use std::fmt::Write;
use std::path::Path;

use super::options::{Layout, Listener, Options};
use super::security;

/// A door of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) listener: Listener,
    pub(crate) port: u16,
    /// What clients are told; another one when a proxy stands before it.
    pub(crate) advertised: u16,
}

/// Where one node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    pub(crate) id: u32,
    pub(crate) controller: u16,
    pub(crate) doors: Vec<Door>,
}

impl NodePlan {
    pub(crate) fn door(&self, listener: Listener) -> Option<&Door> {
        self.doors.iter().find(|door| door.listener == listener)
    }

    /// The address for our own questions.
    pub(crate) fn plain_port(&self) -> u16 {
        let door = self.door(Listener::Plain);
        door.expect("every layout has a plain listener").port
    }
}

/// The listeners that each node opens.
pub(crate) fn listeners(options: &Options) -> Vec<Listener> {
    let mut listeners = options.layout.listeners().to_vec();
    if options.proxies {
        listeners.push(Listener::Proxied);
    }
    listeners
}

/// How many ports the nodes need together.
pub(crate) fn ports_needed(options: &Options) -> usize {
    (listeners(options).len() + 1) * options.layout.nodes() as usize
}

/// Gives every door its port.
pub(crate) fn nodes(options: &Options, ports: &mut impl Iterator<Item = u16>) -> Vec<NodePlan> {
    let mut port = || {
        ports
            .next()
            .expect("as many ports are reserved as the plan needs")
    };
    let mut node = |id| NodePlan {
        id,
        controller: port(),
        doors: listeners(options)
            .into_iter()
            .map(|listener| {
                let port = port();
                Door {
                    listener,
                    port,
                    advertised: port,
                }
            })
            .collect(),
    };
    (1..=options.layout.nodes()).map(&mut node).collect()
}

/// The addresses of a listener on all nodes, as clients want them.
pub(crate) fn bootstrap(nodes: &[NodePlan], listener: Listener) -> Option<String> {
    let address = |node: &NodePlan| {
        let door = node.door(listener)?;
        Some(format!("{}:{}", listener.host(), door.advertised))
    };
    let addresses: Option<Vec<String>> = nodes.iter().map(address).collect();
    Some(addresses?.join(","))
}

/// Groups form at once, lists of offsets and transactions are small, and a consumer of the new protocol hears of a
/// rebalance within half a second: a test should not wait for what serves large clusters. Only topics that ask for it
/// lose what is old, and they within half a second in place of five minutes.
const FOR_TESTS: &str = "\
num.partitions=6
auto.create.topics.enable=false
offsets.topic.num.partitions=5
transaction.state.log.num.partitions=5
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=500
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
log.retention.ms=-1
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
";

/// The file from which a node is started.
pub(crate) fn properties(options: &Options, nodes: &[NodePlan], node: &NodePlan, directory: &Path) -> String {
    let voters: Vec<String> = nodes
        .iter()
        .map(|voter| format!("{}@127.0.0.1:{}", voter.id, voter.controller))
        .collect();
    let data = directory.join(format!("node-{}", node.id));
    let mut text = format!(
        "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name={}\nlog.dirs={}\n",
        node.id,
        voters.join(","),
        Listener::Plain.name(),
        data.display(),
    );
    text.push_str(&doors(node));
    text.push_str(FOR_TESTS);
    text.push_str(&replication(options.layout));
    if options.layout == Layout::Secure {
        text.push_str(&security::properties(directory));
    }
    for (key, value) in &options.properties {
        line(&mut text, key, value);
    }
    text
}

fn doors(node: &NodePlan) -> String {
    let mut listeners = vec![format!("CONTROLLER://127.0.0.1:{}", node.controller)];
    let mut advertised = Vec::new();
    let mut protocols = vec!["CONTROLLER:PLAINTEXT".to_owned()];
    for door in &node.doors {
        let name = door.listener.name();
        listeners.push(format!("{name}://127.0.0.1:{}", door.port));
        advertised.push(format!("{name}://{}:{}", door.listener.host(), door.advertised));
        protocols.push(format!("{name}:{}", door.listener.protocol()));
    }
    let mut text = String::new();
    line(&mut text, "listeners", &listeners.join(","));
    line(&mut text, "advertised.listeners", &advertised.join(","));
    line(&mut text, "listener.security.protocol.map", &protocols.join(","));
    text
}

fn replication(layout: Layout) -> String {
    let (replicas, in_sync) = match layout {
        Layout::Plain | Layout::Secure => ("1", "1"),
        Layout::Cluster => ("3", "2"),
    };
    let mut text = String::new();
    for topic in [
        "offsets.topic",
        "transaction.state.log",
        "share.coordinator.state.topic",
    ] {
        line(&mut text, &format!("{topic}.replication.factor"), replicas);
    }
    for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
        line(&mut text, &format!("{topic}.min.isr"), in_sync);
    }
    line(&mut text, "default.replication.factor", replicas);
    line(&mut text, "min.insync.replicas", in_sync);
    if layout == Layout::Cluster {
        line(&mut text, "broker.session.timeout.ms", "3000");
        line(&mut text, "broker.heartbeat.interval.ms", "500");
    }
    text
}

fn line(text: &mut String, key: &str, value: &str) {
    writeln!(text, "{key}={value}").expect("a String takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(options: &Options) -> Vec<NodePlan> {
        let mut ports = 1000..;
        let nodes = nodes(options, &mut ports);
        assert_eq!(ports.start, 1000 + ports_needed(options) as u16);
        nodes
    }

    #[test]
    fn every_door_has_its_own_port_and_every_node_knows_all_voters() {
        let options = Options::cluster();
        let nodes = plan(&options);
        let text = properties(&options, &nodes, &nodes[1], Path::new("/run/k"));
        for expected in [
            "node.id=2\n",
            "controller.quorum.voters=1@127.0.0.1:1000,2@127.0.0.1:1002,3@127.0.0.1:1004\n",
            "listeners=CONTROLLER://127.0.0.1:1002,PLAINTEXT://127.0.0.1:1003\n",
            "advertised.listeners=PLAINTEXT://127.0.0.1:1003\n",
            "log.dirs=/run/k/node-2\n",
            "offsets.topic.replication.factor=3\n",
            "min.insync.replicas=2\n",
            "broker.session.timeout.ms=3000\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
        assert_eq!(
            bootstrap(&nodes, Listener::Plain).unwrap(),
            "127.0.0.1:1001,127.0.0.1:1003,127.0.0.1:1005"
        );
        assert_eq!(bootstrap(&nodes, Listener::Mtls), None);
    }

    #[test]
    fn a_proxied_node_names_the_proxy_to_its_clients() {
        let options = Options::plain().with_proxies();
        let mut nodes = plan(&options);
        nodes[0].doors[1].advertised = 4711;
        let text = properties(&options, &nodes, &nodes[0], Path::new("/run/k"));
        assert!(text.contains("advertised.listeners=PLAINTEXT://127.0.0.1:1001,PROXIED://127.0.0.1:4711\n"));
        assert_eq!(bootstrap(&nodes, Listener::Proxied).unwrap(), "127.0.0.1:4711");
    }

    #[test]
    fn the_secure_broker_checks_tokens_and_denies_what_no_rule_allows() {
        let options = Options::secure();
        let nodes = plan(&options);
        let text = properties(&options, &nodes, &nodes[0], Path::new("/run/k"));
        for expected in [
            "jwt.validator.class=org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator\n",
            "allow.everyone.if.no.acl.found=false\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn a_property_of_the_caller_comes_last_and_wins() {
        let options = Options::plain().property("num.partitions", "2");
        let nodes = plan(&options);
        let text = properties(&options, &nodes, &nodes[0], Path::new("/run/k"));
        assert!(text.ends_with("num.partitions=2\n"));
    }
}
