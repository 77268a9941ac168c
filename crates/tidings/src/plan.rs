//! The app and its configuration made one: [`Plan`], with every mistake found before anything is opened.

mod channels;
pub(crate) mod claims;
mod convert;
mod inbox;
#[cfg(feature = "manage")]
mod manage;
mod names;
pub(crate) mod outboxes;
mod patterns;
mod policy;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
mod requests;
mod retry_lanes;
mod subscriptions;

pub(crate) use channels::PlannedChannel;
pub(crate) use outboxes::{DeclaredOutbox, PlannedOutbox};
pub(crate) use patterns::RunningPattern;
pub(crate) use requests::PlannedRequests;
pub(crate) use subscriptions::PlannedSubscription;

use crate::error::{Error, WiringMistake};
use crate::part::SubscriptionFacts;
use crate::service::Service;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::Location;
use std::time::Duration;
use tidings_config::{BinderConfig, BinderUrl, Config, Origin, Setting};
use tidings_core::{HandlerKind, Publishes};

/// Where a service keeps its messages if nobody says anything.
const DEFAULT_URL: &str = "embedded:./data";

/// A service as it will run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) app: String,
    pub(crate) drain_timeout: Setting<Duration>,
    pub(crate) publish_timeout: Setting<Duration>,
    pub(crate) requests: PlannedRequests,
    /// None if operators must not ask.
    #[cfg(feature = "manage")]
    pub(crate) manage: Option<tidings_manage::ServerOptions>,
    pub(crate) binders: Vec<PlannedBinder>,
    pub(crate) channels: BTreeMap<String, PlannedChannel>,
    /// In the order of the service's subscriptions.
    pub(crate) subscriptions: Vec<PlannedSubscription>,
    pub(crate) outboxes: Vec<PlannedOutbox>,
}

/// How much of the configuration could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// All of it.
    Whole,
    /// Parts are missing, so that nothing follows from what is not there.
    Partial,
}

/// A broker to be opened.
#[derive(Debug)]
pub(crate) struct PlannedBinder {
    pub(crate) name: String,
    pub(crate) url: Setting<BinderUrl>,
    pub(crate) config: BinderConfig,
    /// The smaller of the app's and the binder's limits; none leaves it to the broker.
    #[cfg_attr(
        not(any(feature = "embedded", feature = "kafka", feature = "rabbitmq")),
        expect(dead_code, reason = "only drivers read it")
    )]
    pub(crate) max_message_bytes: Option<usize>,
}

/// What is wrong, gathered so that it can be said at once.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<WiringMistake>);

impl Mistakes {
    pub(crate) fn add(
        &mut self,
        place: impl fmt::Display,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.0.push(WiringMistake::new(place, problem, cure));
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::Wiring(self.0))
        }
    }
}

/// A place in the user's code, as compilers print it.
pub(crate) fn place_of(location: &Location<'_>) -> String {
    format!("{}:{}", location.file(), location.line())
}

/// The place that an origin names: a mistake in code is found like any other.
pub(crate) fn place_in(origin: &Origin) -> String {
    match origin {
        Origin::Code { place } => place.to_string(),
        other => other.to_string(),
    }
}

/// Whether a handler publishes anything, as far as its types say.
fn publishes(facts: &SubscriptionFacts) -> bool {
    facts.publishes != Publishes::Nothing || facts.needs.publisher
}

/// The value that counts: configuration before code before default.
pub(crate) fn layered<T>(default: T, code: Option<Setting<T>>, config: Option<Setting<T>>) -> Setting<T> {
    config
        .or(code)
        .unwrap_or_else(|| Setting::new(default, Origin::Default))
}

impl Plan {
    /// Joins a service and its configuration.
    ///
    /// # Errors
    /// [`Error::Wiring`] with every mistake.
    pub(crate) fn new(service: &Service, config: &Config, knowledge: Knowledge) -> Result<Self, Error> {
        let mut mistakes = Mistakes::default();
        let names = names::of_subscriptions(service, &mut mistakes);
        names::of_producers(service, &mut mistakes);
        let channels = channels::plan(service, config, &mut mistakes);
        let binders = plan_binders(&channels, config, knowledge, &mut mistakes);
        names::in_configuration(config, &names, &channels, &mut mistakes);
        check_handlers(service, &mut mistakes);
        let planner = subscriptions::Planner {
            config,
            channels: &channels,
            mistakes: &mut mistakes,
        };
        let subscriptions = planner.plan(service, &names);
        retry_lanes::check(&channels, &subscriptions, &mut mistakes);
        let group_of =
            |planned: &PlannedSubscription| planned.group.as_ref().map(|group| group.value.clone());
        let groups: Vec<_> = subscriptions.iter().map(group_of).collect();
        inbox::check_shared_ids(service, &groups, &mut mistakes);
        #[cfg(feature = "manage")]
        let manage = manage::plan(&config.manage(), &mut mistakes);
        mistakes.finish()?;
        let app = config.app();
        let thirty = Duration::from_secs(30);
        let name = app.name.as_ref();
        let name = name.map_or_else(|| service.name.clone(), |name| name.value.clone());
        Ok(Self {
            requests: PlannedRequests::new(&name, &app),
            app: name,
            drain_timeout: layered(thirty, None, app.drain_timeout),
            publish_timeout: layered(thirty, None, app.publish_timeout),
            #[cfg(feature = "manage")]
            manage,
            binders,
            channels,
            subscriptions,
            outboxes: outboxes::of(service),
        })
    }

