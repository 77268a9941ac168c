//! A Kafka that stays until it is told to go, see [`background`](crate::background).

use std::path::Path;

use super::jars::Jars;
use super::options::{Layout, Listener, Options};
use super::plan::NodePlan;
use super::security::Security;
use super::{node, plan, set_rules, wire};
use crate::background::About;
use crate::error::BrokersError;
use crate::launch::Life;
use crate::process::in_parallel;
use crate::{ports, security};

/// Starts it in that directory and waits until it is ready.
pub(crate) fn start(layout: Layout, directory: &Path) -> Result<(), BrokersError> {
    let options = &Options::of(layout).for_measuring();
    let jars = Jars::get()?;
    // Held until the servers listen, which keeps others away from then on.
    let ports = ports::reserve(plan::ports_needed(options))?;
    let plans = plan::nodes(options, &mut ports.iter().map(|port| port.number));
    let mut about = About::default();
    for plan in &plans {
        about.process(&format!("node-{}", plan.id), plan.plain_port());
    }
    for line in lines(options.layout, &plans, directory) {
        about.say(&line);
    }
    about.write(directory)?;
    let nodes = node::prepare(options, &jars, plans, directory)?;
    let started = node::launch_all(&nodes, Life::OnItsOwn, options.patience);
    let started = started.and_then(|()| match options.layout {
        Layout::Secure => set_rules(&jars, &nodes),
        Layout::Plain | Layout::Cluster => Ok(()),
    });
    match started {
        Ok(()) => nodes.iter().for_each(|node| node.process.release()),
        // Waited for here, so that no zombie stays behind while this process lives.
        Err(_) => in_parallel(&nodes, |node| node.process.kill())?,
    }
    started
}

/// Whether what listens there is a broker that knows all others.
pub(crate) fn answers(layout: Layout, port: u16) -> bool {
    wire::metadata(port, None).is_ok_and(|metadata| metadata.brokers.len() == layout.nodes() as usize)
}

fn lines(layout: Layout, plans: &[NodePlan], directory: &Path) -> Vec<String> {
    let address = |listener| plan::bootstrap(plans, listener).unwrap_or_default();
    if layout != Layout::Secure {
        return vec![format!("url kafka://{}", address(Listener::Plain))];
    }
    let (alice, bob) = (Security::ALICE, Security::BOB);
    vec![
        format!("url kafka://{}", address(Listener::SaslSsl)),
        format!("oauth {}", address(Listener::OAuth)),
        format!("mtls {}", address(Listener::Mtls)),
        format!("wrong-host {}", address(Listener::WrongHost)),
        format!("plain, may do everything {}", address(Listener::Plain)),
        format!("certificates {}", security::directory(directory).display()),
        format!(
            "users {} {} (may do everything with names that start with {}), {} {} (may do nothing)",
            alice.name,
            alice.password,
            Security::ALLOWED_PREFIX,
            bob.name,
            bob.password
        ),
    ]
}
