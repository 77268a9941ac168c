//! A RabbitMQ that stays until it is told to go, see [`background`](crate::background).

use std::path::Path;

use super::nodes::{EPMD, Installed, Nodes, speaks_amqp};
use super::options::{RabbitLayout, RabbitListener, RabbitOptions};
use super::{plan, security};
use crate::background::About;
use crate::error::BrokersError;
use crate::launch::Life;
use crate::ports;
use crate::security::{ALLOWED_PREFIX, Login, directory};

/// Starts it in that directory and waits until it is ready.
pub(crate) fn start(layout: RabbitLayout, server: &Path) -> Result<(), BrokersError> {
    let options = RabbitOptions::of(layout);
    let installed = Installed::get()?;
    // Held until the nodes listen, which keeps others away from then on.
    let ports = ports::reserve(plan::ports_needed(layout))?;
    let plan = plan::plan(layout, &mut ports.iter().map(|port| port.number));
    let mut about = About::default();
    about.process(EPMD, plan.epmd);
    for node in &plan.nodes {
        about.process(&format!("node-{}", node.number), node.plain_port());
    }
    let nodes = Nodes::prepare(&options, &installed, plan, server)?;
    for line in lines(layout, &nodes, server) {
        about.say(&line);
    }
    about.write(server)?;
    let started = nodes.launch_all(Life::OnItsOwn);
    let started = started.and_then(|()| nodes.make_users());
    match started {
        Ok(()) => nodes.release_all(),
        // Waited for here, so that no zombie stays behind while this process lives.
        Err(_) => nodes.kill_all()?,
    }
    started
}

/// Whether what listens there can be used.
pub(crate) fn answers(process: &str, port: u16) -> bool {
    // What lives and is no node is epmd, of which nothing is asked.
    process == EPMD || speaks_amqp(port).is_ok()
}

fn lines(layout: RabbitLayout, nodes: &Nodes, server: &Path) -> Vec<String> {
    let mut lines: Vec<String> = nodes.api.urls().iter().map(|url| format!("url {url}")).collect();
    lines.push(format!("api {} (guest, guest)", nodes.api.base()));
    if layout != RabbitLayout::Secure {
        return lines;
    }
    let (alice, bob) = (Login::ALICE, Login::BOB);
    let user = format!("{}:{}@", alice.name, alice.password);
    for (listener, user) in [
        (RabbitListener::Tls, user.as_str()),
        (RabbitListener::WrongHost, user.as_str()),
        (RabbitListener::Mtls, ""),
    ] {
        let url = nodes.url_of(listener, user).unwrap_or_default();
        lines.push(format!("{} {url}", listener.name()));
    }
    lines.push(format!("certificates {}", directory(server).display()));
    lines.push(format!(
        "users {} {} and, by its certificate, {} (may do everything with names that start with {ALLOWED_PREFIX}), {} {} \
         (may do nothing)",
        alice.name,
        alice.password,
        security::CLIENT,
        bob.name,
        bob.password
    ));
    lines
}
