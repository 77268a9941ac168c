//! Messages that kill the process which handles them, in processes that really die.

mod child;
mod left;

use crate::support::{disk, prepare, publish, to};
use child::{How, Scene, Shape};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tidings_core::{Binder, Diagnosis, Message};
use tidings_embedded::Fsync;

/// Enough that there are others before, beside and behind the one that kills.
const MESSAGES: u64 = 60;
/// This one kills.
const POISON: u64 = 30;
/// No process of these tests takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes messages of ten keys; one of them kills if `poison` says so.
async fn fill(root: &Path, poison: Option<u64>) {
    let broker = disk(root, Fsync::Os);
    for name in child::NAMES {
        prepare(&broker, name, 1).await;
    }
    for id in 0..MESSAGES {
        let payload = if poison == Some(id) {
            "poison".to_owned()
        } else {
            id.to_string()
        };
        let mut outgoing = to("orders", 0, payload);
        outgoing.message = outgoing.message.with_key(format!("k{}", id % 10));
        broker.sink().publish(outgoing).await.unwrap();
    }
    broker.close().await.unwrap();
}

fn start(root: &Path, scene: &Scene) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "deaths::child::a_child_handles_until_nothing_is_left",
            "--nocapture",
        ])
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(root.join("stderr")).unwrap());
    scene.tell(&mut command, root);
    command.spawn().unwrap()
}

fn ended(root: &Path, mut child: Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!(
                "a child hangs: {}",
                std::fs::read_to_string(root.join("stderr")).unwrap()
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts the service again as often as it dies. How often that was.
fn serve_until_done(root: &Path, scene: &Scene, most: u32) -> u32 {
    let mut deaths = 0;
    loop {
        let status = ended(root, start(root, scene));
        if status.success() {
            return deaths;
        }
        let said = std::fs::read_to_string(root.join("stderr")).unwrap();
        assert_eq!(status.code(), None, "it ended by itself: {said}");
        deaths += 1;
        assert!(deaths <= most, "{scene:?} died {deaths} times: {said}");
    }
}

fn handled(root: &Path, group: &str) -> BTreeSet<u64> {
    let lines = std::fs::read_to_string(root.join(group)).unwrap_or_default();
    lines.lines().map(|line| line.parse().unwrap()).collect()
}

async fn letters(root: &Path, destination: &str) -> Vec<Message> {
    let broker = disk(root, Fsync::Os);
    let batch = broker.read(destination, 0, 0, 1 << 20).await.unwrap();
    let messages = batch
        .records()
        .iter()
        .map(|record| batch.message(record))
        .collect();
    broker.close().await.unwrap();
    messages
}

fn all_but(poison: Option<u64>) -> BTreeSet<u64> {
    (0..MESSAGES).filter(|id| Some(*id) != poison).collect()
}

/// The message that kills is in the dead letters after that many deaths, all others are handled, and the next start has
/// nothing to do.
async fn check_poison(scene: Scene, deaths: u32, attempts: u32) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fill(root, Some(POISON)).await;
    let died = serve_until_done(root, &scene, deaths);
    assert_eq!(died, deaths, "{scene:?}");
    assert_eq!(handled(root, "billing"), all_but(Some(POISON)), "{scene:?}");
    let letters = letters(root, "orders.DLT").await;
    let payloads: Vec<_> = letters
        .iter()
        .map(|letter| letter.payload().unwrap().clone())
        .collect();
    assert_eq!(payloads, ["poison"], "{scene:?}");
    let diagnosis = Diagnosis::from_headers(letters[0].headers().view());
    assert_eq!(diagnosis.reason.as_deref(), Some("killed"));
    assert_eq!(diagnosis.attempts, Some(attempts));
    let error = diagnosis.error.unwrap();
    assert!(error.contains(&format!("{deaths} times")), "{error}");
    let before = std::fs::read(root.join("billing")).unwrap();
    assert_eq!(serve_until_done(root, &scene, 0), 0);
    assert_eq!(
        std::fs::read(root.join("billing")).unwrap(),
        before,
        "nothing is handled again"
    );
}

macro_rules! poison {
    ($($name:ident: $shape:ident $how:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            check_poison(Scene::of(Shape::$shape, How::$how), 3, 3).await;
        }
    )*};
}

