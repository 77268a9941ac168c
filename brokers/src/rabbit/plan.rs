//! Which node listens where, its `rabbitmq.conf` and its variables. Pure.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::options::{RabbitLayout, RabbitListener, RabbitOptions};
use super::security;

/// Where one node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    pub(crate) number: u32,
    /// The management API.
    pub(crate) http: u16,
    /// For the other nodes and `rabbitmqctl`.
    distribution: u16,
    doors: Vec<(RabbitListener, u16)>,
}

impl NodePlan {
    pub(crate) fn port(&self, listener: RabbitListener) -> Option<u16> {
        let door = self.doors.iter().find(|door| door.0 == listener);
        door.map(|door| door.1)
    }

    /// The port for our own questions.
    pub(crate) fn plain_port(&self) -> u16 {
        let port = self.port(RabbitListener::Plain);
        port.expect("every layout has a plain listener")
    }

    /// What Erlang calls it.
    pub(crate) fn erlang_name(&self) -> String {
        erlang_name(self.number)
    }

    /// Its files within the directory of the server; Erlang takes it for the home of its user.
    pub(crate) fn home(&self, server: &Path) -> PathBuf {
        server.join(format!("node-{}", self.number))
    }

    /// Its configuration within the directory of the server.
    pub(crate) fn config_file(&self, server: &Path) -> PathBuf {
        self.home(server).join("rabbitmq.conf")
    }
}

/// The ports of a whole server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where nodes and `rabbitmqctl` learn each other's ports. A server has its own, so names of nodes need not differ.
    pub(crate) epmd: u16,
    pub(crate) nodes: Vec<NodePlan>,
}

fn erlang_name(number: u32) -> String {
    format!("node-{number}@localhost")
}

/// The node that Erlang calls so.
pub(crate) fn node_number(erlang_name: &str) -> Option<u32> {
    let number = erlang_name.strip_prefix("node-")?.strip_suffix("@localhost")?;
    number.parse().ok()
}

/// How many ports a server needs.
pub(crate) fn ports_needed(layout: RabbitLayout) -> usize {
    1 + (2 + layout.listeners().len()) * layout.nodes() as usize
}

/// Gives every door its port.
pub(crate) fn plan(layout: RabbitLayout, ports: &mut impl Iterator<Item = u16>) -> Plan {
    let mut port = || {
        ports
            .next()
            .expect("as many ports are reserved as the plan needs")
    };
    let epmd = port();
    let mut node = |number| NodePlan {
        number,
        http: port(),
        distribution: port(),
        doors: layout
            .listeners()
            .iter()
            .map(|listener| (*listener, port()))
            .collect(),
    };
    let nodes = (1..=layout.nodes()).map(&mut node).collect();
    Plan { epmd, nodes }
}

/// The file from which a node is started.
pub(crate) fn config(options: &RabbitOptions, node: &NodePlan, server: &Path) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        writeln!(text, "{key} = {value}").expect("a String takes what is written");
    };
    line("listeners.tcp.1", &format!("127.0.0.1:{}", node.plain_port()));
    line("management.tcp.ip", "127.0.0.1");
    line("management.tcp.port", &node.http.to_string());
    // All goes to standard output, which is the log that errors show the end of.
    line("log.console", "true");
    line("log.console.level", "info");
    line("log.console.use_colors", "off");
    line("log.file", "false");
    match options.layout {
        RabbitLayout::Plain => {}
        RabbitLayout::Secure => {
            let port = node.port(RabbitListener::Tls);
            let port = port.expect("a secure node has a listener for TLS");
            for (key, value) in security::lines(port, server) {
                line(&key, &value);
            }
        }
        RabbitLayout::Cluster => {
            line("cluster_formation.peer_discovery_backend", "classic_config");
            for number in 1..=options.layout.nodes() {
                let key = format!("cluster_formation.classic_config.nodes.{number}");
                line(&key, &erlang_name(number));
            }
            line("cluster_partition_handling", "pause_minority");
            line("net_ticktime", "8");
        }
    }
    for (key, value) in &options.lines {
        line(key, value);
    }
    text
}

