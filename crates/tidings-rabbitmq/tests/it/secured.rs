//! TLS, and who comes by certificate.

use crate::support::{answer, to, until_down, with_queue};
use brokers::{Certificates, Login, Rabbit, RabbitListener, RabbitOptions, or_skip};
use serde_json::json;
use std::time::Duration;
use tidings_core::Sink;
use tidings_rabbitmq::{Auth, ClientOptions, RabbitSink};

#[tokio::test]
async fn tls_is_checked_on_both_sides_and_its_errors_are_told_apart() {
    let test = "tls_is_checked_on_both_sides_and_its_errors_are_told_apart";
    let Some(rabbit) = or_skip(test, Rabbit::start(RabbitOptions::secure())) else {
        return;
    };
    let certificates = rabbit.certificates().expect("certificates");
    let body = json!({ "durable": true });
    rabbit
        .api()
        .put("queues/%2F/alice-orders", &body)
        .expect("a queue");
    let options = |listener, user| {
        let url = rabbit.url_of(listener, user).expect("an address");
        ClientOptions::from_url(&url).expect("an address")
    };
    let by_password =
        || options(RabbitListener::Tls, Some(Login::ALICE)).with_tls_ca(certificates.authority());
    publishes(by_password()).await;
    let shows = |options: ClientOptions| shows(options, certificates);
    publishes(shows(options(RabbitListener::Mtls, None)).with_auth(Auth::External)).await;
    for (options, words) in [
        (
            by_password().with_tls_ca(certificates.other_authority()),
            ["not trusted", "tls_ca"],
        ),
        (
            options(RabbitListener::WrongHost, Some(Login::ALICE)).with_tls_ca(certificates.authority()),
            ["another host", "as the certificate names it"],
        ),
        (
            options(RabbitListener::Mtls, Some(Login::ALICE)).with_tls_ca(certificates.authority()),
            ["wants a certificate", "tls_certificate"],
        ),
        (
            options(RabbitListener::Tls, Some(Login::BOB)).with_tls_ca(certificates.authority()),
            ["access to vhost", "set_permissions -p"],
        ),
    ] {
        let sink = RabbitSink::open(options).expect("a sink");
        let _receipt = sink.publish(to("alice-orders", "x"));
        until_down(&sink, &words).await;
    }
}

fn shows(options: ClientOptions, certificates: &Certificates) -> ClientOptions {
    options
        .with_tls_ca(certificates.authority())
        .with_tls_certificate(certificates.client_certificate(), certificates.client_key())
}

async fn publishes(options: ClientOptions) {
    let sink = RabbitSink::open(options.with_message_timeout(Duration::from_secs(20))).expect("a sink");
    let sink = with_queue(sink, "alice-orders");
    answer(sink.publish(to("alice-orders", "x")))
        .await
        .expect("it is kept");
    sink.close().await.expect("closed");
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_their_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let (nothing, missing) = (
        directory.path().join("empty.pem"),
        directory.path().join("missing.pem"),
    );
    std::fs::write(&nothing, "").expect("written");
    let secure = || ClientOptions::from_url("amqps://localhost").expect("an address");
    for (options, words) in [
        (secure().with_tls_ca(&missing), ["missing.pem", "tls_ca"]),
        (
            secure().with_tls_ca(&nothing),
            ["empty.pem", "no certificate in it"],
        ),
        (
            secure().with_auth(Auth::External),
            ["external", "tls_certificate"],
        ),
        (
            ClientOptions::from_url("amqp://h")
                .expect("an address")
                .with_tls_ca(&nothing),
            ["without it", "amqps:"],
        ),
    ] {
        let error = RabbitSink::open(options).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