poison! {
    a_message_that_aborts_in_turn_is_a_dead_letter_after_three_deaths: Turn Abort;
    a_message_that_overflows_the_stack_in_turn_is_a_dead_letter_after_three_deaths: Turn Overflow;
    a_message_that_takes_all_memory_in_turn_is_a_dead_letter_after_three_deaths: Turn Memory;
    a_message_that_aborts_among_many_keys_is_a_dead_letter_after_three_deaths: Keyed Abort;
    a_message_that_overflows_the_stack_among_many_keys_is_a_dead_letter_after_three_deaths: Keyed Overflow;
    a_message_that_takes_all_memory_among_many_keys_is_a_dead_letter_after_three_deaths: Keyed Memory;
    a_message_that_aborts_in_a_batch_is_a_dead_letter_after_three_deaths: Batch Abort;
    a_message_that_overflows_the_stack_in_a_batch_is_a_dead_letter_after_three_deaths: Batch Overflow;
    a_message_that_takes_all_memory_in_a_batch_is_a_dead_letter_after_three_deaths: Batch Memory;
    a_message_that_aborts_where_partitions_keep_their_order_is_a_dead_letter_after_three_deaths: Partition Abort;
    a_message_that_aborts_on_a_task_of_its_own_is_a_dead_letter_after_three_deaths: Spawned Abort;
    a_message_that_aborts_when_it_is_decoded_is_a_dead_letter_after_three_deaths: Turn Decode;
    a_message_that_aborts_when_it_is_decoded_for_a_batch_is_a_dead_letter_after_three_deaths: Batch Decode;
    a_message_that_aborts_in_the_filter_is_a_dead_letter_after_three_deaths: Keyed Filter;
}

#[tokio::test]
async fn a_message_that_kills_from_another_thread_while_its_handler_waits_takes_four_times_as_many_deaths() {
    check_poison(Scene::of(Shape::Keyed, How::Elsewhere), 12, 3).await;
}

#[tokio::test]
async fn with_one_attempt_configured_it_still_needs_the_proof_and_with_many_it_still_ends() {
    for attempts in [1, 50] {
        let scene = Scene::of(Shape::Keyed, How::Abort).attempts(attempts);
        check_poison(scene, 3, 3).await;
    }
}

#[tokio::test]
async fn a_slow_message_of_another_subscription_is_never_condemned_for_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fill(root, Some(POISON)).await;
    let scene = Scene::of(Shape::Keyed, How::Abort).beside_a_slow_one();
    let deaths = serve_until_done(root, &scene, 3);
    assert_eq!(deaths, 3);
    assert_eq!(handled(root, "billing"), all_but(Some(POISON)));
    assert_eq!(letters(root, "orders.DLT").await.len(), 1);
    let slow = (0..child::SLOW_MESSAGES).collect();
    assert_eq!(handled(root, "audit"), slow);
    assert_eq!(letters(root, "slow.DLT").await.len(), 0);
}

#[tokio::test]
async fn ten_kills_in_a_row_condemn_nothing_in_a_healthy_service() {
    for shape in [Shape::Turn, Shape::Keyed, Shape::Batch] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fill(root, None).await;
        let scene = Scene::of(shape, How::Abort).takes(Duration::from_millis(40));
        for kill in 0..10 {
            let mut child = start(root, &scene);
            let deadline = Instant::now() + PATIENCE;
            // Always in the middle of the first messages, again and again the same.
            while !root.join(format!("begun-{}", child.id())).exists() {
                assert!(Instant::now() < deadline, "{shape:?} {kill}");
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(10));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(serve_until_done(root, &scene, 0), 0);
        assert_eq!(handled(root, "billing"), all_but(None), "{shape:?}");
        assert_eq!(letters(root, "orders.DLT").await.len(), 0, "{shape:?}");
    }
}

#[tokio::test]
async fn what_dies_twice_and_then_does_not_is_handled() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fill(root, Some(POISON)).await;
    let scene = Scene::of(Shape::Batch, How::Abort);
    for _ in 0..2 {
        assert_eq!(ended(root, start(root, &scene)).code(), None);
    }
    // The cause was found and mended.
    let mended = Scene::of(Shape::Batch, How::Mended);
    assert_eq!(serve_until_done(root, &mended, 0), 0);
    assert_eq!(handled(root, "billing"), all_but(None));
    assert_eq!(letters(root, "orders.DLT").await.len(), 0);
    // Nothing is known of it any more.
    let broker = disk(root, Fsync::Os);
    publish(&broker, "orders", 0, "poison").await.unwrap();
    broker.close().await.unwrap();
    assert_eq!(serve_until_done(root, &scene, 3), 3);
}
