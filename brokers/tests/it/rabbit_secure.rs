//! The secure RabbitMQ lets in whom it should, and nobody else.

use brokers::{Certificates, Login, Rabbit, RabbitListener, RabbitOptions, or_skip};

use crate::amqp::{self, Client, address};
use crate::openssl::{Tls, handshake};
use crate::support::eventually;

#[test]
fn the_secure_rabbitmq_lets_in_whom_it_should_and_nobody_else() {
    let test = "the_secure_rabbitmq_lets_in_whom_it_should_and_nobody_else";
    let Some(rabbit) = or_skip(test, Rabbit::start(RabbitOptions::secure())) else {
        return;
    };
    let certificates = rabbit.certificates().unwrap();
    certificates_are_checked(&rabbit, certificates);
    passwords_and_rights_are_checked(&rabbit, certificates);
    a_certificate_is_a_name(&rabbit, certificates);
    // Two of the doors are opened after the start, so after every start.
    rabbit.restart(1).unwrap();
    certificates_are_checked(&rabbit, certificates);
    a_certificate_is_a_name(&rabbit, certificates);
}

fn certificates_are_checked(rabbit: &Rabbit, certificates: &Certificates) {
    let authority = certificates.authority();
    for (listener, trusted, expected) in [
        (RabbitListener::Tls, &authority, "Verify return code: 0 (ok)"),
        (
            RabbitListener::Tls,
            &certificates.other_authority(),
            "Verification error",
        ),
        (RabbitListener::WrongHost, &authority, "hostname mismatch"),
    ] {
        let url = rabbit.url_of(listener, None).unwrap();
        let said = handshake(address(&url), trusted, &[]);
        assert!(said.contains(expected), "{listener:?} with {trusted:?}:\n{said}");
    }
    let mtls = rabbit.url_of(RabbitListener::Mtls, None).unwrap();
    // In TLS 1.3 the client learns of it after the handshake only, when openssl has gone already.
    let said = handshake(address(&mtls), &authority, &["-tls1_2"]);
    assert!(said.contains("alert"), "{said}");
}

fn passwords_and_rights_are_checked(rabbit: &Rabbit, certificates: &Certificates) {
    let (alice, bob) = (Login::ALICE, Login::BOB);
    let url = rabbit.url_of(RabbitListener::Tls, Some(alice)).unwrap();
    assert!(url.starts_with("amqps://alice:alice-pw@localhost:") && url.ends_with("/%2F"));
    for (user, password, expected) in [
        (alice.name, alice.password, None),
        (alice.name, "guessed", Some("ACCESS_REFUSED")),
        ("mallory", alice.password, Some("ACCESS_REFUSED")),
        ("client", "", Some("ACCESS_REFUSED")),
        (
            bob.name,
            bob.password,
            Some("access to vhost '/' refused for user 'bob'"),
        ),
    ] {
        let stream = Tls::connect(address(&url), &certificates.authority(), &[]);
        let result = Client::login(stream, "PLAIN", &amqp::plain(user, password), "/");
        match (result.err(), expected) {
            (None, None) => {}
            (Some(said), Some(expected)) if said.contains(expected) => {}
            (result, _) => panic!("{user} with {password}: {result:?} in place of {expected:?}"),
        }
    }
    for (queue, expected) in [
        ("alice-orders", None),
        ("orders", Some("access to queue 'orders'")),
    ] {
        let stream = Tls::connect(address(&url), &certificates.authority(), &[]);
        let secret = amqp::plain(alice.name, alice.password);
        let mut client = Client::login(stream, "PLAIN", &secret, "/").unwrap();
        client.open(1);
        let refused = client.declare(1, queue).err();
        match (&refused, expected) {
            (None, None) => {}
            (Some(said), Some(expected)) if said.contains(expected) => {}
            _ => panic!("{queue}: {refused:?} in place of {expected:?}"),
        }
    }
}

fn a_certificate_is_a_name(rabbit: &Rabbit, certificates: &Certificates) {
    let url = rabbit.url_of(RabbitListener::Mtls, None).unwrap();
    let (certificate, key) = (certificates.client_certificate(), certificates.client_key());
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let own = ["-cert", certificate, "-key", key];
    let stream = Tls::connect(address(&url), &certificates.authority(), &own);
    let mut client = Client::login(stream, "EXTERNAL", b"", "/").unwrap();
    client.open(1);
    client.declare(1, "alice-invoices").unwrap();
    // Those that were closed are listed a while longer, so it need not be the only one, nor the first.
    eventually("the server tells a connection of the user `client`", || {
        let connections = rabbit.api().get("connections?disable_stats=true").unwrap();
        let connections = connections.as_array().expect("a list of connections");
        connections
            .iter()
            .any(|connection| connection["user"] == "client")
    });

    let other = rabbit.url_of(RabbitListener::Tls, None).unwrap();
    let stream = Tls::connect(address(&other), &certificates.authority(), &[]);
    let refused = Client::login(stream, "EXTERNAL", b"", "/").err();
    assert!(
        refused
            .as_ref()
            .is_some_and(|said| said.contains("ACCESS_REFUSED")),
        "{refused:?}"
    );
}
