//! Processes that this program starts of itself: start-up, stopping and memory can only be measured from outside.
//!
//! `bench child <part> [ARGUMENT]...` plays one part, says one line when it has done its work, and waits for SIGTERM.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tidings::{App, Json, on};
use tidings_core::{Binder, Message, Outgoing};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync, Location};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arms::engine;
use crate::arms::topic::{self, ORDERS};
use crate::error::BenchError;
use crate::kafka;
use crate::order::{self, Order};

/// The first argument of a child.
pub(crate) const MARK: &str = "child";
/// What a child says when it has handled its first message, or is ready where there is none.
pub(crate) const WORD: &str = "handled";
/// What a part that opens a broker does with it.
const USE_ALL: &str = "use-all";

/// A part and its arguments, as the parent writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Reads one message from a file by hand, decodes it, waits: what any tokio program costs.
    ByHand { file: String },
    /// An app whose topic holds a message already.
    First { url: String, group: String },
    /// An app that publishes its first message itself.
    FirstOwn { url: String },
    /// An app whose handler takes 5 ms a message, before a topic with far more than it can handle.
    Slow { url: String, group: String },
    /// A broker that is opened, and used once in every partition if it says so; then it is idle.
    Open { directory: String, doing: String },
    /// On Kafka: an app (`first`, `slow`) or the batch call by hand (`first-by-hand`, `slow-by-hand`).
    Kafka {
        doing: String,
        servers: String,
        topic: String,
        group: String,
    },
}

impl Part {
    /// As arguments of a process.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        match self {
            Part::ByHand { file } => vec![MARK, "by-hand", file],
            Part::First { url, group } => vec![MARK, "first", url, group],
            Part::FirstOwn { url } => vec![MARK, "first-own", url],
            Part::Slow { url, group } => vec![MARK, "slow", url, group],
            Part::Open { directory, doing } => vec![MARK, "open", directory, doing],
            Part::Kafka {
                doing,
                servers,
                topic,
                group,
            } => vec![MARK, "kafka", doing, servers, topic, group],
        }
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        match arguments.as_slice() {
            ["by-hand", file] => Some(Part::ByHand { file: owned(file) }),
            ["first", url, group] => Some(Part::First {
                url: owned(url),
                group: owned(group),
            }),
            ["first-own", url] => Some(Part::FirstOwn { url: owned(url) }),
            ["slow", url, group] => Some(Part::Slow {
                url: owned(url),
                group: owned(group),
            }),
            ["open", directory, doing] => Some(Part::Open {
                directory: owned(directory),
                doing: owned(doing),
            }),
            ["kafka", doing, servers, topic, group] => Some(Part::Kafka {
                doing: owned(doing),
                servers: owned(servers),
                topic: owned(topic),
                group: owned(group),
            }),
            _ => None,
        }
    }
}

/// Plays the part that the arguments name.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let played = match Part::parse(arguments) {
        Some(part) => topic::runtime().and_then(|runtime| play(&part, &runtime)),
        None => Err(BenchError::Arguments(format!("no part {arguments:?}"))),
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play(part: &Part, runtime: &Runtime) -> Result<(), BenchError> {
    match part {
        Part::ByHand { file } => runtime.block_on(by_hand(Path::new(file))),
        Part::First { url, group } => runtime.block_on(app(url, group, Duration::ZERO, false)),
        Part::FirstOwn { url } => runtime.block_on(app(url, "first", Duration::ZERO, true)),
        Part::Open { directory, doing } => runtime.block_on(open(directory, doing == USE_ALL)),
        Part::Slow { url, group } => runtime.block_on(app(url, group, Duration::from_millis(5), false)),
        Part::Kafka {
            doing,
            servers,
            topic,
            group,
        } => kafka::first(runtime, doing, servers, topic, group, say),
    }
}

async fn by_hand(file: &Path) -> Result<(), BenchError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::system("waiting for signals"))?;
    let bytes = std::fs::read(file).map_err(BenchError::file(file))?;
    let order: Order = serde_json::from_slice(&bytes).map_err(BenchError::part("decoding"))?;
    std::hint::black_box(order.checksum());
    say();
    terminate.recv().await;
    Ok(())
}

async fn app(url: &str, group: &str, wait: Duration, publishes: bool) -> Result<(), BenchError> {
    let handler = move |Json(order): Json<Order>| async move {
        std::hint::black_box(order.checksum());
        say();
        tokio::time::sleep(wait).await;
    };
    let app = App::new("child")
        .add(on(ORDERS, handler).group(group))
        .channel(ORDERS, |channel| channel.partitions(1));
    let running = app
        .start(engine::config(url)?)
        .await
        .map_err(BenchError::part("starting the app"))?;
    if publishes {
        let message = tidings::Message::new(order::order_json(1)).with_key(order::key(1, 1));
        let sent = running.publisher().send(ORDERS, message).await;
        sent.map_err(BenchError::part("publishing"))?;
    }
    running
        .wait_for_signal_and_drain()
        .await
        .map_err(BenchError::part("draining the app"))
}

async fn open(directory: &str, use_all: bool) -> Result<(), BenchError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(BenchError::system("waiting for signals"))?;
    let location = Location::Directory(directory.into());
    let options = EmbeddedOptions::new(location).fsync(Fsync::Os);
    let broker = EmbeddedBroker::open(options).map_err(BenchError::part("opening the broker"))?;
    if use_all {
        let sink = Binder::sink(&broker);
        let all = Binder::destinations(&broker).await;
        for topic in all.map_err(BenchError::part("listing topics"))? {
            for partition in 0..topic.partitions {
                let mut outgoing = Outgoing::new(topic.name.clone(), Message::new("used"));
                outgoing.partition = Some(partition);
                sink.publish(outgoing)
                    .await
                    .map_err(BenchError::part("publishing"))?;
            }
        }
    }
    say();
    terminate.recv().await;
    Binder::close(&broker)
        .await
        .map_err(BenchError::part("closing the broker"))
}

/// Says the word once, at once: the parent's clock waits for it.
fn say() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        let mut output = std::io::stdout().lock();
        // A parent that is gone hears nothing; it will not miss it.
        let _ = writeln!(output, "{WORD}").and_then(|()| output.flush());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_survives_its_way_through_the_arguments() {
        for part in [
            Part::ByHand { file: "f".into() },
            Part::FirstOwn {
                url: "memory:".into(),
            },
            Part::First {
                url: "embedded:d".into(),
                group: "g".into(),
            },
            Part::Slow {
                url: "embedded:d".into(),
                group: "g".into(),
            },
            Part::Open {
                directory: "d".into(),
                doing: "idle".into(),
            },
            Part::Kafka {
                doing: "first".into(),
                servers: "h:1".into(),
                topic: "t".into(),
                group: "g".into(),
            },
        ] {
            let arguments: Vec<String> = part.arguments().into_iter().skip(1).map(str::to_owned).collect();
            assert_eq!(Part::parse(&arguments), Some(part));
        }
        assert_eq!(Part::parse(&["first".to_owned()]), None);
    }
}
