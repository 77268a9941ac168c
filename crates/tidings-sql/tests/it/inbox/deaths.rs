//! Processes that are killed at each step of a message: this test program, started again to play a scene.

use super::*;
use crate::support::{Home, everywhere};
use sqlx::{Postgres, Sqlite};
use std::any::Any;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use tidings::{Database, InboxError, InboxStore, InboxTransaction};
use tidings_core::{BoxFuture, Outgoing};

everywhere! {
    a_process_that_is_killed_at_any_step_of_a_message_has_done_its_work_once
}

/// What a process that is started again plays.
pub(super) const SCENE: &str = "TIDINGS_TEST_INBOX_SCENE";
const MESSAGES: i64 = 20;

/// Where the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Claimed,
    /// Work and outputs are written.
    Written,
    /// Nobody but the database knows of it.
    Committed,
    Never,
}

const STEPS: [(Step, &str, &str); 4] = [
    (Step::Claimed, "claimed", "m-3"),
    (Step::Written, "written", "m-7"),
    (Step::Committed, "committed", "m-11"),
    (Step::Never, "never", ""),
];

async fn a_process_that_is_killed_at_any_step_of_a_message_has_done_its_work_once<DB: TestDb>(home: Home) {
    let directory = tempfile::tempdir().unwrap();
    for (step, name, _) in STEPS {
        let database = if is_postgres::<DB>() { "postgres" } else { "sqlite" };
        let scene = format!("{database}|{}|{}|{name}", home.url, directory.path().display());
        let ended = played("inbox::deaths::plays_its_scene", &scene);
        match step {
            Step::Never => assert!(ended.success(), "{ended:?}"),
            _ => assert_eq!(ended.signal(), Some(9), "{name}: {ended:?}"),
        }
    }
    let store = home.open::<DB>().await;
    assert_eq!(
        (effects(&store).await, claims(&store).await),
        ((MESSAGES, MESSAGES), MESSAGES)
    );
    let outbox = if is_postgres::<DB>() {
        "tidings.outbox"
    } else {
        "tidings_outbox"
    };
    // What was sent by hand and what was returned.
    assert_eq!(
        count(&store, &format!("SELECT count(*) FROM {outbox}")).await,
        2 * MESSAGES
    );
}

/// Plays a scene in a process of its own, by the test of that name.
pub(super) fn played(test: &str, scene: &str) -> ExitStatus {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program);
    child.args([test, "--exact", "--nocapture"]);
    let played = child.env(SCENE, scene).output().unwrap();
    // What a test prints is shown if it fails.
    println!("{}", String::from_utf8_lossy(&played.stderr));
    played.status
}

#[tokio::test]
async fn plays_its_scene() {
    // Nothing to play is no mistake: it is one of the tests.
    let Ok(scene) = std::env::var(SCENE) else { return };
    let words: Vec<_> = scene.split('|').collect();
    let [database, url, directory, step] = words[..] else {
        panic!("{scene}")
    };
    let (step, _, id) = STEPS.into_iter().find(|(_, name, _)| *name == step).unwrap();
    match database {
        "postgres" => play::<Postgres>(url, directory, step, id).await,
        _ => play::<Sqlite>(url, directory, step, id).await,
    }
}

async fn play<DB: TestDb>(url: &str, directory: &str, step: Step, id: &'static str) {
    let store = SqlStore::<DB>::open(url).await.unwrap();
    with_effects(&store).await;
    async fn pay<DB: TestDb>(payload: Raw, mut tx: Tx<DB>, publisher: Publisher) -> Result<Output, Failure> {
        effect(&mut tx, std::str::from_utf8(&payload.0).unwrap()).await?;
        publisher
            .send("payments", Message::new(payload.0.clone()))
            .await?;
        Ok(Output::message(Message::new(payload.0)))
    }
    let dying = Dying {
        store: store.clone(),
        step,
        id,
    };
    let app = App::new("shop").add(on("orders", pay::<DB>).group("stock").to("payments").inbox(dying));
    let config = format!("[binder.main]\nurl = \"embedded:{directory}\"");
    let running = app
        .start(Config::from_toml(&config, "tidings.toml").unwrap())
        .await
        .unwrap();
    if step == Step::Claimed {
        send(&running, (0..MESSAGES).map(|id| format!("m-{id}"))).await;
    }
    let deadline = Instant::now() + secs(60);
    while effects(&store).await.1 < MESSAGES || !status(&running).idle {
        assert!(Instant::now() < deadline, "{:#?}", status(&running));
        sleep(millis(10)).await;
    }
    assert!(running.drain().await.is_clean());
}

/// A store that kills the process at a step of one message.
#[derive(Debug)]
pub(super) struct Dying<DB: TestDb> {
    pub(super) store: SqlStore<DB>,
    pub(super) step: Step,
    pub(super) id: &'static str,
}

struct DyingTransaction {
    inner: Box<dyn InboxTransaction>,
    step: Step,
}

/// As the kernel kills, and not as a program ends.
fn die_at(step: Step, now: Step) {
    if step == now {
        let me = std::process::id().to_string();
        Command::new("kill").args(["-9", &me]).status().unwrap();
        std::thread::park();
    }
}

impl<DB: TestDb> InboxStore for Dying<DB> {
    fn name(&self) -> String {
        InboxStore::name(&self.store)
    }

    fn database(&self) -> Database {
        self.store.database()
    }

    fn has_outbox(&self) -> bool {
        self.store.has_outbox()
    }

    fn begin(
        &self,
        scope: &str,
        ids: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>> {
        let step = if ids.iter().any(|id| id == self.id) {
            self.step
        } else {
            Step::Never
        };
        let begun = InboxStore::begin(&self.store, scope, ids);
        Box::pin(async move {
            let inner = begun.await?;
            // Not when it comes again.
            let step = if inner.is_duplicate(0) { Step::Never } else { step };
            die_at(step, Step::Claimed);
            Ok(Box::new(DyingTransaction { inner, step }) as Box<dyn InboxTransaction>)
        })
    }
}

impl InboxTransaction for DyingTransaction {
    fn is_duplicate(&self, place: usize) -> bool {
        self.inner.is_duplicate(place)
    }

    fn shared(&self) -> Arc<dyn Any + Send + Sync> {
        self.inner.shared()
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.inner.savepoint()
    }

    fn undo(&mut self) -> BoxFuture<'_, Result<(), InboxError>> {
        self.inner.undo()
    }

    fn give_back(&mut self, places: Vec<usize>) -> BoxFuture<'_, Result<(), InboxError>> {
        self.inner.give_back(places)
    }

    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Result<(), InboxError>> {
        self.inner.publish(messages)
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        die_at(self.step, Step::Written);
        Box::pin(async move {
            let committed = self.inner.commit().await;
            die_at(self.step, Step::Committed);
            committed
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), InboxError>> {
        self.inner.rollback()
    }
}
