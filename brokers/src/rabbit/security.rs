//! What makes a node secure: its lines of `rabbitmq.conf`, two more doors, users and their rights. Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::options::RabbitListener;
use super::plan::NodePlan;
use crate::security::{ALLOWED_PREFIX, Login, directory};

/// The user whose name is the common name of the client certificate; it has no password.
pub(crate) const CLIENT: &str = "client";

/// The lines for TLS with passwords, and for client certificates as names.
pub(crate) fn lines(port: u16, server: &Path) -> Vec<(String, String)> {
    let tls = directory(server);
    let file = |name: &str| tls.join(name).display().to_string();
    [
        ("listeners.ssl.1", format!("127.0.0.1:{port}")),
        ("ssl_options.cacertfile", file("ca.crt")),
        ("ssl_options.certfile", file("server.crt")),
        ("ssl_options.keyfile", file("server.key")),
        // Certificates are names only where this is set for all doors; who shows none comes in by password.
        ("ssl_options.verify", "verify_peer".into()),
        ("ssl_options.fail_if_no_peer_cert", "false".into()),
        ("auth_mechanisms.1", "PLAIN".into()),
        ("auth_mechanisms.2", "AMQPLAIN".into()),
        ("auth_mechanisms.3", "EXTERNAL".into()),
        ("ssl_cert_login_from", "common_name".into()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// Opens the doors that a configuration file cannot describe: it knows one certificate for all. For `rabbitmqctl eval`,
/// after each start.
pub(crate) fn open_doors(node: &NodePlan, server: &Path) -> String {
    let door = |listener, certificate, demands: &str| {
        let port = node.port(listener);
        let port = port.expect("a secure node has every listener");
        let tls = directory(server);
        let tls = tls.display();
        format!(
            "ok = rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, [\
             {{cacertfile, \"{tls}/ca.crt\"}}, {{certfile, \"{tls}/{certificate}.crt\"}}, \
             {{keyfile, \"{tls}/{certificate}.key\"}}, {demands}], 2)"
        )
    };
    let demanded = "{verify, verify_peer}, {fail_if_no_peer_cert, true}";
    format!(
        "{}, {}.",
        door(RabbitListener::WrongHost, "wronghost", "{verify, verify_none}"),
        door(RabbitListener::Mtls, "server", demanded)
    )
}

/// What is put where in the management API, in that order.
pub(crate) fn users() -> Vec<(String, Value)> {
    let password = |login: Login| {
        let user = json!({ "password": login.password, "tags": "" });
        (format!("users/{}", login.name), user)
    };
    // A hash that no password has: only the certificate lets this user in.
    let client = json!({ "password_hash": "", "tags": "" });
    let rights = |user: &str| {
        let own = format!("^{ALLOWED_PREFIX}.*");
        // Whoever publishes to a queue by its name writes to the exchange without a name.
        let write = format!("^({ALLOWED_PREFIX}.*|amq\\.default)$");
        let rights = json!({ "configure": own, "write": write, "read": own });
        (format!("permissions/%2F/{user}"), rights)
    };
    vec![
        password(Login::ALICE),
        password(Login::BOB),
        (format!("users/{CLIENT}"), client),
        rights(Login::ALICE.name),
        rights(CLIENT),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rabbit::options::RabbitLayout;
    use crate::rabbit::plan;

    #[test]
    fn the_extra_doors_have_their_own_certificates_and_only_one_demands_the_clients() {
        let plan = plan::plan(RabbitLayout::Secure, &mut (1000..));
        let text = open_doors(&plan.nodes[0], Path::new("/run/r"));
        let (wrong, mutual) = text.split_once(", 2), ").unwrap();
        assert!(
            wrong.contains("1005") && wrong.contains("/run/r/tls/wronghost.crt"),
            "{text}"
        );
        assert!(
            mutual.contains("1006") && mutual.contains("/run/r/tls/server.crt"),
            "{text}"
        );
        assert!(!wrong.contains("fail_if_no_peer_cert") && mutual.contains("fail_if_no_peer_cert"));
    }

    #[test]
    fn a_user_without_rights_is_made_and_given_none() {
        let places: Vec<String> = users().into_iter().map(|(place, _)| place).collect();
        let about = |user: &str| places.iter().filter(|place| place.ends_with(user)).count();
        assert_eq!((about("alice"), about("bob"), about(CLIENT)), (2, 1, 2));
    }
}
