//! Starts a service: opens its brokers, prepares destinations, starts subscriptions and producers.

mod capabilities;
mod destinations;
mod late;
mod prepare;
mod requests;

pub(crate) use late::Gate;

use crate::binders::{Binders, Ground};
use crate::describe::Description;
use crate::error::Error;
use crate::part::BoundProducer;
use crate::plan::{Plan, PlannedSubscription, RunningPattern};
use crate::running::{Inner, Running, RunningChannel, RunningProducer, RunningSubscription, outboxes};
use crate::service::Service;
use prepare::Prepared;
use requests::Requests;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{
    Clock, HandlerContext, Invoke, PublishError, Publisher, Route, Routes, retry_destination,
};
use tidings_runtime::{Around, DeadLetterTarget, Input, ProducerSpec, SubscriptionSpec, start_producer};

/// Starts everything, or nothing. A broker that is reached by the network may be away: what lives there starts when it
/// comes.
pub(crate) async fn start(service: Service, mut plan: Plan, ground: Ground) -> Result<Running, Error> {
    ground.choose(&mut plan);
    let mut binders = ground.open(&plan).await?;
    let plan = Arc::new(plan);
    let prepared = match capabilities::check(&plan, &binders) {
        Ok(()) => Prepared::all(&plan, &mut binders).await,
        Err(error) => Err(error),
    };
    match prepared {
        Ok(prepared) => {
            #[cfg(feature = "manage")]
            let manage = crate::running::Management::of(&plan, &ground, &binders);
            let running = launch(service, &plan, binders, prepared, ground.clock);
            #[cfg(feature = "manage")]
            if let Some(manage) = manage
                && let Err(error) = running.answer(manage)
            {
                running.drain().await;
                return Err(error);
            }
            Ok(running)
        }
        Err(error) => {
            binders.give_up().await;
            Err(error)
        }
    }
}

fn launch(service: Service, plan: &Plan, binders: Binders, prepared: Prepared, clock: Clock) -> Running {
    let mut description = Description::new(&service, plan);
    for subscription in &mut description.subscriptions {
        if !binders.planned(&subscription.binder).capabilities().retry_lane {
            subscription.retry.clear();
        }
    }
    let requests = Requests::new(plan, &binders);
    let routes = Arc::new(routes(plan, &binders, &requests));
    let publisher = Publisher::new(routes.clone(), clock);
    let starter = Starter {
        app: plan.app.as_str().into(),
        plan,
        binders: &binders,
        prepared: &prepared,
        requests: &requests,
        publisher,
        clock,
    };
    let bound = service.subscriptions.into_iter().zip(&plan.subscriptions);
    let subscriptions = bound
        .map(|(bound, planned)| {
            let output = bound.facts.output.clone();
            let filter = bound.facts.filter.clone();
            let spec = starter.subscription(planned, bound.handler, filter, output);
            let around = Around {
                inbox: bound.facts.inbox,
                claims: crate::plan::claims::stores(&plan.channels),
            };
            RunningSubscription {
                name: planned.name.clone(),
                group: spec.context.group.clone(),
                binder: planned.binder.clone(),
                chosen: spec.policy.partitions.clone(),
                #[cfg(feature = "test")]
                has_patterns: !spec.discovery.patterns.is_empty(),
                handle: Arc::new(tidings_runtime::start_within(spec, around)),
            }
        })
        .collect();
    let producers = service
        .producers
        .into_iter()
        .map(|bound| starter.producer(bound))
        .collect();
    let outboxes = outboxes::start(&plan.outboxes, &routes, &plan.app);
    let channels = running_channels(plan);
    let publisher = starter.publisher;
    tracing::info!(app = %plan.app, "started");
    Running::new(Inner {
        app: plan.app.clone(),
        publisher,
        subscriptions,
        producers,
        outboxes,
        channels,
        requesters: requests.into_running(),
        binders,
        preparing: prepared.later,
        description,
        clock,
        drain_timeout: plan.drain_timeout.value,
        publish_timeout: plan.publish_timeout.value,
        redriving: tokio::sync::Mutex::new(()),
        draining: false.into(),
        drained: tokio::sync::OnceCell::new(),
        #[cfg(feature = "manage")]
        manage: std::sync::OnceLock::new(),
    })
}

fn running_channels(plan: &Plan) -> BTreeMap<String, RunningChannel> {
    let channels = plan.channels.values().map(|channel| {
        let running = RunningChannel {
            binder: channel.binder.value.clone(),
            destination: channel.destination.value.as_str().into(),
            dead_letters: plan.all_dead_letters_of(channel).into_iter().collect(),
            pattern: RunningPattern::new(plan, channel),
        };
        (channel.name.clone(), running)
    });
    channels.collect()
}

