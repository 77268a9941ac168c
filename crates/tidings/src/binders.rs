//! The brokers that a service runs on: opened by the address in the configuration, or given.

use crate::error::Error;
use crate::jobs::{JobEnd, all_until};
use crate::plan::{Plan, PlannedBinder};
use crate::start::Gate;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{BinderError, BinderHealth, Clock, DynBinder, Layered};
use tidings_runtime::ClaimLayer;
use tokio::time::Instant;

/// How long a broker may take to close after a failed start: clients can hang when the broker is away.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The schemes that there are drivers for, the feature that brings each, and whether this build has it.
const DRIVERS: [(&str, &str, bool); 5] = [
    ("embedded", "embedded", cfg!(feature = "embedded")),
    ("memory", "embedded", cfg!(feature = "embedded")),
    ("kafka", "kafka", cfg!(feature = "kafka")),
    ("amqp", "rabbitmq", cfg!(feature = "rabbitmq")),
    ("amqps", "rabbitmq", cfg!(feature = "rabbitmq")),
];

/// Which brokers a service is started on.
#[derive(Debug)]
pub(crate) enum Brokers {
    /// Those that the configuration names.
    Configured,
    /// This one in place of each; its owner opened it and will close it.
    Given(Arc<dyn DynBinder>),
    /// One in memory in place of each; an address `memory:NAME` is kept.
    #[cfg(feature = "test")]
    InMemory,
}

/// Puts something in front of a broker.
pub(crate) type Wrap = dyn Fn(Arc<dyn DynBinder>) -> Arc<dyn DynBinder> + Send + Sync;

/// What a service is started on.
pub(crate) struct Ground {
    pub(crate) brokers: Brokers,
    pub(crate) clock: Clock,
    /// What is put in front of every broker; none in production.
    pub(crate) wrap: Option<Box<Wrap>>,
}

impl Ground {
    /// Puts the plan's addresses right.
    pub(crate) fn choose(&self, plan: &mut Plan) {
        #[cfg(feature = "test")]
        if matches!(self.brokers, Brokers::InMemory) {
            let memory = tidings_config::BinderUrl::parse("memory:").expect("a scheme and a colon");
            let others = plan
                .binders
                .iter_mut()
                .filter(|binder| binder.url.value.scheme() != "memory");
            others.for_each(|binder| binder.url.value = memory.clone());
        }
        if let Brokers::Given(given) = &self.brokers {
            let address = tidings_config::BinderUrl::parse(&format!("{}:", given.kind()));
            for binder in &mut plan.binders {
                binder.url.value = address.clone().unwrap_or_else(|| binder.url.value.clone());
            }
        }
    }

    /// Opens every broker of the plan, or none.
    pub(crate) async fn open(&self, plan: &Plan) -> Result<Binders, Error> {
        let mut binders = Binders {
            by_name: BTreeMap::new(),
            gates: BTreeMap::new(),
            #[cfg(feature = "manage")]
            snapshots: BTreeMap::new(),
            owned: !matches!(self.brokers, Brokers::Given(_)),
        };
        for planned in &plan.binders {
            let opened = match &self.brokers {
                Brokers::Given(given) => Ok(Opened::plain(given.clone())),
                _ => open(planned, plan, self.clock),
            };
            match opened {
                Ok(opened) => {
                    #[cfg(feature = "manage")]
                    if let Some(snapshots) = opened.snapshots {
                        binders.snapshots.insert(planned.name.clone(), snapshots);
                    }
                    let binder = match &self.wrap {
                        Some(wrap) => wrap(opened.binder),
                        None => opened.binder,
                    };
                    let binder = with_claims(plan, &planned.name, binder);
                    binders.by_name.insert(planned.name.clone(), binder);
                }
                Err(error) => {
                    binders.give_up().await;
                    return Err(Error::binder(&planned.name, error));
                }
            }
        }
        Ok(binders)
    }
}

