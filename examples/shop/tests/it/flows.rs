//! How orders end.

use crate::support::{DECLINED_CARD, GOOD_CARD, TestShop, order};
use shop::billing::InvoiceIssued;
use shop::channel::{INVOICES, MAILS, ORDERS, PAYMENTS, SHIPMENTS, STOCK};
use shop::domain::{Cents, OrderId};
use shop::inventory::{OrderRejected, StockReleased, StockReserved};
use shop::notification::MailSent;
use shop::order::{Status, Step, StoryView};
use shop::payment::{PaymentDeclined, PaymentTaken};
use shop::service::Service;
use shop::shipping::ShipmentCreated;
use tidings::{Message, Selection};

#[tokio::test]
async fn a_good_order_is_paid_shipped_invoiced_and_told_of() {
    let shop = TestShop::open().await;
    let order = order(1, "ada", "tea", 2, GOOD_CARD);
    shop.place(&order).await;
    shop.settled().await;

    let story = shop.story(&order);
    assert_eq!(story.status(), Status::Completed);
    let steps: Vec<_> = story.entries().iter().map(|entry| entry.step).collect();
    assert_eq!(&steps[..3], [Step::Placed, Step::Reserved, Step::Paid]);
    for step in [Step::Shipped, Step::Invoiced, Step::Mailed] {
        assert!(story.has(step), "{step:?}");
    }
    let invoices = shop.app.events::<InvoiceIssued>(INVOICES).await.unwrap();
    assert_eq!(
        invoices
            .iter()
            .map(|one| (one.gross, one.tax))
            .collect::<Vec<_>>(),
        [(Cents(2_500), Cents(417))]
    );
    assert_eq!(shop.shop.revenue.total(), (1, Cents(2_500)));
    assert_eq!(shop.shop.outbox.newest().len(), 1);
    assert_eq!(shop.for_sale("tea").await, 59_998);
}

#[tokio::test]
async fn a_declined_card_is_an_outcome_and_gives_the_stock_back() {
    let shop = TestShop::open().await;
    let order = order(1, "ada", "clock", 3, DECLINED_CARD);
    shop.place(&order).await;
    shop.settled().await;

    assert_eq!(shop.status(&order), Status::Declined);
    assert!(shop.story(&order).has(Step::Released));
    assert_eq!(shop.for_sale("clock").await, 12);
    assert!(shop.app.dead_letters(STOCK).await.unwrap().is_empty());
    assert_eq!(shop.shop.revenue.total().0, 0);
}

#[tokio::test]
async fn an_order_for_more_than_there_is_is_rejected_and_takes_nothing() {
    let shop = TestShop::open().await;
    let orders = [
        order(1, "ada", "clock", 10, GOOD_CARD),
        order(2, "ada", "clock", 3, GOOD_CARD),
    ];
    for order in &orders {
        shop.place(order).await;
        shop.settled().await;
    }
    assert_eq!(
        orders.each_ref().map(|order| shop.status(order)),
        [Status::Completed, Status::Rejected]
    );
    assert_eq!(shop.for_sale("clock").await, 2);
    let mails: Vec<_> = shop
        .shop
        .outbox
        .newest()
        .into_iter()
        .map(|(mail, _)| mail.text)
        .collect();
    assert!(
        mails.iter().any(|text| text.contains("3 × clock wanted, 2 left")),
        "{mails:?}"
    );
}

