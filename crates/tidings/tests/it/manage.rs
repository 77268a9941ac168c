//! A running service that operators ask: everything works while it runs, and nothing happens twice.

use crate::events::Seen;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidings::prelude::*;
use tidings::{Error, Running};
use tidings_core::Outgoing;
use tidings_manage::{
    Connection, FILE_NAME, Intent, LetterFilter, LetterPosition, ManageError, RedriveAction, RedriveRequest,
    Replacement, Way, connect,
};

fn config(root: &Path, more: &str) -> Config {
    let toml = format!("[binder.main]\nurl = \"embedded:{}\"\n{more}", root.display());
    Config::from_toml(&toml, "tidings.toml").expect("it is valid")
}

async fn to(root: &Path, intent: Intent) -> Result<Connection, ManageError> {
    connect(&format!("embedded:{}", root.display()), intent).await
}

/// Refuses every order for good while it is sick, and notes it when it is well.
#[derive(Debug, Clone, Default)]
struct Till {
    well: Arc<AtomicBool>,
    seen: Seen,
}

async fn charge(Text(order): Text, State(till): State<Till>) -> Result<(), Failure> {
    if !till.well.load(Ordering::SeqCst) {
        return Err(Failure::permanent("the bank says no"));
    }
    till.seen.note(&order);
    Ok(())
}

async fn shop(root: &Path, till: &Till) -> Result<Running, Error> {
    let app = App::new("shop").add(on("orders", charge).group("billing").name("charge"));
    app.with_state(till.clone()).start(config(root, "")).await
}

/// Waits until that is true; a service needs its time.
async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn order(connection: &Connection, key: &str, payload: &str) {
    let message = Message::new(payload.to_owned()).with_key(key.to_owned());
    let published = connection
        .binder()
        .sink()
        .publish(Outgoing::new("orders", message));
    published.await.expect("the service takes it");
}

async fn dead(running: &Running, count: u64) {
    until("dead letters", async || {
        running
            .subscription("charge")
            .expect("it is there")
            .status()
            .dead_lettered
            >= count
    })
    .await;
}

fn redrive(letters: Vec<LetterFilter>) -> RedriveRequest {
    RedriveRequest {
        group: "billing".to_owned(),
        letters,
        ..RedriveRequest::default()
    }
}

#[tokio::test]
async fn an_operator_sees_what_the_program_sees() -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a directory");
    let till = Till::default();
    till.well.store(true, Ordering::SeqCst);
    let running = shop(root.path(), &till).await?;
    let connection = to(root.path(), Intent::Change).await.expect("it can be asked");
    assert!(matches!(connection.way(), Way::Running { app, .. } if app == "shop"));
    let service = connection.service().expect("it is an app");
    let description = service.describe().await.expect("it can be described");
    assert_eq!(description.text, running.describe().to_string());
    assert_eq!(description.json["subscriptions"][0]["name"], "charge");
    assert_eq!(
        description.json["subscriptions"][0]["policy"]["concurrency"]["origin"],
        "default"
    );
    order(&connection, "ada", "tea").await;
    until("handled", async || {
        let subscriptions = service.subscriptions().await.expect("they can be listed");
        subscriptions[0].handled == 1 && subscriptions[0].phase == "running"
    })
    .await;
    let subscription = service
        .subscriptions()
        .await
        .expect("they can be listed")
        .remove(0);
    assert_eq!(subscription.group.as_deref(), Some("billing"));
    assert_eq!(
        (subscription.destinations, subscription.dead_letters),
        (vec!["orders".to_owned()], vec!["orders.DLT".to_owned()])
    );
    assert_eq!(subscription.replies, tidings_manage::ReplyInfo::default());
    let requests = service.requests().await.expect("they can be counted");
    let ours: Vec<_> = requests
        .iter()
        .map(|one| (one.binder.as_str(), one.open))
        .collect();
    assert_eq!(ours, [("main", 0)]);
    let health = service.health().await.expect("it can be asked");
    assert!(
        health.live && health.ready && health.parts.iter().any(|part| part.kind == "binder"),
        "{health:?}"
    );
    assert_eq!(till.seen.sorted(), ["tea"]);
    let groups = connection.binder().groups().await.expect("they can be listed");
    assert!(
        groups[0]
            .positions
            .iter()
            .all(|at| at.member.as_deref() == Some("charge")),
        "{groups:?}"
    );
    running.drain().await;
    assert!(!root.path().join(FILE_NAME).exists());
    let after = to(root.path(), Intent::Change).await.expect("it is free");
    assert_eq!(after.way(), &Way::Opened);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redrives_at_the_same_time_send_every_letter_once() -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a directory");
    let till = Till::default();
    let running = shop(root.path(), &till).await?;
    let connection = to(root.path(), Intent::Change).await.expect("it can be asked");
    for number in 0..200 {
        order(&connection, &number.to_string(), &format!("{number:03}")).await;
    }
    dead(&running, 200).await;
    till.well.store(true, Ordering::SeqCst);
    let redrives: Vec<_> = (0..4)
        .map(|_| {
            let service = connection.service().expect("it is an app").clone();
            tokio::spawn(async move { service.redrive(&redrive(Vec::new()), |_| {}).await })
        })
        .collect();
    let own = running.redrive("billing", tidings::Selection::All).await?;
    let mut sent = own.redriven as u64;
    for redrive in redrives {
        sent += redrive
            .await
            .expect("it does not panic")
            .expect("it succeeds")
            .redriven;
    }
    assert_eq!(sent, 200);
    until("all handled", async || till.seen.sorted().len() >= 200).await;
    running.drain().await;
    let all: Vec<_> = (0..200).map(|number| format!("{number:03}")).collect();
    assert_eq!(till.seen.sorted(), all, "each once");
    Ok(())
}

