//! The conformance suite on a real Kafka.
#![allow(clippy::unwrap_used, reason = "what only tests use")]

mod apart;

use apart::Apart;
use brokers::BrokersError;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tidings_conformance::{Features, Harness, Opening, suite};
use tidings_core::{BinderError, BoxFuture, Capabilities, DynBinder};
use tidings_kafka::{ClientOptions, KafkaBinder};

/// Names of its own on a Kafka that all cases share. Its topics go with it.
struct Place {
    servers: Result<&'static str, &'static BrokersError>,
    prefix: Arc<str>,
    topics: Arc<Mutex<BTreeSet<String>>>,
}

impl Place {
    fn fresh() -> Self {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        // The suite seeds random numbers, so those alone would be the same in every run.
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        Self {
            servers: brokers::kafka(),
            prefix: format!("c{:x}-{time:x}-{number}.", std::process::id()).into(),
            topics: Arc::default(),
        }
    }
}

impl Harness for Place {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn features(&self) -> Features {
        let mut can = Capabilities::NONE;
        can.partitions = true;
        can.replay = true;
        can.stored_positions = true;
        can.durable = true;
        can.retry_lane = true;
        can.patterns = true;
        can.transactions = true;
        Features::of(can)
    }

    fn missing(&self) -> Option<&'static str> {
        let Err(error) = self.servers else { return None };
        assert!(error.is_missing_program(), "{error}");
        Some("cannot be started: `cargo xtask brokers up kafka` says what is missing")
    }

    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn DynBinder>, BinderError>> {
        let options = ClientOptions::from_url(&format!("kafka://{}", self.servers.unwrap())).unwrap();
        let options = options
            .with_properties([("heartbeat.interval.ms", "200"), ("linger.ms", "0")])
            .unwrap();
        let (prefix, topics) = (self.prefix.clone(), self.topics.clone());
        Box::pin(async move {
            let binder = KafkaBinder::open(options).unwrap();
            Ok(Arc::new(Apart::new(binder, prefix, topics)) as Arc<dyn DynBinder>)
        })
    }

    fn crash(&self, broker: Arc<dyn DynBinder>) -> BoxFuture<'_, ()> {
        // Nothing is stored on the way, and members are out of their groups at once: what a session that runs out does,
        // without its wait. Processes that are really killed are the business of other tests.
        Box::pin(async move { drop(broker.close().await) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let topics = std::mem::take(&mut *self.topics.lock().unwrap());
        if topics.is_empty() {
            return;
        }
        let servers = self.servers.unwrap();
        let work = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
                    .set("bootstrap.servers", servers)
                    .create()
                    .unwrap();
                let names: Vec<&str> = topics.iter().map(String::as_str).collect();
                drop(admin.delete_topics(&names, &AdminOptions::new()).await);
            });
        });
        drop(work.join());
    }
}

suite!(kafka, Place::fresh);
