//! Dead letters that somebody else has written, or that can never go back: they stay, and hold up nobody.

use crate::events::Seen;
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{DestinationSpec, Error, Selection, names};

async fn note(Text(order): Text, State(seen): State<Seen>) {
    seen.note(order.get(..8).unwrap_or(&order));
}

async fn shop(seen: &Seen, toml: &str) -> Result<TestApp, Error> {
    let app = App::new("shop").add(on("orders", note).group("shipping"));
    let config = Config::from_toml(toml, "t.toml")?;
    TestApp::start_with(app.with_state(seen.clone()), config).await
}

fn letter(payload: &str, headers: &[(&str, &str)]) -> Message {
    let message = Message::new(payload.to_owned()).with_key("ada");
    let headers = headers.iter();
    headers.fold(message, |message, (name, value)| {
        message.with_header(name, *value).expect("a small header")
    })
}

/// Writes a dead letter as no engine would: straight to the broker, into partition 0.
async fn write(test: &TestApp, message: Message) -> Result<(), tidings::PublishError> {
    let binder = test.running().binder("main").expect("there is one");
    let outgoing = tidings_core::Outgoing {
        partition: Some(0),
        ..tidings_core::Outgoing::new("orders.DLT", message)
    };
    binder.sink().publish(outgoing).await.map(drop)
}

const ORIGIN: [(&str, &str); 3] = [
    (names::GROUP, "shipping"),
    (names::ORIGIN_DESTINATION, "orders"),
    (names::ORIGIN_OFFSET, "0"),
];

#[tokio::test(start_paused = true)]
async fn a_letter_with_a_forged_origin_does_not_stop_the_redrive_of_the_others() -> Result<(), Error> {
    let seen = Seen::default();
    let test = shop(&seen, "").await?;
    let forged = [&ORIGIN[..], &[(names::ORIGIN_PARTITION, "99")]].concat();
    write(&test, letter("forged", &forged)).await?;
    // Beyond one read of 1 MiB, so that the others are in later chunks.
    let large = format!("honest  {}", "x".repeat(600_000));
    let honest = [&ORIGIN[..], &[(names::ORIGIN_PARTITION, "1")]].concat();
    for _ in 0..4 {
        write(&test, letter(&large, &honest)).await?;
    }
    let report = test.redrive("shipping", Selection::All).await?;
    assert_eq!((report.selected, report.redriven, report.refused), (5, 5, 0));
    test.settled().await?;
    assert_eq!(
        seen.sorted(),
        ["forged", "honest  ", "honest  ", "honest  ", "honest  "]
    );
    let (binder, _) = test.running().channel("orders")?;
    let retry = binder
        .positions("orders.shipping.retry", None)
        .await
        .expect("it is there");
    let ends: Vec<_> = retry.iter().map(|at| at.end).collect();
    assert_eq!(
        ends,
        [1, 4, 0, 0],
        "the forged one has the partition of its letter"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_waits_where_the_retry_lane_has_no_partition_goes_by_its_key() -> Result<(), Error> {
    let seen = Seen::default();
    let broker = tidings::embedded::EmbeddedBroker::open(
        tidings::embedded::EmbeddedOptions::from_url("memory:").expect("an address"),
    )
    .expect("memory can be opened");
    // Somebody has made the dead letters with more partitions than the service gives them.
    tidings::Binder::prepare(&broker, wide("orders.DLT"))
        .await
        .expect("it can be made");
    let app = App::new("shop").add(on("orders", note).group("shipping"));
    let broker = std::sync::Arc::new(broker);
    let started = TestApp::start_on(
        app.with_state(seen.clone()),
        Config::default(),
        broker.clone(),
        tidings::Clock::System,
    );
    let test = started.await?;
    let outgoing = tidings_core::Outgoing {
        partition: Some(7),
        ..tidings_core::Outgoing::new("orders.DLT", letter("beyond", &[(names::GROUP, "shipping")]))
    };
    tidings::Binder::sink(&*broker).publish(outgoing).await?;
    let report = test.redrive("shipping", Selection::All).await?;
    assert_eq!((report.redriven, report.refused), (1, 0));
    Ok(())
}

fn wide(name: &str) -> DestinationSpec {
    DestinationSpec::new(name, 8).create(tidings::Create::IfMissing)
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_for_good_is_counted_and_gives_its_place_to_the_next() -> Result<(), Error> {
    let seen = Seen::default();
    let test = shop(&seen, "[binder.main]\nmax_message_bytes = \"4KiB\"").await?;
    // The largest letter that there is room for, headers of the engine included: it goes back with a few more, and is
    // too large then.
    let mut size = 16 << 10;
    let huge = |size| letter(&"x".repeat(4_000), &ORIGIN).with_header("tidings-forged", "x".repeat(size));
    while write(&test, huge(size).expect("headers have 64 KiB"))
        .await
        .is_err()
    {
        size -= 1;
        assert!(size > 1, "nothing fits");
    }
    for order in ["one", "two"] {
        write(&test, letter(order, &ORIGIN)).await?;
    }
    let running = test.running();
    let one = running
        .redrive_with("shipping", Selection::All, 1, tidings::RedriveMode::Send)
        .await?;
    assert_eq!(
        (one.pending, one.selected, one.redriven, one.refused),
        (3, 2, 1, 1)
    );
    let all = test.redrive("shipping", Selection::All).await?;
    assert_eq!(
        (all.pending, all.selected, all.redriven, all.refused),
        (2, 2, 1, 1)
    );
    test.settled().await?;
    assert_eq!(seen.sorted(), ["one", "two"]);
    assert_eq!(test.dead_letters("orders").await?.len(), 1, "the large one stays");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn letters_of_groups_that_cannot_be_do_not_hide_the_others() -> Result<(), Error> {
    let test = shop(&Seen::default(), "").await?;
    let long = "g".repeat(3_000);
    for group in ["../../etc/passwd", "", "a\0b", &long, "a\nb", "shipping"] {
        write(&test, letter("x", &[(names::GROUP, group)])).await?;
    }
    assert_eq!(test.dead_letters("orders").await?.len(), 6);
    let report = test.redrive("shipping", Selection::All).await?;
    assert_eq!((report.pending, report.redriven), (1, 1));
    assert_eq!(test.dead_letters("orders").await?.len(), 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn letters_of_a_handler_of_dead_letters_are_listed_with_its_channel() {
    async fn refuse(_: Raw) -> Result<(), Failure> {
        Err(Failure::permanent("not this"))
    }
    async fn bury(_: Raw) -> Result<(), Failure> {
        Err(Failure::permanent("nor that"))
    }
    let app = App::new("shop")
        .add(on("orders", refuse).group("billing"))
        .add(dead_letter("orders", bury).group("undertaker"));
    let shop = TestApp::start(app.with_state(())).await.unwrap();
    shop.send("orders", Message::new("x")).await.unwrap();
    shop.settled().await.unwrap();
    let letters = shop.dead_letters("orders").await.unwrap();
    let groups: Vec<_> = letters
        .iter()
        .map(|letter| letter.diagnosis.group.as_deref())
        .collect();
    assert_eq!(groups, [Some("billing"), Some("undertaker")]);
}
