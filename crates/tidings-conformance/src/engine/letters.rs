//! Dead letters.

use crate::apps::{app, retry};
use crate::faulty::{Faults, PublishFault};
use crate::features::Feature;
use crate::stage::{Stage, Verdict};
use crate::world::{How, Script, World};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::{
    App, DeadLetterHeaders, Diagnosis, Failure, Json, Message, Outputs, Position, Raw, Text, Timestamp,
    dead_letter, names, on, partition_for_key, spring,
};
use tidings_core::Outgoing;
use tidings_core::headers::CONTROL_HEADER_RESERVE;

pub(crate) async fn dead_letters_are_exactly_the_exhausted_and_the_permanent(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    for id in 0..60 {
        world.script(
            id,
            match id % 6 {
                0 => Script::always(How::Transient),
                1 => Script::fails(2, How::Transient),
                2 => Script::fails(3, How::Panic),
                3 => Script::fails(1, How::Permanent),
                _ => Script::default(),
            },
        );
    }
    let subscription = world
        .subscription()
        .concurrency(4)
        .retry(retry(3, Duration::from_millis(30)));
    let running = stage.run(&broker, subscription).await;
    for id in 0..60 {
        running.order(id, &format!("key {}", id % 7)).await;
    }
    running.settled().await;
    let mut expected: Vec<_> = (0..60)
        .filter(|id| [0, 2, 3].contains(&(id % 6)))
        .map(|id| id.to_string())
        .collect();
    expected.sort();
    assert_eq!(running.dead().await, expected);
    assert_eq!(world.succeeded().len(), 30);
    for id in 0..60 {
        let expected = [3, 3, 3, 1, 1, 1][id as usize % 6];
        assert_eq!(world.of(id).len(), expected, "deliveries of {id}");
    }
    world.keys_kept_their_order();
    Ok(())
}

pub(crate) async fn a_dead_letter_is_byte_identical_and_says_why(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let never = async |_: Raw| -> Result<(), Failure> {
        let io = std::io::Error::other("no route to the bank");
        Err(Failure::from(io))
    };
    let subscription = on("orders", never)
        .group("billing")
        .retry(retry(2, stage.seconds(40.0)));
    let running = stage.run(&broker, subscription).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let message = Message::new(every_byte.clone())
        .with_key(every_byte.clone())
        .with_timestamp(Timestamp::from_millis(12_345))
        .with_header("tenant", &every_byte)
        .expect("a small header");
    let began = stage.clock.now();
    // Where its key would not have put it.
    let partitions = stage.partitions();
    let elsewhere = (partition_for_key(&every_byte, partitions) + 1) % partitions;
    let publisher = running.0.running().publisher();
    let sent = publisher
        .to("orders")
        .partition(elsewhere)
        .message(message.clone())
        .await;
    let position = sent.expect("it is kept");
    running.settled().await;

    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    if stage.needs(&[Feature::Offsets]).is_ok() {
        assert_eq!(letter.position.destination(), "orders.DLT");
    }
    assert_eq!(
        letter.position.partition(),
        position.partition(),
        "the same partition"
    );
    assert_eq!(letter.message.payload(), message.payload());
    assert_eq!(letter.message.key(), message.key());
    // Brokers delete by it: that of an old message would take the letter with it.
    let written = letter.message.timestamp().expect("every message has one");
    assert!(written >= began, "{written:?} is before {began:?}");
    assert_eq!(letter.message.headers().get("tenant"), Some(&every_byte[..]));
    let sent = running
        .0
        .published("orders")
        .await
        .expect("they can be read")
        .remove(0);
    for (name, value) in sent.headers() {
        assert_eq!(letter.message.headers().get(name), Some(value), "{name}");
    }
    let said = letter.diagnosis.position.as_ref().expect("it says where it was");
    assert!(stage.is_there(said, &position), "{said:?} and not {position:?}");
    says_why(&letter.diagnosis, began, stage.seconds(40.0));
    Ok(())
}