fn routes(plan: &Plan, binders: &Binders, requests: &Requests) -> Routes {
    let mut routes = Routes::default();
    requests.add_to(&mut routes, plan);
    for channel in plan.channels.values() {
        if channel.pattern.is_some() {
            let error = PublishError::Pattern {
                channel: channel.name.clone(),
                pattern: channel.destination.value.clone(),
            };
            routes.refuse(channel.name.clone(), error);
            continue;
        }
        if let Some(binder) = binders.get(&channel.binder.value) {
            let destination = channel.destination.value.as_str().into();
            routes.insert(
                channel.name.clone(),
                Route {
                    sink: binder.sink(),
                    destination,
                },
            );
        }
    }
    routes
}

/// A transaction is one broker's: channels of others are refused.
fn refuse_others(routes: &mut Routes, plan: &Plan, binder: &str) {
    let others = plan
        .channels
        .values()
        .filter(|channel| channel.binder.value != binder);
    for channel in others {
        let error = PublishError::NoTransaction {
            destination: channel.name.as_str().into(),
            reason: "the channel is on another binder than the exactly-once subscription; publish to a channel of its own binder, and let another subscription pass it on",
        };
        routes.refuse(channel.name.clone(), error);
    }
}

/// What all parts share while they are started.
struct Starter<'a> {
    app: Arc<str>,
    plan: &'a Plan,
    binders: &'a Binders,
    prepared: &'a Prepared,
    requests: &'a Requests,
    publisher: Publisher,
    clock: Clock,
}

impl Starter<'_> {
    fn context(&self, name: &str, group: Option<&str>, publisher: Publisher) -> Arc<HandlerContext> {
        Arc::new(HandlerContext {
            app: self.app.clone(),
            subscription: name.into(),
            group: group.map(Arc::from),
            publisher,
            clock: self.clock,
        })
    }

    fn context_of(&self, planned: &PlannedSubscription, group: Option<&str>) -> Arc<HandlerContext> {
        let publisher = if planned.policy.exactly_once {
            let mut routes = routes(self.plan, self.binders, self.requests);
            refuse_others(&mut routes, self.plan, &planned.binder);
            Publisher::new(Arc::new(routes), self.clock)
        } else {
            self.publisher.clone()
        };
        self.context(&planned.name, group, publisher)
    }

    fn producer(&self, bound: BoundProducer) -> RunningProducer {
        RunningProducer {
            name: bound.facts.name.clone(),
            handle: Arc::new(start_producer(ProducerSpec {
                context: self.context(&bound.facts.name, None, self.publisher.clone()),
                output: bound.facts.output,
                work: bound.work,
                publish_timeout: self.plan.publish_timeout.value,
            })),
        }
    }

    fn subscription(
        &self,
        planned: &PlannedSubscription,
        handler: Arc<dyn Invoke>,
        filter: Option<tidings_core::Filter>,
        output: Option<String>,
    ) -> SubscriptionSpec {
        let binder = self.prepared.for_subscriptions(&planned.binder, self.binders);
        let group = planned.group.as_ref().map(|group| group.value.as_str());
        let patterns = planned.inputs.iter().filter_map(|input| input.pattern.clone());
        let discovery = self.plan.discovery(&planned.binder, patterns.collect());
        let named = planned.inputs.iter().filter(|input| input.pattern.is_none());
        let inputs = named.map(|input| Input {
            destination: input.destination.as_str().into(),
            retry: group
                .filter(|_| binder.capabilities().retry_lane)
                .map(|group| retry_destination(&input.destination, group).into()),
            dead_letter: input.dead_letter.as_ref().map(|letters| DeadLetterTarget {
                destination: letters.as_str().into(),
                partitions: self.prepared.partitions(&planned.binder, letters),
            }),
        });
        let revoke = self
            .plan
            .binders
            .iter()
            .find(|other| other.name == planned.binder);
        let revoke = revoke.and_then(|planned| planned.config.session_drain.as_ref());
        SubscriptionSpec {
            context: self.context_of(planned, group),
            handler,
            policy: planned.policy.clone(),
            filter,
            output,
            inputs: inputs.collect(),
            discovery,
            binder,
            revoke_timeout: revoke.map_or(Duration::from_secs(10), |drain| drain.value),
            publish_timeout: self.plan.publish_timeout.value,
        }
    }
}
