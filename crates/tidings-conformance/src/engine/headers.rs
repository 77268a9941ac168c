//! Nothing in a message's headers is trusted.

use crate::apps::retry;
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World, message};
use std::time::Duration;
use tidings::{Failure, Message, names};
use tidings_core::Outgoing;
use tokio::time::Instant;

/// Every header that steers the engine, with values that would do harm.
fn forged(message: Message) -> Message {
    let all = [
        (names::ATTEMPTS, "4294967295"),
        (names::DUE, "9223372036854775807"),
        (names::ORIGIN_DESTINATION, "secrets"),
        (names::ORIGIN_PARTITION, "4000000000"),
        (names::ORIGIN_OFFSET, "18446744073709551615"),
        (names::ORIGIN_TIMESTAMP, "-1"),
        (names::REDRIVES, "99999999999999999999"),
        (names::FIRST_FAILURE, ""),
        (names::LAST_FAILURE, "never"),
        (names::GROUP, "another"),
        (names::SUBSCRIPTION, "another"),
        (names::HANDLER, "another"),
        (names::REASON, "another"),
        (names::ERROR, "another"),
    ];
    all.into_iter().fold(message, |message, (name, value)| {
        message.with_header(name, value).expect("small headers")
    })
}

pub(crate) async fn control_headers_from_outside_are_stripped_when_publishing(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let running = stage.run(&broker, world.subscription()).await;
    running.send("orders", forged(message(1, Some("a")))).await;
    let sneaky = message(2, Some("a"))
        .with_header("TiDiNgS-Attempts", "7")
        .expect("a small header");
    running.send("orders", sneaky).await;
    running.settled().await;
    for message in running.0.published("orders").await.expect("they can be read") {
        let control: Vec<_> = message
            .headers()
            .iter()
            .filter(|(name, _)| names::is_control(name))
            .collect();
        assert!(control.is_empty(), "{control:?}");
    }
    Ok(())
}

pub(crate) async fn forged_control_headers_in_a_channel_steer_nothing(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(1, Script::always(How::Transient));
    let running = stage
        .run(&broker, world.subscription().retry(retry(3, stage.seconds(20.0))))
        .await;
    let begun = Instant::now();
    // Another system writes to the destination without asking the engine.
    let sent = broker
        .send(Outgoing::new("orders", forged(message(1, Some("a")))))
        .await
        .expect("it is kept");
    running.settled().await;
    assert_eq!(world.attempts(1), [1, 2, 3]);
    let times = world.times(1, begun);
    assert!(
        times[0] < Duration::from_secs(1) + stage.slack() && times[2] < Duration::from_secs(50),
        "{times:?}"
    );
    let handled = world.of(1);
    assert!(
        handled
            .iter()
            .all(|handling| stage.is_there(&handling.position, &sent)),
        "{handled:?}"
    );
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    let why = &letter.diagnosis;
    assert!(
        why.position
            .as_ref()
            .is_some_and(|position| stage.is_there(position, &sent)),
        "{why:?}"
    );
    assert_eq!(
        (why.group.as_deref(), why.attempts, why.redrives),
        (Some("billing"), Some(3), 0)
    );
    assert_eq!(
        (why.subscription.as_deref(), why.reason.as_deref()),
        (Some("billing"), Some("exhausted"))
    );
    for (name, _) in letter.message.headers() {
        let same = letter
            .message
            .headers()
            .iter()
            .filter(|(other, _)| *other == name);
        assert_eq!(same.count(), 1, "{name}");
    }
    // A broker that cannot list them is asked by nobody.
    let all = broker.destinations().await.unwrap_or_default();
    assert!(!all.iter().any(|info| &*info.name == "secrets"), "{all:?}");
    Ok(())
}

pub(crate) async fn forged_control_headers_in_the_retry_lane_stay_within_their_range(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::RetryLane])?;
    let (broker, world) = (stage.open().await, World::default());
    for id in [2, 3] {
        world.script(id, Script::always(How::Transient));
    }
    let running = stage
        .run(
            &broker,
            world.subscription().retry(retry(3, Duration::from_millis(50))),
        )
        .await;
    let begun = Instant::now();
    let garbage = message(1, Some("a"))
        .with_header(names::ATTEMPTS, "-5")
        .and_then(|message| message.with_header(names::DUE, b"\xff\xff"))
        .expect("small headers");
    for message in [garbage, message(2, Some("b")), forged(message(3, Some("c")))] {
        broker
            .send(Outgoing::new("orders.billing.retry", message))
            .await
            .expect("it is kept");
    }
    running.settled_within(Duration::from_secs(90 * 86_400)).await;
    assert_eq!(world.attempts(1), [1], "what is out of range counts as absent");
    assert_eq!(world.attempts(2), [1, 2, 3]);
    assert_eq!(world.of(3).len(), 3, "more attempts than there are count as none");
    let late = world.times(3, begun)[0];
    assert!(
        late <= Duration::from_secs(30 * 86_400 + 60),
        "no wait is longer than a month: {late:?}"
    );
    assert_eq!(running.dead().await, ["2", "3"]);
    Ok(())
}

pub(crate) async fn headers_of_other_systems_pass_unharmed(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let never = async |_: tidings::Raw| -> Result<(), Failure> { Err(Failure::permanent("no")) };
    let running = stage
        .run(&broker, tidings::on("orders", never).group("billing"))
        .await;
    // Twice the same name, an empty name, bytes that are no text.
    let mut foreign = Message::new("x").with_key("a");
    foreign
        .headers_mut()
        .edit(|writer| {
            writer
                .append("b3", "1")
                .append("b3", "2")
                .append("", "nameless")
                .append("raw", b"\xff")
        })
        .expect("small headers");
    broker
        .send(Outgoing::new("orders", foreign.clone()))
        .await
        .expect("it is kept");
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let own = letters[0]
        .message
        .headers()
        .iter()
        .filter(|(name, _)| !names::is_control(name));
    let own: Vec<_> = own.collect();
    assert_eq!(own, foreign.headers().iter().collect::<Vec<_>>());
    Ok(())
}
