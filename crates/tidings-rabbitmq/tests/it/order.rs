//! Messages keep the order of the calls.

use crate::support::{World, answer, channel, consume, count, kept, to, with_queue};
use brokers::{Fault, Side};
use std::time::Duration;
use tidings_core::Sink;

const MESSAGES: usize = 100_000;

#[tokio::test]
async fn a_hundred_thousand_messages_arrive_in_order() {
    let Some(api) = brokers::rabbit_or_skip("a_hundred_thousand_messages_arrive_in_order") else {
        return;
    };
    let world = World::new(api);
    let sink = with_queue(world.sink(), "orders");
    let url = world.host.url();
    let reading = tokio::spawn(async move { consume(&url, "orders", MESSAGES).await });
    let mut receipts = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        receipts.push(sink.publish(to("orders", number.to_string())));
    }
    let mut offsets = Vec::with_capacity(MESSAGES);
    for receipt in receipts {
        offsets.push(answer(receipt).await.expect("it is kept"));
    }
    assert!(offsets.is_sorted_by(|one, next| one < next));
    let all = reading.await.expect("it is read");
    let wrong = all
        .iter()
        .enumerate()
        .find(|(number, payload)| number.to_string().as_bytes() != **payload);
    assert!(
        all.len() == MESSAGES && wrong.is_none(),
        "{} of them, {wrong:?}",
        all.len()
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_under_load_costs_neither_a_message_nor_the_order() {
    let test = "a_connection_that_is_cut_under_load_costs_neither_a_message_nor_the_order";
    let Some(api) = brokers::rabbit_or_skip(test) else {
        return;
    };
    let world = World::new(api);
    let url = world.host.url();
    let address = url
        .rsplit_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .expect("an address");
    let proxy = brokers::FaultProxy::start(address.0).expect("a proxy");
    let through = url.replace(address.0, &proxy.address().to_string());
    let options = tidings_rabbitmq::ClientOptions::from_url(&through).expect("an address");
    let sink = with_queue(
        tidings_rabbitmq::RabbitSink::open(options).expect("a sink"),
        "orders",
    );
    let publish = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers
            .map(|number| sink.publish(to("orders", number.to_string())))
            .collect()
    };
    // Of these it is sure that they are there twice: they are kept, and nobody is told.
    kept(&sink, to("orders", "0")).await;
    proxy.set(Fault::Mute(Side::Server));
    let mut receipts = publish(1..20);
    let (_connection, other) = channel(&url).await;
    while count(&other, "orders").await < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.cut();
    proxy.set(Fault::Pass);
    for round in 0..5 {
        let first = 20 + round * 2_000;
        let mut sent = publish(first..first + 2_000);
        // Here some are confirmed, and those behind them are on their way.
        let confirmed = sent.swap_remove(round * 400);
        answer(confirmed).await.expect("it is kept");
        proxy.cut();
        receipts.append(&mut sent);
    }
    for receipt in receipts {
        answer(receipt).await.expect("it is kept");
    }
    let all = world.payloads("orders").await;
    // What was on its way may be there twice; whoever leaves out what was there already sees the order of the calls.
    let mut next = 0_usize;
    for payload in &all {
        let number: usize = payload.parse().expect("a number");
        assert!(number <= next, "{number} came before {next}");
        next = next.max(number + 1);
    }
    assert_eq!(next, 10_020);
    assert!(
        all.len() >= 10_039,
        "no cut hit a message: the test shows nothing"
    );
}