#[tokio::test]
async fn a_poison_order_is_kept_with_its_diagnosis_and_harms_no_other() {
    let shop = TestShop::open().await;
    let poison = order(1, "Grace ☠", "tea", 1, GOOD_CARD);
    let others: Vec<_> = (2..30)
        .map(|number| order(number, "ada", "tea", 1, GOOD_CARD))
        .collect();
    shop.place(&poison).await;
    for order in &others {
        shop.place(order).await;
    }
    shop.settled().await;

    assert!(others.iter().all(|order| shop.status(order) == Status::Completed));
    assert_eq!(shop.status(&poison), Status::DeadLettered);
    assert!(
        shop.story(&poison).has(Step::Invoiced),
        "the other services go on"
    );
    let letters = shop.app.dead_letters(PAYMENTS).await.unwrap();
    let [letter] = &letters[..] else {
        panic!("{} dead letters", letters.len())
    };
    assert_eq!(letter.diagnosis.group.as_deref(), Some("shipping"));
    assert_eq!(
        (letter.diagnosis.reason.as_deref(), letter.diagnosis.attempts),
        (Some("permanent"), Some(1))
    );
    let told = serde_json::to_value(StoryView::new(poison.id, &shop.story(&poison))).unwrap();
    assert_eq!(
        told["reason"],
        "dead-lettered at shipping: the label printer has no glyph for '☠' (U+2620)"
    );
}

#[tokio::test]
async fn a_redriven_poison_order_comes_back_and_says_how_often() {
    let shop = TestShop::open().await;
    let poison = order(1, "Grace ☠", "tea", 1, GOOD_CARD);
    shop.place(&poison).await;
    shop.settled().await;
    let sent = shop
        .app
        .redrive("shipping", Selection::key(poison.id.to_string()))
        .await
        .unwrap();
    assert_eq!(sent.redriven, 1);
    shop.settled().await;

    assert_eq!(shop.status(&poison), Status::DeadLettered);
    let letters: Vec<_> = shop
        .story(&poison)
        .open_letters()
        .map(|letter| letter.redrives)
        .collect();
    assert_eq!(letters, [1]);
    assert_eq!(
        shop.app.events::<PaymentTaken>(PAYMENTS).await.unwrap().len(),
        1,
        "nobody paid twice"
    );
}

#[tokio::test]
async fn orders_that_met_a_bank_that_was_away_end_well_once_they_are_sent_back() {
    let shop = TestShop::open().await;
    shop.shop.bank.go_away();
    let orders: Vec<_> = (0..20)
        .map(|number| order(number, "ada", "tea", 1, GOOD_CARD))
        .collect();
    for order in &orders {
        shop.place(order).await;
    }
    shop.settled().await;
    assert!(
        orders
            .iter()
            .all(|order| shop.status(order) == Status::DeadLettered)
    );
    assert_eq!(shop.shop.stories.overview().dead_letters(Service::Payment), 20);
    let letters = shop.app.dead_letters(STOCK).await.unwrap();
    assert!(letters.iter().all(|letter| letter.diagnosis.attempts == Some(4)));

    shop.shop.bank.come_back();
    assert_eq!(
        shop.app
            .redrive("payment", Selection::All)
            .await
            .unwrap()
            .redriven,
        20
    );
    shop.settled().await;
    assert!(orders.iter().all(|order| shop.status(order) == Status::Completed));
    assert_eq!(shop.shop.stories.overview().dead_letters(Service::Payment), 0);
    assert_eq!(shop.for_sale("tea").await, 59_980, "the stock was reserved once");
    assert_eq!(
        shop.app
            .redrive("payment", Selection::All)
            .await
            .unwrap()
            .redriven,
        0,
        "no letter is sent back twice"
    );
}

#[tokio::test]
async fn a_flaky_bank_costs_time_and_no_order() {
    let shop = TestShop::open().await;
    let orders: Vec<_> = (0..200)
        .map(|number| order(number, "ada", "tea", 1, GOOD_CARD))
        .collect();
    for order in &orders {
        shop.place(order).await;
    }
    shop.settled().await;
    assert!(orders.iter().all(|order| shop.status(order) == Status::Completed));
    assert_eq!(
        shop.app.events::<PaymentTaken>(PAYMENTS).await.unwrap().len(),
        200
    );
    let status = shop.app.running().status();
    assert!(
        status.subscriptions["payment"].retried > 0,
        "this seed makes the bank flaky for some of them"
    );
}

