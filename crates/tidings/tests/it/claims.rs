//! Payloads that are too large to travel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Claim, ClaimError, ClaimStore, DirectoryClaims, PublishError, Retry, Selection, names};
use tidings_core::BoxFuture;

const LIMIT: usize = 100;

/// What a handler was given.
type Seen = Arc<Mutex<Vec<String>>>;

fn see(seen: &Seen, text: String) {
    seen.lock().unwrap().push(text);
}

fn large(letter: char) -> String {
    letter.to_string().repeat(10 * LIMIT)
}

/// An app that puts what is large into that store.
fn app(seen: &Seen, store: impl ClaimStore) -> App {
    let seen = seen.clone();
    let record = move |Text(text): Text, headers: Headers| {
        assert_eq!(
            headers.0.get(names::CLAIM),
            None,
            "the handler sees what was published"
        );
        see(&seen, text.clone());
        async move {
            match text.starts_with('!') {
                true => Err(Failure::permanent("no")),
                false => Ok(()),
            }
        }
    };
    App::new("shop")
        .channel("scans", move |scans| {
            scans.partitions(1).claim_check(LIMIT).claim_store(store)
        })
        .add(
            on("scans", record)
                .group("archive")
                .retry(Retry::fixed(3, millis(1))),
        )
}

fn files(root: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(root)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    let shelves = shelves.filter(|path| path.is_dir());
    shelves
        .flat_map(|shelf| fs::read_dir(shelf).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

async fn send(test: &TestApp, payload: impl Into<String>) {
    let message = Message::new(payload.into()).with_key("a");
    test.send("scans", message).await.unwrap();
}

#[tokio::test]
async fn a_large_payload_goes_by_the_store_and_arrives_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let store = DirectoryClaims::new("scans", root.path());
    let test = TestApp::start(app(&seen, store).with_state(())).await.unwrap();
    let sent = [
        large('a'),
        "small".to_owned(),
        large('b'),
        "x".repeat(LIMIT),
        String::new(),
    ];
    for payload in &sent {
        send(&test, payload).await;
    }
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), sent);
    assert_eq!(files(root.path()).len(), 2);
    let published = test.published("scans").await.unwrap();
    for (message, payload) in published.iter().zip(&sent) {
        let claimed = payload.len() > LIMIT;
        assert_eq!(message.headers().get(names::CLAIM).is_some(), claimed);
        let travels = if claimed { 0 } else { payload.len() };
        assert_eq!(message.payload().map(|payload| payload.len()), Some(travels));
    }
}

#[tokio::test]
async fn messages_keep_the_order_of_the_calls_and_arrive_also_when_nobody_waits() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let store = DirectoryClaims::new("scans", root.path());
    let test = TestApp::start(app(&seen, store).with_state(())).await.unwrap();
    let publisher = test.running().publisher();
    let mut sent = Vec::new();
    for number in 0..40 {
        let payload = match number % 3 {
            0 => format!("{number:>width$}", width = 50_000),
            _ => number.to_string(),
        };
        // Nobody waits for the receipt.
        drop(publisher.send("scans", Message::new(payload.clone()).with_key("a")));
        sent.push(payload);
    }
    publisher.flush().await.unwrap();
    let published = test.published("scans").await.unwrap();
    assert_eq!(published.len(), 40, "a flush waits for what is being put aside");
    test.settled().await.unwrap();
    assert!(*seen.lock().unwrap() == sent, "in order");
}

#[tokio::test]
async fn a_dead_letter_keeps_its_reference_and_is_handled_again_with_its_payload() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let store = DirectoryClaims::new("scans", root.path());
    let test = TestApp::start(app(&seen, store).with_state(())).await.unwrap();
    let bad = format!("!{}", large('x'));
    send(&test, bad.clone()).await;
    test.settled().await.unwrap();
    let letters = test.dead_letters("scans").await.unwrap();
    let claim = letters[0].message.headers().get_str(names::CLAIM).unwrap();
    assert_eq!(Claim::parse(claim).unwrap().size(), bad.len() as u64);
    assert_eq!(test.redrive("archive", Selection::All).await.unwrap().redriven, 1);
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [bad.clone(), bad]);
}

