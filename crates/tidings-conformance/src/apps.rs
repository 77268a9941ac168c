//! Whole apps on the broker under test.

use crate::features::Feature;
use crate::stage::{Broker, Stage, text_of};
use crate::world::{World, message};
use std::time::Duration;
use tidings::test::TestApp;
use tidings::{App, Config, Message, Position, Retry, Subscription, SubscriptionStatus};

/// As many partitions as the channels of the cases have.
pub(crate) const PARTITIONS: u32 = 2;

/// An app that runs, with short words; and how long it may take to settle.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) TestApp, Duration);

const REAL_PATIENCE: Duration = Duration::from_secs(80);

/// An app whose channels have few partitions.
pub(crate) fn app() -> App {
    ["orders", "payments", "refunds"]
        .into_iter()
        .fold(App::new("case"), |app, name| {
            app.channel(name, |channel| channel.partitions(PARTITIONS))
        })
}

/// A retry without a limit to its share, so that a case sees the waits that it asks for.
pub(crate) fn retry(attempts: u32, wait: Duration) -> Retry {
    Retry::fixed(attempts, wait).budget(1_000_000.0, 1_000_000.0)
}

impl Stage {
    /// Starts an app on a broker.
    pub(crate) async fn start(&self, broker: &Broker, app: App) -> Running {
        self.start_with(broker, app, "").await
    }

    pub(crate) async fn start_with(&self, broker: &Broker, app: App, config: &str) -> Running {
        let without_partitions = ["orders", "payments", "refunds"]
            .map(|channel| format!("\n[channel.{channel}]\npartitions = 1\n"))
            .concat();
        let config = match self.needs(&[Feature::Partitions]) {
            Ok(()) => config.to_owned(),
            Err(_) => format!("{config}{without_partitions}"),
        };
        let config = Config::from_toml(&config, "case.toml").expect("the case is configured rightly");
        let started = TestApp::start_on(app.with_state(()), config, broker.0.clone(), self.clock).await;
        let patience = match self.needs(&[Feature::VirtualTime]) {
            Ok(()) => Duration::from_secs(24 * 3_600),
            // Sooner than the case is ended without a word.
            Err(_) => REAL_PATIENCE,
        };
        Running(started.expect("the app starts"), patience)
    }

    /// Starts an app with this one subscription.
    pub(crate) async fn run(&self, broker: &Broker, subscription: Subscription<()>) -> Running {
        self.start(broker, app().add(subscription)).await
    }
}

impl Running {
    pub(crate) async fn send(&self, channel: &str, message: Message) -> Position {
        let sent = self.0.send(channel, message).await;
        sent.expect("a healthy broker takes a message")
    }

    /// Sends that message to `orders`.
    pub(crate) async fn order(&self, id: u64, key: &str) -> Position {
        self.send("orders", message(id, Some(key))).await
    }

    pub(crate) async fn settled(&self) {
        self.settled_within(self.1).await;
    }

    pub(crate) async fn settled_within(&self, limit: Duration) {
        if let Err(error) = self.0.settled_within(limit).await {
            panic!("{error}");
        }
    }

    /// The status of a subscription; it is named after its group.
    pub(crate) fn status(&self, name: &str) -> SubscriptionStatus {
        self.handle(name).status()
    }

    pub(crate) fn handle(&self, name: &str) -> &tidings::SubscriptionHandle {
        let found = self.0.running().subscription(name);
        found.expect("the case names its subscriptions rightly")
    }

    /// Payloads of the dead letters of `orders`, sorted.
    pub(crate) async fn dead(&self) -> Vec<String> {
        let letters = self.0.dead_letters("orders").await.expect("they can be read");
        let mut dead: Vec<_> = letters.iter().map(|letter| text_of(&letter.message)).collect();
        dead.sort();
        dead
    }

    /// Payloads of a channel, sorted.
    pub(crate) async fn published(&self, channel: &str) -> Vec<String> {
        let all = self.0.published(channel).await.expect("they can be read");
        let mut all: Vec<_> = all.iter().map(text_of).collect();
        all.sort();
        all
    }

    /// Dies as a killed process does: nothing is finished, nothing is stored.
    pub(crate) async fn kill(self) {
        let running = self.0.running();
        for name in running.status().subscriptions.keys() {
            let handle = self.handle(name);
            handle.abort();
            handle.stopped().await;
        }
    }
}

/// Waits until a condition holds, in the time of the case.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !condition() {
        assert!(waited < Duration::from_secs(600), "{what} does not come");
        let step = Duration::from_millis(5);
        tokio::time::sleep(step).await;
        waited += step;
    }
}

/// Whether everything that was published is handled or dead.
pub(crate) async fn nothing_is_lost(running: &Running, world: &World, ids: impl IntoIterator<Item = u64>) {
    let (succeeded, dead) = (world.succeeded(), running.dead().await);
    for id in ids {
        assert!(
            succeeded.contains(&id) || dead.contains(&id.to_string()),
            "{id} is neither handled nor dead"
        );
    }
}
