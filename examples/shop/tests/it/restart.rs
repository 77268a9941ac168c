//! A shop that is opened again knows what the one before it knew.

use crate::support::{DECLINED_CARD, GOOD_CARD, TestShop, database, order};
use shop::order::{Status, Stories};
use tidings::Config;

/// Two shops in a row on one broker.
fn broker(name: &str) -> Config {
    Config::from_toml(&format!("[binder.main]\nurl = \"memory:{name}\""), "test").unwrap()
}

#[tokio::test]
async fn stories_stock_and_revenue_are_rebuilt_from_the_events() {
    let config = broker("shop-restart");
    let database = database().await;
    let first = TestShop::open_with(config.clone(), database.clone()).await;
    let orders = [
        order(1, "ada", "clock", 5, GOOD_CARD),
        order(2, "grace", "clock", 4, DECLINED_CARD),
        order(3, "alan ☠", "tea", 1, GOOD_CARD),
        order(4, "edsger", "clock", 8, GOOD_CARD),
    ];
    for order in &orders {
        first.place(order).await;
        first.settled().await;
    }
    let ends = orders.each_ref().map(|order| first.status(order));
    assert_eq!(
        ends,
        [
            Status::Completed,
            Status::Declined,
            Status::DeadLettered,
            Status::Rejected
        ]
    );
    let (levels, revenue) = (
        first.shop.database.stock().await.unwrap(),
        first.shop.revenue.total(),
    );
    let told = stories(&first.shop.stories);
    // A second engine on the same broker: everything that the first one knew is only in the log.
    let second = TestShop::open_with(config, database).await;
    second.settled().await;
    assert!(second.shop.stories.is_complete());
    assert_eq!(second.shop.database.stock().await.unwrap(), levels);
    assert_eq!(second.shop.revenue.total(), revenue);
    assert_eq!(stories(&second.shop.stories), told);

    let late = order(5, "ada", "clock", 8, GOOD_CARD);
    second.place(&late).await;
    second.settled().await;
    first.settled().await;
    assert_eq!(
        second.status(&late),
        Status::Rejected,
        "what was sold before is not sold again"
    );
}

/// Every story as text, whatever the order in which they came.
fn stories(stories: &Stories) -> Vec<String> {
    let all = stories.newest(usize::MAX);
    let text = all.iter().map(|(id, story)| {
        let steps: Vec<_> = story
            .entries()
            .iter()
            .map(|entry| (entry.at, entry.step, &entry.detail))
            .collect();
        format!(
            "{id} {} {} {:?} {steps:?}",
            story.customer,
            story.total,
            story.status()
        )
    });
    let mut text: Vec<_> = text.collect();
    text.sort();
    text
}
