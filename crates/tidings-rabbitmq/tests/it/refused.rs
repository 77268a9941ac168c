//! What the server refuses is told for the messages that it is about, and for no other.

use crate::support::{World, answer, kept, to, until_down, with_queue};
use brokers::RabbitApi;
use serde_json::json;
use std::time::Duration;
use tidings_core::{PublishError, Sink};
use tidings_rabbitmq::{ClientOptions, RabbitSink};

#[tokio::test]
async fn an_exchange_that_is_missing_is_told_to_its_own_messages() {
    let Some(api) = brokers::rabbit_or_skip("an_exchange_that_is_missing_is_told_to_its_own_messages") else {
        return;
    };
    let world = World::new(api);
    let sink = world.sink();
    let mut receipts = Vec::new();
    for number in 0..300 {
        let destination = if number % 3 == 0 { "missing" } else { "orders" };
        receipts.push((destination, sink.publish(to(destination, number.to_string()))));
    }
    for (destination, receipt) in receipts {
        match (destination, answer(receipt).await) {
            ("orders", Ok(_)) | ("missing", Err(PublishError::UnknownDestination { .. })) => {}
            (_, other) => panic!("{destination}: {other:?}"),
        }
    }
    assert_eq!(
        world.drain("orders").await.len(),
        200,
        "nothing is published twice"
    );
    world.exchange("missing", "fanout");
    world.bind("missing", "orders", "");
    kept(&sink, to("missing", "x")).await;
}

#[tokio::test]
async fn an_exchange_that_goes_is_told_to_its_own_messages() {
    let Some(api) = brokers::rabbit_or_skip("an_exchange_that_goes_is_told_to_its_own_messages") else {
        return;
    };
    let world = World::new(api);
    world.exchange("goes", "fanout");
    world.bind("goes", "orders", "");
    let sink = world.sink();
    kept(&sink, to("goes", "x")).await;
    kept(&sink, to("orders", "x")).await;
    let path = world.host.path("exchanges", "goes");
    world.host.api().delete(&path).expect("it goes");
    let gone: Vec<_> = (0..10).map(|_| sink.publish(to("goes", "y"))).collect();
    let other = sink.publish(to("orders", "y"));
    for gone in gone {
        let error = answer(gone).await.expect_err("it is gone");
        assert!(
            matches!(error, PublishError::UnknownDestination { .. }),
            "{error}"
        );
    }
    answer(other).await.expect("it is kept");
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_it_may_be_tried_again() {
    let Some(api) = brokers::rabbit_or_skip("a_queue_that_is_full_refuses_and_it_may_be_tried_again") else {
        return;
    };
    let world = World::new(api);
    world.queue(
        "full",
        &json!({ "x-max-length": 1, "x-overflow": "reject-publish" }),
    );
    let sink = with_queue(world.sink(), "full");
    let mut refused = 0;
    for number in 0..5 {
        if let Err(error) = answer(sink.publish(to("full", number.to_string()))).await {
            assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
            refused += 1;
        }
    }
    assert!((3..=4).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_user_without_the_right_to_an_exchange_is_told_so_for_that_one() {
    let test = "a_user_without_the_right_to_an_exchange_is_told_so_for_that_one";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let world = World::new(api);
    world.exchange("secret", "fanout");
    let user = brokers::unique("ada");
    api.put(&format!("users/{user}"), &json!({ "password": "pw", "tags": "" }))
        .expect("a user");
    let rights = format!("permissions/{}/{user}", RabbitApi::segment(world.host.name()));
    api.put(
        &rights,
        &json!({ "configure": "", "write": "^orders$", "read": "" }),
    )
    .expect("rights");
    let (_, rest) = world
        .host
        .url()
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a user");
    let options = ClientOptions::from_url(&format!("amqp://{user}:pw@{rest}")).expect("an address");
    let sink = RabbitSink::open(options).expect("a sink");
    let mut receipts = Vec::new();
    for number in 0..60 {
        let destination = if number % 3 == 0 { "secret" } else { "orders" };
        receipts.push((destination, sink.publish(to(destination, number.to_string()))));
    }
    for (destination, receipt) in receipts {
        match (destination, answer(receipt).await) {
            ("orders", Ok(_)) => {}
            ("secret", Err(error @ PublishError::Unauthorized { .. })) => {
                let said = error.to_string();
                assert!(
                    said.contains("set_permissions") && said.contains("'secret'"),
                    "{said}"
                );
            }
            (_, other) => panic!("{destination}: {other:?}"),
        }
    }
    sink.close().await.expect("closed");
    api.delete(&format!("users/{user}")).expect("the user goes");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_what_to_do() {
    let Some(api) = brokers::rabbit_or_skip("who_is_not_let_in_is_told_why_and_what_to_do") else {
        return;
    };
    let world = World::new(api);
    let url = world.host.url();
    let (_, at) = url.split_once('@').expect("a user");
    let (server, _) = at.split_once('/').expect("a virtual host");
    for (url, words) in [
        (
            format!("amqp://guest:wrong@{at}"),
            ["Login was refused", "check the user and the password"],
        ),
        (
            format!("amqp://guest:guest@{server}/no-such"),
            ["vhost no-such not found", "add_vhost"],
        ),
    ] {
        let options = ClientOptions::from_url(&url).expect("an address");
        let options = options.with_message_timeout(Duration::from_millis(1500));
        let sink = RabbitSink::open(options).expect("a sink");
        let receipt = sink.publish(to("orders", "x"));
        until_down(&sink, &words).await;
        let error = answer(receipt).await.expect_err("it is not published");
        let said = format!("{error} {:?} {:?}", sink.health(), sink);
        assert!(matches!(error, PublishError::Unavailable { .. }), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(!said.contains("wrong"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told_with_its_address_and_found_when_it_is_one_of_several() {
    let test = "a_server_that_is_away_is_told_with_its_address_and_found_when_it_is_one_of_several";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let world = World::new(api);
    let nobody = ClientOptions::from_url("amqp://127.0.0.1:1").expect("an address");
    let sink = RabbitSink::open(nobody.with_message_timeout(Duration::from_millis(500))).expect("a sink");
    let error = answer(sink.publish(to("orders", "x")))
        .await
        .expect_err("nobody is there");
    let said = error.to_string();
    assert!(
        said.contains("127.0.0.1:1") && said.contains("start the server"),
        "{said}"
    );
    let several = world.host.url().replace('@', "@127.0.0.1:1,");
    let sink = RabbitSink::open(ClientOptions::from_url(&several).expect("an address")).expect("a sink");
    kept(&sink, to("orders", "x")).await;
}