#[tokio::test]
async fn what_is_missing_or_damaged_dies_with_a_reason_of_its_own_and_holds_up_nobody() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let store = DirectoryClaims::new("scans", root.path());
    let service = app(&seen, store).with_state(());
    let test = TestApp::start(service).await.unwrap();
    test.running().subscription("archive").unwrap().pause();
    for letter in ['a', 'b', 'c', 'd'] {
        send(&test, large(letter)).await;
    }
    let file = |letter| {
        let mut all = files(root.path()).into_iter();
        all.find(|path| fs::read(path).unwrap().starts_with(&[letter as u8]))
            .unwrap()
    };
    fs::remove_file(file('a')).unwrap();
    fs::write(file('b'), "short").unwrap();
    fs::write(file('c'), large('z')).unwrap();
    test.running().subscription("archive").unwrap().resume();
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [large('d')]);
    let letters = test.dead_letters("scans").await.unwrap();
    let whys = letters.iter().map(|letter| &letter.diagnosis);
    let whys: Vec<_> = whys
        .map(|why| {
            (
                why.reason.clone().unwrap(),
                why.attempts.unwrap(),
                why.error.clone().unwrap(),
            )
        })
        .collect();
    for ((reason, attempts, error), words) in whys.iter().zip(["has no", "damaged", "another SHA-256"]) {
        assert_eq!((reason.as_str(), *attempts), ("unclaimed", 1));
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_forged_reference_leads_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let seen = Seen::default();
    let store = DirectoryClaims::new("scans", root.path().join("claims"));
    let test = TestApp::start(app(&seen, store).with_state(())).await.unwrap();
    send(&test, large('a')).await;
    let (binder, destination) = test.running().channel("scans").unwrap();
    let zeros = "0".repeat(64);
    for forged in [
        "1 scans 6 ../secret".to_owned(),
        format!("1 scans 6 {}", secret.display()),
        format!("1 scans 6 {zeros}"),
        format!("1 scans 18446744073709551615 {zeros}"),
        format!("1 other 6 {zeros}"),
        "\u{0}".to_owned(),
    ] {
        // As another system would write it.
        let message = Message::new("").with_header(names::CLAIM, forged).unwrap();
        let outgoing = tidings_core::Outgoing::new(destination.clone(), message);
        binder.sink().publish(outgoing).await.unwrap();
    }
    // Through a publisher of ours nobody can write it at all.
    let message = Message::new("mine")
        .with_header(names::CLAIM, "1 scans 6 x")
        .unwrap();
    test.send("scans", message).await.unwrap();
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [large('a'), "mine".to_owned()]);
    let letters = test.dead_letters("scans").await.unwrap();
    assert_eq!(letters.len(), 6);
    assert!(
        letters
            .iter()
            .all(|letter| letter.diagnosis.reason.as_deref() == Some("unclaimed"))
    );
}

#[tokio::test]
async fn a_batch_is_given_what_could_be_fetched() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let given = seen.clone();
    let record = move |batch: Batch<Text>| {
        batch.iter().for_each(|text| see(&given, text.0.clone()));
        async {}
    };
    let store = DirectoryClaims::new("scans", root.path());
    let app = App::new("shop")
        .channel("scans", |scans| {
            scans.partitions(1).claim_check(LIMIT).claim_store(store)
        })
        .add(
            on("scans", record)
                .group("archive")
                .batch(10, millis(20))
                .paused(),
        );
    let test = TestApp::start(app.with_state(())).await.unwrap();
    for payload in [large('a'), large('b'), "c".to_owned()] {
        send(&test, payload).await;
    }
    let gone = files(root.path())
        .into_iter()
        .find(|path| fs::read(path).unwrap()[0] == b'a');
    fs::remove_file(gone.unwrap()).unwrap();
    test.running().subscription("archive").unwrap().resume();
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [large('b'), "c".to_owned()]);
    assert_eq!(test.dead_letters("scans").await.unwrap().len(), 1);
}

/// A store that is away for a while.
#[derive(Debug)]
struct Away {
    inner: DirectoryClaims,
    puts: Mutex<u32>,
    gets: Mutex<u32>,
}

impl Away {
    fn is_away(left: &Mutex<u32>) -> Result<(), ClaimError> {
        let mut left = left.lock().unwrap();
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(ClaimError::Unavailable {
            store: "scans".to_owned(),
            reason: "as the test says".to_owned(),
        })
    }
}