#[tokio::test]
async fn an_order_that_is_delivered_three_times_has_one_outcome() {
    let shop = TestShop::open().await;
    let good = order(1, "ada", "clock", 2, GOOD_CARD);
    let declined = order(2, "grace", "clock", 3, DECLINED_CARD);
    let rejected = order(3, "alan", "clock", 50, GOOD_CARD);
    for _ in 0..3 {
        for order in [&good, &declined, &rejected] {
            shop.tell(order).await;
        }
        shop.settled().await;
    }
    let ends = [&good, &declined, &rejected].map(|order| shop.status(order));
    assert_eq!(ends, [Status::Completed, Status::Declined, Status::Rejected]);
    assert_eq!(shop.for_sale("clock").await, 10);
    assert_eq!(shop.shop.revenue.total(), (1, good.total));
    assert_eq!(shop.shop.outbox.newest().len(), 3, "each customer is told once");

    // What is said more than once says the same each time.
    let app = &shop.app;
    same(app.events::<StockReserved>(STOCK).await.unwrap(), |event| {
        event.order.id
    });
    same(app.events::<OrderRejected>(STOCK).await.unwrap(), |event| {
        event.order.id
    });
    same(app.events::<StockReleased>(STOCK).await.unwrap(), |event| {
        event.order.id
    });
    same(app.events::<PaymentTaken>(PAYMENTS).await.unwrap(), |event| {
        event.order.id
    });
    same(app.events::<PaymentDeclined>(PAYMENTS).await.unwrap(), |event| {
        event.order.id
    });
    same(app.events::<ShipmentCreated>(SHIPMENTS).await.unwrap(), |event| {
        event.order_id
    });
    same(app.events::<InvoiceIssued>(INVOICES).await.unwrap(), |event| {
        event.order_id
    });
    same(app.events::<MailSent>(MAILS).await.unwrap(), |event| {
        event.order_id
    });
}

fn same<E: PartialEq + std::fmt::Debug>(events: Vec<E>, order: impl Fn(&E) -> OrderId) {
    assert!(!events.is_empty());
    for event in &events {
        let first = events.iter().find(|other| order(other) == order(event));
        assert_eq!(Some(event), first);
    }
}

#[tokio::test]
async fn garbage_on_a_channel_becomes_a_dead_letter_and_stops_nobody() {
    let shop = TestShop::open().await;
    let order = order(1, "ada", "tea", 1, GOOD_CARD);
    let garbage = Message::new("{")
        .with_key(order.id.to_string())
        .with_header("type", "order.placed")
        .unwrap();
    shop.app.send(ORDERS, garbage).await.unwrap();
    shop.place(&order).await;
    shop.settled().await;
    assert!(shop.story(&order).has(Step::Shipped));
    let letters = shop.app.dead_letters(ORDERS).await.unwrap();
    assert!(
        letters
            .iter()
            .any(|letter| letter.diagnosis.group.as_deref() == Some("inventory"))
    );
    assert!(
        letters
            .iter()
            .all(|letter| letter.diagnosis.reason.as_deref() == Some("undecodable"))
    );
}

#[tokio::test]
async fn low_stock_is_delivered_and_sold_again() {
    let shop = TestShop::open().await;
    for number in 0..25 {
        shop.place(&order(number, "ada", "teapot", 1_000, GOOD_CARD))
            .await;
    }
    shop.settled().await;
    shop.app.pass(tidings::secs(3)).await;
    shop.settled().await;
    assert!(
        shop.for_sale("teapot").await > 10_000,
        "{} are left",
        shop.for_sale("teapot").await
    );
    let late = order(99, "ada", "teapot", 1_000, GOOD_CARD);
    shop.place(&late).await;
    shop.settled().await;
    assert_eq!(shop.status(&late), Status::Completed);
}