    /// The destinations that the dead letters of a channel are in.
    pub(crate) fn dead_letters_of(&self, channel: &PlannedChannel) -> BTreeSet<String> {
        subscriptions::dead_letters_of(channel, self.subscriptions.iter())
    }

    /// All dead letters that belong to a channel, also those of handlers of dead letters.
    pub(crate) fn all_dead_letters_of(&self, channel: &PlannedChannel) -> BTreeSet<String> {
        if channel.pattern.is_some() {
            // They are known only at run time, see `RunningPattern`.
            return BTreeSet::new();
        }
        let inputs = self
            .subscriptions
            .iter()
            .flat_map(|subscription| &subscription.inputs);
        let own = inputs.filter(|input| input.channel == channel.name);
        let mut all = self.dead_letters_of(channel);
        all.extend(own.filter_map(|input| input.dead_letter.clone()));
        all
    }
}

/// The binders that channels name.
fn plan_binders(
    channels: &BTreeMap<String, PlannedChannel>,
    config: &Config,
    knowledge: Knowledge,
    mistakes: &mut Mistakes,
) -> Vec<PlannedBinder> {
    let mut named: BTreeMap<&str, &PlannedChannel> = BTreeMap::new();
    for channel in channels.values() {
        named.entry(&channel.binder.value).or_insert(channel);
    }
    let mut binders = Vec::new();
    let app = config.app();
    for (name, channel) in named {
        let binder = config.binder(name);
        let url = match binder.url.clone() {
            Some(url) => url,
            None if name == "main" => Setting::new(
                BinderUrl::parse(DEFAULT_URL).expect("the default is valid"),
                Origin::Default,
            ),
            // Its address may stand in what could not be read.
            None if knowledge == Knowledge::Partial => continue,
            None => {
                mistakes.add(
                    place_in(&channel.binder.origin),
                    format!(
                        "channel \"{}\" lives on binder \"{name}\", which has no address",
                        channel.name
                    ),
                    format!("write [binder.{name}] url = \"…\" in the configuration"),
                );
                continue;
            }
        };
        let limits = [binder.max_message_bytes.as_ref(), app.max_payload_bytes.as_ref()];
        let max_message_bytes = limits.into_iter().flatten().map(|limit| limit.value).min();
        binders.push(PlannedBinder {
            name: name.to_owned(),
            url,
            config: binder,
            max_message_bytes,
        });
    }
    binders
}

/// What a handler's types say against what is asked of it.
fn check_handlers(service: &Service, mistakes: &mut Mistakes) {
    for subscription in &service.subscriptions {
        let facts = &subscription.facts;
        let place = place_of(facts.place);
        let handler = facts.short_handler();
        check_output(
            &place,
            &handler,
            facts.publishes,
            facts.output.as_deref(),
            mistakes,
        );
        if facts.kind == HandlerKind::Batch && facts.middleware > 0 {
            mistakes.add(
                &place,
                format!("`{handler}` takes a batch, and middleware runs around single messages"),
                "remove .middleware(…), or let the handler take messages one by one",
            );
        }
        if facts.kind == HandlerKind::Batch && facts.publishes == Publishes::Reply {
            mistakes.add(
                &place,
                format!(
                    "`{handler}` takes a batch and returns one reply, and each message may have asked for one"
                ),
                "let the handler take messages one by one",
            );
        }
        if facts.kind == HandlerKind::Single && facts.changes.batch.is_some() {
            mistakes.add(
                &place,
                format!("`{handler}` takes messages one by one, so there are no batches to form"),
                "remove .batch(…), or let the handler's first argument be Batch<T>",
            );
        }
        inbox::check_handler(facts, &place, mistakes);
    }
    for producer in &service.producers {
        let facts = &producer.facts;
        let place = place_of(facts.place);
        check_output(
            &place,
            &facts.name,
            facts.publishes,
            facts.output.as_deref(),
            mistakes,
        );
        if facts.publishes == Publishes::Reply {
            mistakes.add(
                &place,
                format!(
                    "`{}` returns a reply, and there is no request that it could answer",
                    facts.name
                ),
                "return an event, and say with .to(…) where it goes",
            );
        }
        inbox::check_producer(facts, &place, mistakes);
        if facts.interval.is_some_and(|interval| interval.is_zero()) {
            mistakes.add(
                &place,
                format!("`{}` is called every 0 s", facts.name),
                "give every(…) an interval above 0",
            );
        }
    }
}

fn check_output(
    place: &str,
    function: &str,
    publishes: Publishes,
    output: Option<&str>,
    mistakes: &mut Mistakes,
) {
    match (publishes, output) {
        (Publishes::ToOutputChannel, None) => mistakes.add(
            place,
            format!("`{function}` returns an event and nothing says where it goes"),
            "add .to(\"channel\"), or return To(\"channel\", event)",
        ),
        (Publishes::Nothing, Some(channel)) => mistakes.add(
            place,
            format!("`{function}` returns nothing that could go to \"{channel}\""),
            "remove .to(…), or return an event",
        ),
        (Publishes::Reply, Some(channel)) => mistakes.add(
            place,
            format!(
                "`{function}` returns a reply, which goes where the request says and not to \"{channel}\""
            ),
            "remove .to(…), or return an event in place of Reply",
        ),
        _ => {}
    }
}