/// The broker, with a place for payloads of its channels that are too large to travel.
fn with_claims(plan: &Plan, binder: &str, opened: Arc<dyn DynBinder>) -> Arc<dyn DynBinder> {
    let channels = plan
        .channels
        .values()
        .filter(|channel| channel.binder.value == binder);
    let rules: HashMap<Arc<str>, _> = channels
        .filter_map(|channel| {
            let rule = channel.claims.as_ref()?.rule()?;
            Some((channel.destination.value.as_str().into(), rule))
        })
        .collect();
    match rules.is_empty() {
        true => opened,
        false => Arc::new(Layered(ClaimLayer::new(opened, rules))),
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

/// Open brokers by name.
#[derive(Debug)]
pub(crate) struct Binders {
    by_name: BTreeMap<String, Arc<dyn DynBinder>>,
    /// How far those are that were away at the start.
    gates: BTreeMap<String, Gate>,
    /// Those that can be copied while they work.
    #[cfg(feature = "manage")]
    snapshots: BTreeMap<String, Arc<dyn tidings_manage::Snapshots>>,
    /// Whether they were opened for this service alone.
    owned: bool,
}

impl Binders {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn DynBinder>> {
        self.by_name.get(name)
    }

    /// A broker that the plan names.
    pub(crate) fn planned(&self, name: &str) -> &Arc<dyn DynBinder> {
        self.by_name
            .get(name)
            .expect("every broker that the plan names was opened")
    }

    /// A broker as something that can be copied while it works.
    #[cfg(feature = "manage")]
    pub(crate) fn snapshots(&self, name: &str) -> Option<&Arc<dyn tidings_manage::Snapshots>> {
        self.snapshots.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<dyn DynBinder>)> {
        self.by_name.iter().map(|(name, binder)| (name.as_str(), binder))
    }

    /// From here on a broker that is away is not ready before what lives there is prepared.
    pub(crate) fn wait_for(&mut self, name: &str, gate: Gate) {
        self.gates.insert(name.to_owned(), gate);
    }

    /// How each of them is.
    pub(crate) fn health(&self) -> impl Iterator<Item = (&str, BinderHealth)> {
        self.by_name.iter().map(|(name, binder)| {
            let trouble = self.gates.get(name).and_then(Gate::trouble);
            let health = trouble.map_or_else(|| binder.health(), BinderHealth::Down);
            (name.as_str(), health)
        })
    }

    /// Waits until each keeps what was published to it; what went wrong, by broker.
    pub(crate) async fn flush(&self, until: Instant) -> Vec<String> {
        let all = self.by_name.iter();
        let jobs = all.map(|(name, binder)| {
            let flush = binder.sink().flush();
            let flush = async move { flush.await.map_err(|error| error.to_string()) };
            (format!("binder {name}"), flush)
        });
        problems(jobs, until, "did not acknowledge all messages in time").await
    }

    /// Closes those that belong to the service, at the same time; what went wrong, by broker.
    pub(crate) async fn close(&self, until: Instant) -> Vec<String> {
        let owned = self.by_name.iter().filter(|_| self.owned);
        let jobs = owned.map(|(name, binder)| {
            let binder = binder.clone();
            let close = async move { binder.close().await.map_err(|error| error.to_string()) };
            (format!("binder {name}"), close)
        });
        problems(jobs, until, "did not close in time").await
    }

    /// Closes what was opened for a start that failed, so that another start finds it free.
    pub(crate) async fn give_up(&self) {
        for problem in self.close(Instant::now() + CLOSE_TIMEOUT).await {
            tracing::warn!("{problem}");
        }
    }
}

async fn problems<F>(jobs: impl Iterator<Item = (String, F)>, until: Instant, late: &str) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let ends = all_until(jobs, until).await;
    let problems = ends.into_iter().filter_map(|(name, end)| match end {
        JobEnd::Done(Ok(())) => None,
        JobEnd::Done(Err(error)) => Some(format!("{name}: {error}")),
        JobEnd::Panicked => Some(format!("{name}: its driver panicked")),
        JobEnd::Late => Some(format!("{name} {late}")),
    });
    problems.collect()
}

/// A broker that was opened, with what only its kind can do.
struct Opened {
    binder: Arc<dyn DynBinder>,
    #[cfg(feature = "manage")]
    snapshots: Option<Arc<dyn tidings_manage::Snapshots>>,
}

impl Opened {
    fn plain(binder: Arc<dyn DynBinder>) -> Self {
        Self {
            binder,
            #[cfg(feature = "manage")]
            snapshots: None,
        }
    }
}

/// Opens a broker by its address.
fn open(binder: &PlannedBinder, plan: &Plan, clock: Clock) -> Result<Opened, BinderError> {
    match binder.url.value.scheme() {
        #[cfg(feature = "embedded")]
        "embedded" | "memory" => embedded::open(binder, clock),
        #[cfg(feature = "kafka")]
        "kafka" => kafka::open(binder),
        #[cfg(feature = "rabbitmq")]
        "amqp" | "amqps" => rabbitmq::open(binder, plan),
        scheme => {
            let _ = (clock, plan);
            Err(BinderError::Open {
                url: binder.url.value.to_string(),
                reason: format!("{} ({})", no_driver(scheme, &DRIVERS), binder.url.origin),
            })
        }
    }
}

/// Says which drivers there are, and which feature brings the one that is missing.
fn no_driver(scheme: &str, drivers: &[(&str, &str, bool)]) -> String {
    let here = drivers.iter().filter(|(_, _, here)| *here);
    let has: Vec<&str> = here.map(|(scheme, _, _)| *scheme).collect();
    let known = drivers.iter().find(|(known, _, _)| *known == scheme);
    let cure = match known {
        Some((_, feature, _)) => format!("enable the feature \"{feature}\" of the crate tidings"),
        None => match tidings_config::nearest(scheme, has.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}:?"),
            None => "take embedded:DIRECTORY, or memory: in tests".to_owned(),
        },
    };
    let has = match has.is_empty() {
        true => "no driver".to_owned(),
        false => has.join(", "),
    };
    format!("this build has [{has}] and nothing for \"{scheme}:\"; {cure}")
}