pub(crate) async fn a_dead_letter_goes_by_its_key_where_its_partition_is_missing(stage: Stage) -> Verdict {
    stage.needs(&[Feature::Partitions])?;
    let broker = stage.open().await;
    // They were made by somebody else, with fewer partitions.
    broker.has("orders.DLT", 3).await;
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("no")) };
    let app = App::new("case")
        .channel("orders", |channel| channel.partitions(6))
        .add(on("orders", never).group("billing"));
    let running = stage.start(&broker, app).await;
    let publisher = running.0.running().publisher();
    for id in 0..24u32 {
        let message = Message::new(id.to_string()).with_key(format!("key {id}"));
        let sent = publisher.to("orders").partition(id % 6).message(message).await;
        sent.expect("it is kept");
    }
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    assert_eq!(letters.len(), 24);
    for letter in &letters {
        let from = letter
            .diagnosis
            .position
            .as_ref()
            .expect("it says so")
            .partition();
        let key = letter.message.key().expect("it has one");
        let expected = if from < 3 { from } else { partition_for_key(key, 3) };
        assert_eq!(letter.position.partition(), expected, "from {from}");
    }
    Ok(())
}

fn says_why(why: &Diagnosis, began: Timestamp, wait: Duration) {
    assert_eq!(why.timestamp, Some(Timestamp::from_millis(12_345)));
    assert_eq!(why.group.as_deref(), Some("billing"));
    assert_eq!(why.subscription.as_deref(), Some("billing"));
    assert!(
        why.handler
            .as_ref()
            .is_some_and(|handler| handler.contains("letters")),
        "{why:?}"
    );
    assert_eq!(
        (why.reason.as_deref(), why.attempts),
        (Some("exhausted"), Some(2))
    );
    assert!(
        why.error
            .as_ref()
            .is_some_and(|error| error.contains("no route to the bank")),
        "{why:?}"
    );
    let (first, last) = (
        why.first_failure.expect("known"),
        why.last_failure.expect("known"),
    );
    assert!(first >= began && last.since(first) >= wait, "{first:?} {last:?}");
}

pub(crate) async fn a_diagnosis_is_bounded(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("ü".repeat(100_000))) };
    // In both kinds of words, they are the most that is ever added.
    let subscription = on("orders", never)
        .group("billing")
        .headers(DeadLetterHeaders::Spring);
    let running = stage.run(&broker, subscription).await;
    running.order(1, "a").await;
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let added = letters[0].message.headers().size();
    assert!(added < CONTROL_HEADER_RESERVE, "{added} bytes of headers");
    assert!(
        letters[0]
            .diagnosis
            .error
            .as_ref()
            .is_some_and(|error| error.len() > 500)
    );
    Ok(())
}