#[tokio::test]
async fn letters_are_counted_changed_discarded_and_chosen() -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a directory");
    let till = Till::default();
    let running = shop(root.path(), &till).await?;
    let connection = to(root.path(), Intent::Change).await.expect("it can be asked");
    for (key, payload) in [
        ("ada", "a1"),
        ("ada", "a2"),
        ("bob", "b1"),
        ("cyd", "c1"),
        ("cyd", "c2"),
    ] {
        order(&connection, key, payload).await;
    }
    dead(&running, 5).await;
    till.well.store(true, Ordering::SeqCst);
    let service = connection.service().expect("it is an app");
    let ask = async |request: RedriveRequest| {
        let done = service.redrive(&request, |_| {}).await.expect("it can be done");
        (done.pending, done.selected, done.redriven, done.discarded)
    };
    let key = |key: &str| LetterFilter::Key(key.into());
    let error = |text: &str| LetterFilter::ErrorContains(text.to_owned());
    let mut dry = redrive(vec![key("ada"), error("bank")]);
    dry.action = RedriveAction::DryRun;
    assert_eq!(ask(dry.clone()).await, (5, 2, 0, 0));
    dry.letters = vec![key("ada"), error("weather")];
    assert_eq!(ask(dry).await, (5, 0, 0, 0), "all filters have to accept");
    let mut discard = redrive(vec![key("ada")]);
    discard.action = RedriveAction::Discard;
    assert_eq!(ask(discard).await, (5, 2, 0, 2));
    let letters = running.dead_letters("orders").await?;
    let bob = letters
        .iter()
        .find(|letter| letter.message.key().is_some_and(|key| key == "bob"));
    let at = &bob.expect("it is there").position;
    let letter = LetterPosition {
        destination: at.destination().to_owned(),
        partition: at.partition(),
        offset: at.offset(),
    };
    let mut changed = redrive(vec![LetterFilter::Positions(vec![letter.clone()])]);
    changed.payloads = vec![Replacement {
        letter,
        payload: b"b1 corrected".to_vec(),
    }];
    assert_eq!(ask(changed).await, (3, 1, 1, 0));
    let mut slowly = redrive(Vec::new());
    (slowly.limit, slowly.per_second) = (Some(1), Some(1_000.0));
    assert_eq!(ask(slowly).await, (2, 1, 1, 0));
    until("two handled", async || till.seen.sorted().len() >= 2).await;
    assert_eq!(till.seen.sorted(), ["b1 corrected", "c1"]);
    let mut wrong = redrive(Vec::new());
    wrong.per_second = Some(0.0);
    let refused = service
        .redrive(&wrong, |_| {})
        .await
        .expect_err("no rate")
        .to_string();
    assert!(refused.contains("above 0"), "{refused}");
    wrong.group = "biling".to_owned();
    wrong.per_second = None;
    let refused = service.redrive(&wrong, |_| {}).await.expect_err("no group");
    assert!(
        matches!(&refused, ManageError::Unknown { kind, known, .. } if kind == "group" && known == &["billing"])
    );
    running.drain().await;
    Ok(())
}