/// The configuration of a binder with the limit of a message's size that counts.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
fn with_limit(binder: &PlannedBinder) -> tidings_config::BinderConfig {
    let mut config = binder.config.clone();
    config.max_message_bytes = binder.max_message_bytes.map(|bytes| {
        let said = config.max_message_bytes.as_ref().map(|said| said.origin.clone());
        tidings_config::Setting::new(bytes, said.unwrap_or(tidings_config::Origin::Default))
    });
    config
}

#[cfg(feature = "kafka")]
mod kafka {
    use super::{Arc, BinderError, Opened, PlannedBinder, with_limit};
    use tidings_kafka::{ClientOptions, KafkaBinder};

    /// Sets up the clients; whether the brokers are there shows later.
    pub(super) fn open(binder: &PlannedBinder) -> Result<Opened, BinderError> {
        let options = ClientOptions::from_config(&binder.url.value, &with_limit(binder))?;
        let opened =
            KafkaBinder::open(options.with_binder(&*binder.name)).map_err(|error| BinderError::Open {
                url: binder.url.value.to_string(),
                reason: error.to_string(),
            })?;
        Ok(Opened::plain(Arc::new(opened)))
    }
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq {
    use super::{Arc, BinderError, Opened, Plan, PlannedBinder, with_limit};
    use crate::plan::rabbitmq::destinations;
    use tidings_rabbitmq::{ClientOptions, RabbitBinder};

    /// Sets up the clients; whether the servers are there shows later.
    pub(super) fn open(binder: &PlannedBinder, plan: &Plan) -> Result<Opened, BinderError> {
        let options = ClientOptions::from_config(&binder.url.value, &with_limit(binder))?;
        let options = destinations(&plan.channels, &binder.name).fold(options, |options, (name, of)| {
            options.with_destination(&*name, of)
        });
        let opened = RabbitBinder::open(options).map_err(|error| BinderError::Open {
            url: binder.url.value.to_string(),
            reason: error.to_string(),
        })?;
        Ok(Opened::plain(Arc::new(opened)))
    }
}

#[cfg(feature = "embedded")]
mod embedded {
    use super::{Arc, BinderError, Clock, Opened, PlannedBinder};
    use std::time::Duration;
    use tidings_config::BinderConfig;
    use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Fsync, Unread};

    pub(super) fn open(binder: &PlannedBinder, clock: Clock) -> Result<Opened, BinderError> {
        let config = &binder.config;
        let mut options = EmbeddedOptions::from_url(binder.url.value.expose())?
            .clock(clock)
            .fsync(fsync(config));
        if let Some(bytes) = &config.segment_bytes {
            options = options.segment_bytes(bytes.value);
        }
        if let Some(bytes) = binder.max_message_bytes {
            options = options.max_message_bytes(bytes);
        }
        if let Some(bytes) = &config.max_delayed_pending_bytes {
            options = options.max_delayed_pending_bytes(bytes.value);
        }
        if let Some(files) = &config.max_open_files {
            options = options.max_open_files(files.value);
        }
        if let Some(marks) = &config.max_marks {
            options = options.max_marks(marks.value);
        }
        if let Some(time) = &config.retention_time {
            options = options.retention_time(time.value);
        }
        if let Some(bytes) = &config.retention_bytes {
            options = options.retention_bytes(bytes.value);
        }
        if let Some(bytes) = &config.compaction_memory {
            options = options.compaction_memory_bytes(bytes.value);
        }
        if let Some(bytes) = &config.compaction_rate {
            options = options.compaction_bytes_per_second(bytes.value);
        }
        if let Some(interval) = &config.compaction_interval {
            options = options.compaction_interval(interval.value);
        }
        if config
            .lose_unread_messages
            .as_ref()
            .is_some_and(|drop| drop.value)
        {
            options = options.unread(Unread::Drop);
        }
        let broker = Arc::new(EmbeddedBroker::open(options)?);
        Ok(Opened {
            #[cfg(feature = "manage")]
            snapshots: Some(broker.clone()),
            binder: broker,
        })
    }

    fn fsync(config: &BinderConfig) -> Fsync {
        let interval = config
            .fsync_interval
            .as_ref()
            .map_or(Duration::from_millis(10), |interval| interval.value);
        match config.fsync.as_ref().map(|fsync| fsync.value) {
            Some(tidings_config::Fsync::Always) => Fsync::Always,
            Some(tidings_config::Fsync::Os) => Fsync::Os,
            Some(tidings_config::Fsync::Interval) | None => Fsync::Interval(interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_driver_is_told_with_the_feature_that_brings_it() {
        let drivers = [
            ("embedded", "embedded", true),
            ("memory", "embedded", true),
            ("kafka", "kafka", false),
        ];
        for (scheme, words) in [
            (
                "kafka",
                "has [embedded, memory] and nothing for \"kafka:\"; enable the feature \"kafka\"",
            ),
            ("embeded", "did you mean embedded:?"),
            ("postgres", "take embedded:DIRECTORY"),
        ] {
            let told = no_driver(scheme, &drivers);
            assert!(told.contains(words), "{scheme}: {told}");
        }
        let none = no_driver("memory", &[("memory", "embedded", false)]);
        assert!(
            none.contains("has [no driver]") && none.contains("feature \"embedded\""),
            "{none}"
        );
    }
}