pub(crate) async fn a_dead_letter_in_springs_words_has_its_names_and_encodings(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("no route to the bank")) };
    let subscription = on("orders", never)
        .group("billing")
        .headers(DeadLetterHeaders::Spring);
    let running = stage.run(&broker, subscription).await;
    // What another service has said of an earlier death must not stand beside what is said now.
    let message = Message::new("x")
        .with_key("a")
        .with_timestamp(Timestamp::from_millis(12_345))
        .with_header(spring::ORIGINAL_TOPIC, "stale")
        .and_then(|message| message.with_header("__TypeId__", "org.shop.Order"))
        .expect("small headers");
    // Neither number reads the same from both ends.
    let publisher = running.0.running().publisher();
    let to_the_last = |message| {
        publisher
            .to("orders")
            .partition(stage.partitions() - 1)
            .message(message)
    };
    to_the_last(message.clone()).await.expect("it is kept");
    let position = to_the_last(message).await.expect("it is kept");
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let [_, letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    let said = letter.diagnosis.position.as_ref().expect("it says where it was");
    assert!(stage.is_there(said, &position), "{said:?} and not {position:?}");
    let partition = said.partition() as i32;
    let offset = said.offset() as i64;
    let expected: [(&str, &[u8]); 9] = [
        (spring::ORIGINAL_TOPIC, b"orders"),
        (spring::ORIGINAL_PARTITION, &partition.to_be_bytes()),
        (spring::ORIGINAL_OFFSET, &offset.to_be_bytes()),
        (spring::ORIGINAL_TIMESTAMP, &12_345_i64.to_be_bytes()),
        (spring::ORIGINAL_TIMESTAMP_TYPE, b"CreateTime"),
        (spring::ORIGINAL_CONSUMER_GROUP, b"billing"),
        (spring::EXCEPTION_FQCN, b"tidings.Failure.permanent"),
        (spring::EXCEPTION_MESSAGE, b"no route to the bank"),
        (spring::DELIVERY_ATTEMPT, &[0, 0, 0, 1]),
    ];
    for (name, value) in expected {
        let found: Vec<_> = letter
            .message
            .headers()
            .iter()
            .filter(|(other, _)| *other == name)
            .collect();
        assert_eq!(found, [(name, value)]);
    }
    let headers = letter.message.headers();
    assert!(
        headers
            .get_str(spring::EXCEPTION_STACKTRACE)
            .is_some_and(|trace| trace.contains("no route"))
    );
    assert_eq!(headers.get_str("__TypeId__"), Some("org.shop.Order"));
    // Ours are there too, and say more.
    assert_eq!(letter.diagnosis.reason.as_deref(), Some("permanent"));
    Ok(())
}