#[tokio::test]
async fn who_does_not_want_to_be_asked_is_not() -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a directory");
    let app = || App::new("shop").publishes("orders");
    let running = app()
        .start(config(root.path(), "[manage]\nenabled = false"))
        .await?;
    assert!(!root.path().join(FILE_NAME).exists());
    let beside = to(root.path(), Intent::Read).await.expect("it can be read");
    assert!(matches!(beside.way(), Way::BesideOwner { .. }));
    running.drain().await;
    let memory = Config::from_toml("[binder.main]\nurl = \"memory:\"", "t.toml")?;
    app().start(memory).await?.drain().await;
    Ok(())
}

#[tokio::test]
async fn an_address_that_others_could_reach_is_refused_at_start_with_its_place() {
    let root = tempfile::tempdir().expect("a directory");
    for address in ["0.0.0.0:0", "[::]:80", "10.0.0.1:4711", "localhost:0", "nonsense"] {
        let more = format!("[manage]\naddress = \"{address}\"");
        let app: App = App::new("shop").publishes("orders");
        let refused = app
            .start(config(root.path(), &more))
            .await
            .expect_err("it is refused")
            .to_string();
        assert!(
            refused.contains("tidings.toml:4")
                && refused.contains(address)
                && refused.contains("127.0.0.1:0"),
            "{refused}"
        );
    }
    assert!(!root.path().join("LOCK").exists(), "nothing was opened");
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_and_leaves_the_directory_free() -> Result<(), Error> {
    let root = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let more = format!(
        "[manage]\naddress = \"{}\"",
        taken.local_addr().expect("it has one")
    );
    let app = || App::new("shop").publishes("orders");
    let refused = app()
        .start(config(root.path(), &more))
        .await
        .expect_err("it is taken")
        .to_string();
    assert!(
        refused.contains("manage.address") && refused.contains("manage.enabled"),
        "{refused}"
    );
    let running = app().start(config(root.path(), "")).await?;
    assert!(root.path().join(FILE_NAME).exists());
    drop(running);
    assert!(!root.path().join(FILE_NAME).exists(), "also without a drain");
    Ok(())
}

/// The directory of the child that is killed. Only set for the child.
const DIRECTORY: &str = "TIDINGS_TEST_MANAGED_DIRECTORY";

/// The child's side; nothing when the tests run as usual.
#[tokio::test]
async fn the_service_that_is_killed() -> Result<(), Error> {
    let Some(root) = std::env::var_os(DIRECTORY) else {
        return Ok(());
    };
    let till = Till::default();
    till.well.store(true, Ordering::SeqCst);
    let running = shop(Path::new(&root), &till).await?;
    writeln!(std::io::stdout().lock(), "\nrunning").expect("the parent reads");
    running.wait_for_signal_and_drain().await
}

#[tokio::test]
async fn a_service_in_another_process_is_asked_and_after_its_death_the_directory_is_opened() {
    let root = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("this test runs"))
        .args(["manage::the_service_that_is_killed", "--exact", "--nocapture"])
        .env(DIRECTORY, root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let runs = lines.any(|line| line.is_ok_and(|line| line == "running"));
    let asked = async {
        let connection = to(root.path(), Intent::Change).await?;
        order(&connection, "ada", "tea").await;
        until("handled", async || {
            let service = connection.service().expect("it is an app");
            service.subscriptions().await.is_ok_and(|all| all[0].handled == 1)
        })
        .await;
        Ok::<_, ManageError>(connection.way().clone())
    };
    let asked = asked.await;
    let pid = child.id();
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    assert!(runs);
    assert_eq!(
        asked.expect("it can be asked"),
        Way::Running {
            app: "shop".to_owned(),
            pid
        }
    );
    assert!(
        root.path().join(FILE_NAME).exists(),
        "a killed process takes nothing away"
    );
    let reading = to(root.path(), Intent::Read).await.expect("it can be read");
    assert_eq!(reading.way(), &Way::OpenedForReading);
    let ends = reading
        .binder()
        .positions("orders", Some("billing"))
        .await
        .expect("they can be seen");
    assert_eq!(ends.iter().map(|at| at.end).sum::<u64>(), 1);
    let changing = to(root.path(), Intent::Change).await.expect("it is free");
    assert_eq!(changing.way(), &Way::Opened);
}
