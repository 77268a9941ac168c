//! Apps put together: merge, nest, middleware, filters, several channels, two apps on one broker.

use crate::events::{Paid, Placed, Seen, paid, placed};
use tidings::Error;
use tidings::prelude::*;
use tidings::test::TestApp;

#[derive(Clone)]
struct Currency(&'static str);

#[derive(Clone, FromRef)]
struct Shop {
    seen: Seen,
    currency: Currency,
}

fn shop() -> Shop {
    Shop {
        seen: Seen::default(),
        currency: Currency("EUR"),
    }
}

async fn with_currency(
    Json(order): Json<Placed>,
    State(seen): State<Seen>,
    State(currency): State<Currency>,
) {
    seen.note(format!("{} {}", order.order, currency.0));
}

/// An app that knows nothing of the shop, only of what it needs.
fn audit() -> App<Seen> {
    async fn note(Json(order): Json<Placed>, State(seen): State<Seen>) {
        seen.note(format!("audit {}", order.order));
    }
    App::new("audit").add(on("orders", note).group("audit"))
}

#[tokio::test(start_paused = true)]
async fn apps_are_merged_and_nested_with_their_parts_of_the_state() -> Result<(), Error> {
    let shop = shop();
    let more = App::new("more").add(on("orders", with_currency).group("more"));
    let app = App::new("shop")
        .add(on("orders", with_currency).group("first"))
        .merge(more)
        .nest(audit());
    let test = TestApp::start(app.with_state(shop.clone())).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    assert_eq!(shop.seen.sorted(), ["1 EUR", "1 EUR", "audit 1"]);
    assert_eq!(test.running().name(), "shop");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn middleware_runs_outside_in_and_stays_with_its_app() -> Result<(), Error> {
    fn around(seen: &Seen, name: &'static str) -> impl tidings::Middleware + use<> {
        let seen = seen.clone();
        move |delivery: Delivery, next: Next| {
            let seen = seen.clone();
            async move {
                seen.note(format!("{name} before {}", delivery.context().subscription));
                let result = next.run(delivery).await;
                seen.note(format!("{name} after"));
                result
            }
        }
    }
    let seen = Seen::default();
    let inner = audit().middleware(around(&seen, "inner"));
    let app = App::new("shop").middleware(around(&seen, "outer")).merge(inner);
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    assert_eq!(
        seen.all(),
        [
            "outer before audit",
            "inner before audit",
            "audit 1",
            "inner after",
            "outer after"
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_handler_reads_several_channels_and_filters_what_it_does_not_know() -> Result<(), Error> {
    async fn note(Json(order): Json<Placed>, State(seen): State<Seen>) {
        seen.note(order.order);
    }
    let seen = Seen::default();
    let app = App::new("shop").add(on(["orders", "reorders"], note).group("g").only::<Placed>());
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    test.publish("orders", &placed("1")).await?;
    test.publish("orders", &paid("2")).await?;
    test.publish("reorders", &placed("3")).await?;
    test.settled().await?;
    assert_eq!(seen.sorted(), ["1", "3"]);
    assert_eq!(test.running().subscription("g")?.status().filtered, 1);
    assert!(test.dead_letters("orders").await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_addressed_output_goes_to_its_channel() -> Result<(), Error> {
    async fn split(Json(order): Json<Placed>) -> Result<Outputs, Failure> {
        Ok(Outputs::none()
            .and(Output::event(&paid(&order.order))?.to("payments"))
            .and(Output::event(&order)?.to("copies").after(secs(90))))
    }
    let app: App = App::new("shop")
        .add(on("orders", split).group("g"))
        .publishes("payments")
        .publishes("copies");
    let test = TestApp::start(app.with_state(())).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    assert_eq!(test.events::<Paid>("payments").await?, [paid("1")]);
    assert_eq!(test.events::<Placed>("copies").await?, [placed("1")]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_batch_handler_takes_several_events_at_once() -> Result<(), Error> {
    async fn record(orders: Batch<Placed>, State(seen): State<Seen>) {
        seen.note(format!("{} orders", orders.len()));
    }
    let seen = Seen::default();
    let app = App::new("shop")
        .add(on("orders", record).group("analytics").batch(10, secs(1)))
        .channel("orders", |orders| orders.partitions(1));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    let orders: Vec<_> = (0..10).map(|order| placed(&order.to_string())).collect();
    test.running().publisher().publish_all("orders", &orders).await?;
    test.settled().await?;
    assert_eq!(seen.sorted(), ["10 orders"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_apps_on_one_named_memory_talk_to_each_other() -> Result<(), Error> {
    async fn charge(Json(order): Json<Placed>) -> Paid {
        paid(&order.order)
    }
    async fn ship(Json(paid): Json<Paid>, State(seen): State<Seen>) {
        seen.note(paid.order);
    }
    let config = || Config::from_toml("[binder.main]\nurl = \"memory:two-apps\"", "t.toml");
    let seen = Seen::default();
    let billing: App = App::new("billing").add(on("orders", charge).group("billing").to("payments"));
    let billing = TestApp::start_with(billing.with_state(()), config()?).await?;
    let shipping = App::new("shipping").add(on("payments", ship).group("shipping"));
    let shipping = TestApp::start_with(shipping.with_state(seen.clone()), config()?).await?;
    billing.publish("orders", &placed("1")).await?;
    billing.settled().await?;
    shipping.settled().await?;
    assert_eq!(seen.sorted(), ["1"]);
    Ok(())
}