pub(crate) async fn a_letter_that_spring_wrote_is_understood_and_goes_back_to_its_group(
    stage: Stage,
) -> Verdict {
    // Of topics: letters of Spring Kafka know no queue.
    stage.needs(&[Feature::RetryLane, Feature::Redrive, Feature::Offsets])?;
    let (broker, world) = (stage.open().await, World::default());
    let running = stage.run(&broker, world.subscription()).await;
    let sent = Timestamp::from_millis(12_345);
    let letter = crate::world::message(7, Some("a"))
        .with_timestamp(Timestamp::from_millis(99_999))
        .with_header(spring::ORIGINAL_TOPIC, "orders")
        .and_then(|letter| letter.with_header(spring::ORIGINAL_PARTITION, 1_i32.to_be_bytes()))
        .and_then(|letter| letter.with_header(spring::ORIGINAL_OFFSET, 41_i64.to_be_bytes()))
        .and_then(|letter| letter.with_header(spring::ORIGINAL_TIMESTAMP, sent.as_millis().to_be_bytes()))
        .and_then(|letter| letter.with_header(spring::ORIGINAL_CONSUMER_GROUP, "billing"))
        .and_then(|letter| letter.with_header(spring::EXCEPTION_MESSAGE, "no route to the bank"))
        .expect("small headers");
    let outgoing = Outgoing {
        partition: broker.capabilities().partitions.then_some(1),
        ..Outgoing::new("orders.DLT", letter)
    };
    broker.send(outgoing).await.expect("it is kept");
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    let why = &letters[0].diagnosis;
    let origin = Position::new("orders", 1, 41);
    assert_eq!(
        (why.group.as_deref(), why.position.as_ref()),
        (Some("billing"), Some(&origin))
    );
    assert_eq!(
        (why.timestamp, why.error.as_deref()),
        (Some(sent), Some("no route to the bank"))
    );
    let report = running
        .0
        .redrive("billing", tidings::Selection::All)
        .await
        .expect("it goes back");
    assert_eq!(report.redriven, 1);
    running.settled().await;
    assert_eq!(world.attempts(7), [1]);
    let handled = world.of(7);
    assert_eq!(
        handled[0].position, origin,
        "it is the message that was published there"
    );
    let parked = running.0.running().binder("main").expect("there is one");
    let batch = parked
        .read("orders.billing.retry", 1, 0, 1 << 20)
        .await
        .expect("it can be read");
    let record = batch.records().first().expect("it went that way");
    let left: Vec<_> = batch
        .headers(record)
        .filter(|(name, _)| spring::is_diagnosis(name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

pub(crate) async fn the_largest_message_fits_into_the_dead_letters(stage: Stage) -> Verdict {
    stage.needs(&[Feature::SizeLimit, Feature::VirtualTime])?;
    let broker = stage
        .open_with(|opening| opening.max_message_bytes = Some(10_000))
        .await;
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::transient("e".repeat(5_000))) };
    let subscription = on("orders", never)
        .group("billing")
        .headers(DeadLetterHeaders::Spring)
        .retry(retry(3, Duration::from_secs(30)));
    let running = stage.run(&broker, subscription).await;
    let mut size = 10_000;
    // What every message carries counts too: find the largest that is accepted.
    let payload = loop {
        let payload = "x".repeat(size);
        if running
            .0
            .send("orders", Message::new(payload.clone()).with_key("a"))
            .await
            .is_ok()
        {
            break payload;
        }
        size -= 1;
        assert!(size > 9_000, "nothing is accepted");
    };
    running.settled().await;
    assert_eq!(running.dead().await, [payload]);
    Ok(())
}

pub(crate) async fn while_a_dead_letter_cannot_be_written_its_partition_waits(stage: Stage) -> Verdict {
    stage.needs(&[Feature::VirtualTime, Feature::StoredPositions])?;
    // Whatever the broker says: a dead letter is not given up.
    for fault in [PublishFault::Refused, PublishFault::Forbidden, PublishFault::Lost] {
        let stage = stage.anew();
        let (broker, faults) = Faults::over(&stage.open().await);
        let world = World::default();
        world.script(0, Script::always(How::Permanent));
        let running = stage.run(&broker, world.subscription().concurrency(4)).await;
        faults.publishes("orders.DLT", fault, usize::MAX);
        let dead = running.order(0, "dead").await;
        for id in 1..10 {
            running.order(id, "dead").await;
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let stored = broker.stored("orders", "billing").await[dead.partition() as usize];
        assert!(
            stored.unwrap_or(0) <= dead.offset(),
            "{fault:?}: {stored:?} is beyond it"
        );
        assert_eq!(
            world.handlings().len(),
            1,
            "{fault:?}: its key waits, and it is not handled again"
        );
        let why = running.status("billing").obstacle;
        assert!(
            why.as_ref().is_some_and(|why| why.contains("dead letter")),
            "{fault:?}: {why:?}"
        );
        faults.heal();
        running.settled().await;
        assert_eq!(running.dead().await, ["0"], "{fault:?}");
        assert_eq!(world.succeeded(), (1..10).collect::<Vec<_>>(), "{fault:?}");
        broker.close().await.expect("it can be closed");
    }
    Ok(())
}

pub(crate) async fn a_killed_process_leaves_no_gap_between_a_dead_letter_and_its_position(
    stage: Stage,
) -> Verdict {
    stage.needs(&[Feature::StoredPositions])?;
    let (broker, faults) = Faults::over(&stage.open().await);
    let world = World::default();
    world.script(0, Script::always(How::Permanent));
    faults.publishes("orders.DLT", PublishFault::Lost, 3);
    let mut running = stage.run(&broker, world.subscription()).await;
    running.order(0, "a").await;
    running.order(1, "a").await;
    for _ in 0..3 {
        tokio::time::sleep(stage.seconds(5.0)).await;
        running.kill().await;
        running = stage.run(&broker, world.subscription()).await;
    }
    running.settled().await;
    assert_eq!(running.dead().await, ["0"]);
    assert_eq!(world.succeeded(), [1]);
    Ok(())
}

/// What breaks parsers.
fn poison() -> Vec<Message> {
    let deep = "[".repeat(200_000);
    let payloads: [&[u8]; 7] = [
        b"",
        b"null",
        b"\xff\xfe\x00",
        b"{\"a\":",
        deep.as_bytes(),
        b"1e999",
        b"\"\\ud800\"",
    ];
    let mut all: Vec<_> = payloads
        .iter()
        .map(|payload| Message::new(payload.to_vec()).with_key("a"))
        .collect();
    all.push(Message::tombstone("a"));
    all
}

pub(crate) async fn what_cannot_be_decoded_is_dead_at_once_and_never_loops(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    let handler = {
        let world = world.clone();
        move |Json(_): Json<u64>, delivery: tidings::Delivery| world.clone().handle(delivery)
    };
    let subscription = on("orders", handler)
        .group("billing")
        .retry(retry(5, Duration::from_secs(1)));
    let running = stage.run(&broker, subscription).await;
    for (id, message) in (0..).zip(poison()) {
        running.send("orders", message).await;
        running.order(id, "a").await;
    }
    running.settled().await;
    let letters = running.0.dead_letters("orders").await.expect("they can be read");
    assert_eq!(letters.len(), poison().len());
    for letter in &letters {
        let why = &letter.diagnosis;
        assert_eq!(
            (why.reason.as_deref(), why.attempts),
            (Some("undecodable"), Some(1))
        );
        assert!(
            poison()
                .iter()
                .any(|sent| sent.payload() == letter.message.payload())
        );
    }
    assert_eq!(
        world.succeeded(),
        (0..poison().len() as u64).collect::<Vec<_>>(),
        "the others are handled"
    );
    Ok(())
}

pub(crate) async fn a_handler_of_dead_letters_sees_each_with_its_diagnosis(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = seen.clone();
    let never = async |Text(text): Text| -> Result<(), Failure> { Err(Failure::permanent(text)) };
    let look = move |diagnosis: Diagnosis, Text(text): Text| {
        let note = (
            diagnosis.group.unwrap_or_default(),
            diagnosis.error.unwrap_or_default(),
            text,
        );
        noting.lock().expect("nothing panics while it is held").push(note);
        async {}
    };
    let app = app()
        .add(on("orders", never).group("billing"))
        .add(dead_letter("orders", look).group("watch"));
    let running = stage.start(&broker, app).await;
    for id in 0..5 {
        running.order(id, "a").await;
    }
    running.settled().await;
    let seen = seen.lock().expect("nothing panics while it is held").clone();
    let expected = (0..5).map(|id| ("billing".to_owned(), id.to_string(), id.to_string()));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn only_who_says_so_loses_exhausted_messages(stage: Stage) -> Verdict {
    let (broker, world) = (stage.open().await, World::default());
    world.script(0, Script::always(How::Permanent));
    let running = stage
        .run(&broker, world.subscription().lose_exhausted_messages())
        .await;
    running.order(0, "a").await;
    running.order(1, "a").await;
    running.settled().await;
    let status = running.status("billing");
    assert_eq!((status.dropped, status.dead_lettered, status.handled), (1, 0, 1));
    Ok(())
}

pub(crate) async fn a_dead_letter_of_what_a_handler_published_keeps_its_id(stage: Stage) -> Verdict {
    let broker = stage.open().await;
    let forward = async |message: Message| Outputs::none().and(tidings::Output::message(message));
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("no")) };
    let app = app()
        .add(on("orders", forward).group("billing").to("payments"))
        .add(on("payments", never).group("paying"));
    let running = stage.start(&broker, app).await;
    running.order(1, "a").await;
    running.settled().await;
    let letters = running
        .0
        .dead_letters("payments")
        .await
        .expect("they can be read");
    let payment = running
        .0
        .published("payments")
        .await
        .expect("they can be read")
        .remove(0);
    let id = payment
        .headers()
        .get_str(names::MESSAGE_ID)
        .expect("every message has an id");
    assert_eq!(letters[0].message_id(), Some(id));
    Ok(())
}