impl ClaimStore for Away {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn put<'a>(&'a self, claim: &'a Claim, payload: bytes::Bytes) -> BoxFuture<'a, Result<(), ClaimError>> {
        match Self::is_away(&self.puts) {
            Ok(()) => self.inner.put(claim, payload),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn get<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<bytes::Bytes, ClaimError>> {
        match Self::is_away(&self.gets) {
            Ok(()) => self.inner.get(claim),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_a_publish_and_only_delays_a_handling() {
    let root = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let store = Away {
        inner: DirectoryClaims::new("scans", root.path()),
        puts: Mutex::new(1),
        gets: Mutex::new(2),
    };
    let test = TestApp::start(app(&seen, store).with_state(())).await.unwrap();
    let publisher = test.running().publisher();
    let refused = publisher
        .send("scans", Message::new(large('a')))
        .await
        .unwrap_err();
    assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused}");
    assert!(
        test.published("scans").await.unwrap().is_empty(),
        "no reference to what is not there"
    );
    send(&test, large('a')).await;
    test.settled().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [large('a')]);
    assert_eq!(test.running().status().subscriptions["archive"].retried, 2);
}

/// A store that takes a payload and never says so.
#[derive(Debug)]
struct Hanging;

impl ClaimStore for Hanging {
    fn id(&self) -> &str {
        "scans"
    }

    fn place(&self) -> String {
        "nowhere".to_owned()
    }

    fn put<'a>(&'a self, _: &'a Claim, _: bytes::Bytes) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(std::future::pending())
    }

    fn get<'a>(&'a self, _: &'a Claim) -> BoxFuture<'a, Result<bytes::Bytes, ClaimError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn what_waits_behind_a_store_that_hangs_is_bounded_however_small_it_is() {
    let app = App::new("shop").channel("scans", |scans| {
        scans
            .partitions(1)
            .claim_check(LIMIT)
            .claim_max_bytes(20_000)
            .claim_store(Hanging)
    });
    let test = TestApp::start(app.with_state(())).await.unwrap();
    let (binder, destination) = test.running().channel("scans").unwrap();
    let sink = binder.sink();
    let publish = |message| sink.publish(tidings_core::Outgoing::new(destination.clone(), message));
    let first = publish(Message::new(large('a')));
    let behind: Vec<_> = (0..10_000).map(|_| publish(Message::new(""))).collect();
    let last = behind.into_iter().next_back().unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(5), last).await;
    let refused = refused.expect("it does not wait").unwrap_err();
    assert!(matches!(refused, PublishError::Unavailable { .. }), "{refused}");
    drop(first);
}

#[tokio::test]
async fn on_the_embedded_broker_a_payload_outlives_the_process() {
    let root = tempfile::tempdir().unwrap();
    let text = |handles: bool| {
        format!(
            "[binder.main]\nurl = \"embedded:{0}/data\"\n[channel.scans]\nclaim_check = \"100B\"\nclaim_store = \"{0}/claims\"\n\
             [subscription.archive]\npaused = {1}\n[manage]\nenabled = false\n",
            root.path().display(),
            !handles,
        )
    };
    let seen = Seen::default();
    let app = |seen: &Seen| {
        let seen = seen.clone();
        let record = move |Text(text): Text| {
            see(&seen, text);
            async {}
        };
        App::new("shop").add(on("scans", record).group("archive"))
    };
    let config = Config::from_toml(&text(false), "tidings.toml").unwrap();
    let running = app(&seen).start(config).await.unwrap();
    running
        .publisher()
        .send("scans", Message::new(large('a')))
        .await
        .unwrap();
    running.drain().await;
    let config = Config::from_toml(&text(true), "tidings.toml").unwrap();
    let running = app(&seen).start(config).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(millis(5)).await;
        }
    })
    .await
    .expect("it is handled");
    running.drain().await;
    assert_eq!(*seen.lock().unwrap(), [large('a')]);
}

#[tokio::test]
async fn mistakes_with_stores_are_found_at_start() {
    async fn record(_: Raw) {}
    let none = App::new("shop")
        .channel("scans", |scans| scans.claim_check(1))
        .add(on("scans", record).group("archive"));
    let two = App::new("shop")
        .channel("scans", |scans| scans.claim_store(DirectoryClaims::new("x", "a")))
        .channel("pages", |pages| pages.claim_store(DirectoryClaims::new("x", "b")));
    let named = App::new("shop").channel("scans", |scans| {
        scans.claim_store(DirectoryClaims::new("../x", "a"))
    });
    for (app, words) in [
        (none, "has no claim store"),
        (two, "called \"x\" in different places, b and a"),
        (named, "cannot be the id of a claim store"),
    ] {
        let error = app
            .with_state(())
            .describe(&Config::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}