/// The plugins that a node starts with, as Erlang writes lists.
pub(crate) fn plugins(layout: RabbitLayout) -> &'static str {
    match layout {
        RabbitLayout::Plain | RabbitLayout::Cluster => "[rabbitmq_management].\n",
        RabbitLayout::Secure => "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n",
    }
}

/// What a node and `rabbitmqctl` for it find in their environment.
pub(crate) fn variables(epmd: u16, node: &NodePlan, server: &Path) -> Vec<(&'static str, String)> {
    let home = node.home(server);
    let within = |name: &str| home.join(name).display().to_string();
    // Schedulers that spin while they wait would take the processor from the tests.
    let flags = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";
    vec![
        ("HOME", home.display().to_string()),
        ("RABBITMQ_NODENAME", node.erlang_name()),
        ("RABBITMQ_DIST_PORT", node.distribution.to_string()),
        (
            "RABBITMQ_CONFIG_FILE",
            node.config_file(server).display().to_string(),
        ),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", within("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", within("enabled_plugins")),
        // What the machine's own RabbitMQ is told.
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("RABBITMQ_MNESIA_BASE", within("data")),
        ("RABBITMQ_LOG_BASE", within("log")),
        ("RABBITMQ_PID_FILE", within("pid")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", flags.into()),
        // The script becomes the server then, in place of a shell that watches it as its child.
        ("RUNNING_UNDER_SYSTEMD", "1".into()),
        ("ERL_EPMD_PORT", epmd.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        // An epmd that Erlang starts by itself would outlive everything.
        ("ERL_FLAGS", "-start_epmd false".into()),
        ("ERL_CRASH_DUMP_SECONDS", "0".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(layout: RabbitLayout) -> Plan {
        let mut ports = 1000..;
        let plan = plan(layout, &mut ports);
        assert_eq!(ports.start, 1000 + ports_needed(layout) as u16);
        plan
    }

    #[test]
    fn every_door_has_its_own_port_and_every_node_knows_all_others() {
        let options = RabbitOptions::cluster();
        let plan = planned(options.layout);
        let text = config(&options, &plan.nodes[1], Path::new("/run/r"));
        for expected in [
            "listeners.tcp.1 = 127.0.0.1:1006\n",
            "management.tcp.port = 1004\n",
            "cluster_formation.classic_config.nodes.1 = node-1@localhost\n",
            "cluster_formation.classic_config.nodes.3 = node-3@localhost\n",
            "cluster_partition_handling = pause_minority\n",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
        let variables = variables(plan.epmd, &plan.nodes[1], Path::new("/run/r"));
        for expected in [
            ("RABBITMQ_NODENAME", "node-2@localhost"),
            ("RABBITMQ_DIST_PORT", "1005"),
            ("ERL_EPMD_PORT", "1000"),
            ("HOME", "/run/r/node-2"),
        ] {
            let found = variables.iter().find(|variable| variable.0 == expected.0);
            assert_eq!(found.map(|variable| variable.1.as_str()), Some(expected.1));
        }
        assert_eq!(plan.nodes[1].port(RabbitListener::Mtls), None);
    }

    #[test]
    fn a_node_is_found_by_its_name_in_erlang_and_a_stranger_is_not() {
        assert_eq!(node_number(&erlang_name(3)), Some(3));
        for stranger in ["rabbit@localhost", "node-x@localhost", "node-1@elsewhere"] {
            assert_eq!(node_number(stranger), None);
        }
    }

    #[test]
    fn a_line_of_the_caller_comes_last_and_wins() {
        let options = RabbitOptions::plain().line("heartbeat", "5");
        let plan = planned(options.layout);
        let text = config(&options, &plan.nodes[0], Path::new("/run/r"));
        assert!(text.ends_with("heartbeat = 5\n"), "{text}");
    }
}
