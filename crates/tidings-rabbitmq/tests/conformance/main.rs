//! The conformance suite on a real RabbitMQ.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

use brokers::{BrokersError, RabbitApi, VirtualHost};
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidings_conformance::{Feature, Features, Harness, Opening, suite};
use tidings_core::{BinderError, BoxFuture, Capabilities, DynBinder};
use tidings_rabbitmq::{ClientOptions, RabbitBinder};

/// A virtual host on a RabbitMQ that all cases share. It goes with all its queues.
struct Place {
    server: Result<&'static RabbitApi, &'static BrokersError>,
    host: OnceLock<VirtualHost>,
}

impl Place {
    fn fresh() -> Self {
        Self {
            server: brokers::rabbit(),
            host: OnceLock::new(),
        }
    }

    fn host(&self) -> &VirtualHost {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        self.host.get_or_init(|| {
            let number = PLACES.fetch_add(1, Ordering::Relaxed);
            // The suite seeds random numbers, so those alone would be the same in every run.
            let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
            let name = format!("case-{:x}-{time:x}-{number}", std::process::id());
            self.server.unwrap().virtual_host(&name).unwrap()
        })
    }
}

impl Harness for Place {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn features(&self) -> Features {
        let mut can = Capabilities::NONE;
        can.stored_positions = true;
        can.durable = true;
        can.delayed = true;
        can.priorities = true;
        can.retry_lane = true;
        can.longest_hold = Some(Duration::from_secs(15 * 60));
        Features::of(can).with(Feature::Redrive)
    }

    fn missing(&self) -> Option<&'static str> {
        let Err(error) = self.server else { return None };
        assert!(error.is_missing_program(), "{error}");
        Some("cannot be started: `cargo xtask brokers up rabbitmq` says what is missing")
    }

    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn DynBinder>, BinderError>> {
        let options = ClientOptions::from_url(&self.host().url()).unwrap();
        Box::pin(async move { Ok(Arc::new(RabbitBinder::open(options).unwrap()) as Arc<dyn DynBinder>) })
    }

    fn crash(&self, broker: Arc<dyn DynBinder>) -> BoxFuture<'_, ()> {
        // Nothing is acknowledged on the way: sources end without a farewell. Processes and servers that are really
        // killed are the business of other tests.
        Box::pin(async move { drop(broker.close().await) })
    }

    fn unfinished<'a>(&'a self, destination: &'a str, group: &'a str) -> BoxFuture<'a, Option<u64>> {
        let retry = destination.ends_with(".retry");
        let queue = match retry {
            true => destination.to_owned(),
            false => format!("{destination}.{group}"),
        };
        Box::pin(async move { left_in(&self.host().url(), &queue).await })
    }
}

/// How many messages lie in a queue that nobody reads; none if somebody does.
async fn left_in(url: &str, queue: &str) -> Option<u64> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = connecting.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let asked = channel.queue_declare(ShortString::from(queue), options, FieldTable::default());
    let found = asked.await.unwrap();
    connection.close(200, "OK".into()).await.unwrap();
    (found.consumer_count() == 0).then(|| found.message_count().into())
}

suite!(rabbitmq, Place::fresh);
