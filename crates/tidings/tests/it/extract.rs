//! What a handler can ask for: the place and time of a message, and payloads that may be absent.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{LaneRole, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
}

type Seen<T> = Arc<Mutex<Vec<T>>>;

fn ada() -> Message {
    Message::new(r#"{"name":"Ada"}"#).with_key("ada")
}

#[tokio::test]
async fn a_handler_is_told_partition_offset_and_time_also_when_a_message_comes_again() {
    let seen: Seen<(Position, Timestamp, u32)> = Seen::default();
    let notes = seen.clone();
    let handler =
        move |position: Position, time: Timestamp, Attempt(attempt): Attempt, delivery: Delivery| {
            notes.lock().unwrap().push((position, time, attempt));
            async move {
                match delivery.lane().role {
                    LaneRole::Main => Err(Failure::transient("once more, from the retry lane")),
                    LaneRole::Retry => Ok(()),
                }
            }
        };
    let again = Retry::fixed(2, millis(10)).durable_after(millis(0));
    let app = App::new("profiles")
        .channel("profiles", |channel| channel.partitions(3))
        .add(on("profiles", handler).group("search").retry(again));
    let test = TestApp::start(app.with_state(())).await.unwrap();
    let time = Timestamp::from_millis(12_345);
    let mut sent = Vec::new();
    for partition in [2, 0, 2] {
        let publisher = test.running().publisher();
        let publication = publisher.to("profiles").partition(partition);
        sent.push(publication.message(ada().with_timestamp(time)).await.unwrap());
        test.settled().await.unwrap();
    }
    let places: Vec<_> = sent.iter().map(|at| (at.partition(), at.offset())).collect();
    assert_eq!(places, [(2, 0), (0, 0), (2, 1)]);
    let expected = sent
        .iter()
        .flat_map(|position| [1, 2].map(|attempt| (position.clone(), time, attempt)));
    assert_eq!(*seen.lock().unwrap(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_tombstone_is_none_and_kills_only_a_handler_that_needs_a_payload() {
    let seen: Seen<(String, Option<Profile>)> = Seen::default();
    let notes = seen.clone();
    let optional =
        move |Key(key): Key, profile: Option<Json<Profile>>, text: Option<Text>, raw: Option<Raw>| {
            assert_eq!(profile.is_some(), raw.is_some());
            assert_eq!(text.is_some(), raw.is_some());
            let key = String::from_utf8(key.to_vec()).unwrap();
            notes
                .lock()
                .unwrap()
                .push((key, profile.map(|Json(profile)| profile)));
            async {}
        };
    async fn needs(_: Json<Profile>) {}
    let app = App::new("profiles")
        .channel("profiles", |channel| channel.partitions(1))
        .add(on("profiles", optional).group("search"))
        .add(on("profiles", needs).group("mail"));
    let test = TestApp::start(app.with_state(())).await.unwrap();
    for message in [
        ada(),
        Message::tombstone("ada"),
        Message::new("null").with_key("bob"),
    ] {
        test.send("profiles", message).await.unwrap();
    }
    test.settled().await.unwrap();
    let profile = Profile {
        name: "Ada".to_owned(),
    };
    let handled = [("ada".to_owned(), Some(profile)), ("ada".to_owned(), None)];
    assert_eq!(*seen.lock().unwrap(), handled);
    let letters = test.dead_letters("profiles").await.unwrap();
    let mut of: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.diagnosis.group.clone().unwrap(),
                letter.message.payload().is_none(),
            )
        })
        .collect();
    of.sort();
    // A JSON `null` is a payload: it is there, and is no profile.
    let expected = [("mail", false), ("mail", true), ("search", false)];
    assert_eq!(
        of,
        expected.map(|(group, tombstone)| (group.to_owned(), tombstone))
    );
}

#[tokio::test]
async fn a_batch_takes_tombstones_beside_payloads() {
    let seen: Seen<Option<String>> = Seen::default();
    let notes = seen.clone();
    let handler = move |batch: Batch<(Key, Option<Json<Profile>>)>| {
        let names = batch
            .iter()
            .map(|(_, profile)| profile.as_ref().map(|profile| profile.name.clone()));
        notes.lock().unwrap().extend(names);
        async {}
    };
    let app = App::new("profiles")
        .channel("profiles", |channel| channel.partitions(1))
        .add(on("profiles", handler).group("search").batch(10, millis(10)));
    let test = TestApp::start(app.with_state(())).await.unwrap();
    for message in [ada(), Message::tombstone("ada")] {
        test.send("profiles", message).await.unwrap();
    }
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [Some("Ada".to_owned()), None]);
    assert!(test.dead_letters("profiles").await.unwrap().is_empty());
}
