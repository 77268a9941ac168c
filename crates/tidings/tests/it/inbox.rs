//! What cannot be right about an inbox is found at start. What it does is tested where it is done.

use crate::events::{Paid, Placed, paid};
use std::sync::Arc;
use tidings::prelude::*;
use tidings::{
    Database, Error, FromContext, FromDelivery, HandlerContext, InboxError, InboxStore, InboxTransaction,
    Needs,
};
use tidings_core::BoxFuture;

#[derive(Debug)]
struct Postgres;
#[derive(Debug)]
struct Sqlite;

/// A store that nobody gets to use: mistakes are found before.
#[derive(Debug, Clone, Copy, Default)]
struct Store {
    has_outbox: bool,
}

const STORE: Store = Store { has_outbox: true };

impl InboxStore for Store {
    fn name(&self) -> String {
        "PostgreSQL at db:5432/shop".to_owned()
    }

    fn database(&self) -> Database {
        Database::of::<Postgres>()
    }

    fn has_outbox(&self) -> bool {
        self.has_outbox
    }

    fn begin(
        &self,
        _: &str,
        _: Vec<String>,
    ) -> BoxFuture<'static, Result<Box<dyn InboxTransaction>, InboxError>> {
        unreachable!("nothing is started")
    }
}

struct Tx<D>(std::marker::PhantomData<fn() -> D>);

impl<S, D: 'static> FromDelivery<S> for Tx<D> {
    const NEEDS: Needs = Needs {
        transaction: Some(Database::of::<D>()),
        ..Needs::NOTHING
    };

    fn from_delivery(_: &Delivery, _: &S) -> Result<Self, Failure> {
        unreachable!("nothing is handled")
    }
}

impl<S, D: 'static> FromContext<S> for Tx<D> {
    const NEEDS: Needs = <Self as FromDelivery<S>>::NEEDS;

    fn from_context(_: &Arc<HandlerContext>, _: &S) -> Result<Self, Failure> {
        unreachable!("nothing is handled")
    }
}

async fn work(_: Tx<Postgres>) {}
async fn work_elsewhere(_: Tx<Sqlite>) {}
async fn work_together(_: Batch<Placed>, _: Tx<Postgres>) {}
async fn decide(_: Ack) {}
async fn tell(_: Publisher) {}
async fn produce(_: Tx<Postgres>) {}
async fn charge(Json(order): Json<Placed>) -> Paid {
    paid(&order.order)
}
async fn answer(Json(order): Json<Placed>) -> Reply<Paid> {
    Reply(paid(&order.order))
}

fn orders<M>(handler: impl tidings::IntoSubscription<M, ()>) -> tidings::Subscription<()> {
    on("orders", handler).group("billing").name("a")
}

fn order_of(order: &Placed) -> String {
    order.order.clone()
}

#[test]
fn what_cannot_be_right_about_an_inbox_is_refused_at_start() {
    let bare = Store::default();
    let app = || App::new("shop");
    let cases = [
        (app().add(orders(work)), "there is none", ".inbox(store)"),
        (app().add(orders(work_together)), "there is none", ".inbox(store)"),
        (
            app().add(every(secs(1), produce)),
            "a producer has none",
            "begin a transaction",
        ),
        (
            app().add(orders(work_elsewhere).inbox(STORE)),
            "takes a transaction of Sqlite, and its inbox is PostgreSQL at db:5432/shop",
            "take Tx<Postgres>",
        ),
        (
            app().add(orders(decide).inbox(STORE)),
            "takes `Ack`",
            "return a Result",
        ),
        (
            app().add(orders(charge).to("payments").inbox(bare)),
            "has no outbox",
            "a store with an outbox",
        ),
        (
            app().add(orders(tell).inbox(bare)),
            "has no outbox",
            "publish nothing",
        ),
        (
            app().add(orders(answer).inbox(STORE)),
            "returns a reply under an inbox",
            "return an event",
        ),
        (
            app().add(on("orders", work).inbox(STORE)),
            "an inbox and no group",
            ".group(",
        ),
        (
            app().add(orders(work).inbox(STORE).exactly_once()),
            "is exactly_once and has an inbox",
            "use one of them",
        ),
        (
            app().add(orders(charge).to("payments").inbox_id(order_of)),
            "and has none",
            "remove .inbox_id",
        ),
        (
            app().add(orders(work).inbox(STORE).inbox_id(order_of)).add(
                on("cancellations", work)
                    .group("billing")
                    .name("b")
                    .inbox(STORE)
                    .inbox_id(order_of),
            ),
            "read different channels",
            "another group",
        ),
    ];
    for (app, problem, cure) in cases {
        match app.with_state(()).describe(&Config::default()) {
            Err(Error::Wiring(found)) => {
                let [mistake] = &found[..] else {
                    panic!("{found:#?}")
                };
                assert!(
                    mistake.problem().contains(problem) && mistake.cure().contains(cure),
                    "{mistake:#?}"
                );
                assert!(mistake.place().contains("inbox.rs:"), "{mistake:#?}");
            }
            other => panic!("{problem}: {other:?}"),
        }
    }
}

#[test]
fn what_is_right_about_an_inbox_is_described() {
    let app = App::new("shop")
        .add(orders(work).inbox(STORE).inbox_id(order_of))
        .add(on("orders", charge).group("charging").to("payments").inbox(STORE))
        .add(on("orders", work_together).group("record").inbox(STORE).spawn());
    let described = app.with_state(()).describe(&Config::default()).unwrap();
    assert!(
        described.to_string().contains("PostgreSQL at db:5432/shop"),
        "{described}"
    );
}
