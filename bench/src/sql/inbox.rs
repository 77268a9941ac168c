//! W12 as an app does it: a handler under an inbox, on a broker in memory.

use std::time::Duration;

use sqlx::Postgres;
use tidings::{App, Batch, Failure, Json, Ordering, Subscription, on};
use tidings_sql::{SqlStore, Tx};

use super::broken;
use crate::apart::job::{Job, Outcome, gauge};
use crate::arms::engine;
use crate::arms::gauge::Gauge;
use crate::arms::topic::{ORDERS, Place, Topic};
use crate::error::BenchError;
use crate::order::{self, Order};

/// What a handler does for one order.
pub(super) const EFFECT: &str = "INSERT INTO effects (id, total) VALUES ($1, $2)";
/// What it does for several.
pub(super) const EFFECTS: &str =
    "INSERT INTO effects (id, total) SELECT * FROM unnest($1::text[], $2::bigint[])";

/// The topic of both arms, with ids as an app's publisher gives them.
pub(super) async fn topic(job: &Job) -> Result<Topic, BenchError> {
    let message = |number| (order::key(number, 1_000), order::order_json(number));
    Topic::filled(Place::Memory, std::path::Path::new(""), job.total, message).await
}

/// Handles the topic once.
pub(super) async fn app(job: &Job) -> Result<Outcome, BenchError> {
    let topic = topic(job).await?;
    let store = SqlStore::<Postgres>::open(&job.servers).await.map_err(broken)?;
    let gauge = gauge(job);
    let subscription = match job.open {
        0 | 1 => single(gauge),
        many => together(gauge).batch(many, Duration::from_millis(5)),
    };
    let subscription = match job.slots {
        0 | 1 => subscription.ordering(Ordering::Partition).concurrency(1),
        slots => subscription.ordering(Ordering::None).concurrency(slots),
    };
    let app = App::new("bench").add(subscription.group(job.group.as_str()).inbox(store));
    Outcome::of(&engine::run_app(topic.url(), app, gauge).await?)
}

fn single(gauge: &'static Gauge) -> Subscription<()> {
    on(
        ORDERS,
        move |Json(order): Json<Order>, mut tx: Tx<Postgres>| async move {
            let effect = sqlx::query(EFFECT).bind(&order.id).bind(order.total);
            effect.execute(&mut *tx).await?;
            gauge.hit(order.checksum());
            Ok::<_, Failure>(())
        },
    )
}

fn together(gauge: &'static Gauge) -> Subscription<()> {
    on(
        ORDERS,
        move |orders: Batch<Json<Order>>, mut tx: Tx<Postgres>| async move {
            let ids: Vec<&str> = orders.iter().map(|Json(order)| order.id.as_str()).collect();
            let totals: Vec<i64> = orders.iter().map(|Json(order)| order.total).collect();
            let effects = sqlx::query(EFFECTS).bind(ids).bind(totals);
            effects.execute(&mut *tx).await?;
            for Json(order) in orders.iter() {
                gauge.hit(order.checksum());
            }
            Ok::<_, Failure>(())
        },
    )
}
