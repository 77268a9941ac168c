//! Stories told in every order of their events.

use super::*;
use crate::billing::InvoiceIssued;
use crate::domain::{CardToken, Cents, Item, Order, Sku};
use crate::inventory::StockReserved;
use crate::order::OrderPlaced;
use crate::payment::PaymentTaken;
use crate::shipping::ShipmentCreated;
use tidings::Diagnosis;

fn order() -> Order {
    let card = CardToken::for_number("4242424242424242").unwrap();
    let sku = Sku::try_from("tea".to_owned()).unwrap();
    Order::new(
        OrderId::random(),
        "ada".to_owned(),
        vec![Item { sku, quantity: 2 }],
        card,
    )
}

fn events(order: &Order) -> Vec<(ShopEvent, Timestamp)> {
    let (order, id) = (order.clone(), order.id);
    let paid = PaymentTaken {
        order: order.clone(),
        amount: order.total,
        receipt: "R".to_owned(),
    };
    let shipped = ShipmentCreated {
        order_id: id,
        customer: "ada".to_owned(),
        parcel: "P".to_owned(),
    };
    let invoiced = InvoiceIssued {
        order_id: id,
        invoice: "I".to_owned(),
        gross: order.total,
        tax: Cents(1),
    };
    let events = [
        ShopEvent::Placed(OrderPlaced { order: order.clone() }),
        ShopEvent::Reserved(StockReserved { order }),
        ShopEvent::Paid(paid),
        ShopEvent::Shipped(shipped),
        ShopEvent::Invoiced(invoiced),
    ];
    events
        .into_iter()
        .zip((10..).map(Timestamp::from_millis))
        .collect()
}

fn letter(service: Service, at: i64) -> Letter {
    Letter::new(Some(service), Timestamp::from_millis(at), &Diagnosis::default())
}

#[test]
fn a_story_is_the_same_whatever_event_comes_first() {
    let order = order();
    let mut events = events(&order);
    for turn in 0..events.len() {
        events.rotate_left(turn);
        let stories = Stories::default();
        for (event, at) in events.iter().chain(&events) {
            stories.apply(event, *at);
        }
        let story = stories.get(order.id).unwrap();
        let told: Vec<_> = story.entries().iter().map(|entry| entry.step).collect();
        assert_eq!(
            told,
            [
                Step::Placed,
                Step::Reserved,
                Step::Paid,
                Step::Shipped,
                Step::Invoiced
            ]
        );
        assert_eq!(
            (story.status(), &*story.customer, story.total),
            (Status::Completed, "ada", Cents(2_500))
        );
        let overview = stories.overview();
        assert_eq!(
            (
                overview.with_status(Status::Completed),
                overview.with_status(Status::Placed)
            ),
            (1, 0)
        );
        assert_eq!(
            (
                overview.handled(Service::Payment),
                overview.waiting(Service::Payment)
            ),
            (1, 0)
        );
    }
}

#[test]
fn the_status_is_what_the_events_so_far_say() {
    let (order, stories) = (order(), Stories::default());
    let expected = [
        Status::Placed,
        Status::Reserved,
        Status::Paid,
        Status::Shipped,
        Status::Completed,
    ];
    for ((event, at), expected) in events(&order).iter().zip(expected) {
        stories.apply(event, *at);
        assert_eq!(stories.get(order.id).unwrap().status(), expected);
    }
}

#[test]
fn a_dead_letter_ends_an_order_until_its_service_speaks_again() {
    let (order, stories) = (order(), Stories::default());
    let events = events(&order);
    let (shipped, others) = (&events[3], [&events[0], &events[1], &events[2], &events[4]]);
    for (event, at) in others {
        stories.apply(event, *at);
    }
    stories.add_letter(
        Some(Service::Shipping),
        Some(order.id),
        letter(Service::Shipping, 20),
    );
    assert_eq!(stories.get(order.id).unwrap().status(), Status::DeadLettered);
    assert_eq!(stories.overview().dead_letters(Service::Shipping), 1);
    assert_eq!(stories.overview().waiting(Service::Shipping), 0);
    stories.add_letter(
        Some(Service::Shipping),
        Some(order.id),
        letter(Service::Shipping, 30),
    );
    assert_eq!(
        stories.open_letters(10).len(),
        1,
        "a second failure takes the place of the first"
    );

    stories.apply(&shipped.0, Timestamp::from_millis(40));
    assert_eq!(stories.get(order.id).unwrap().status(), Status::Completed);
    assert!(stories.open_letters(10).is_empty());
    assert_eq!(stories.overview().dead_letters(Service::Shipping), 0);
}

#[test]
fn a_letter_about_a_message_that_was_handled_before_holds_nothing_up() {
    let (order, stories) = (order(), Stories::default());
    for (event, at) in events(&order) {
        stories.apply(&event, at);
    }
    stories.add_letter(
        Some(Service::Payment),
        Some(order.id),
        letter(Service::Payment, 20),
    );
    assert_eq!(stories.get(order.id).unwrap().status(), Status::Completed);
    assert!(stories.open_letters(10).is_empty());
}

#[test]
fn a_letter_without_an_order_is_kept_apart() {
    let stories = Stories::default();
    stories.add_letter(None, None, letter(Service::Order, 1));
    assert_eq!((stories.strays().len(), stories.newest(10).len()), (1, 0));
}

#[test]
fn old_stories_make_room_for_new_ones() {
    let stories = Stories::with_limit(3);
    let orders: Vec<_> = (0..5).map(|_| order()).collect();
    for order in &orders {
        stories.apply(&events(order)[0].0, Timestamp::from_millis(1));
    }
    assert!(stories.get(orders[1].id).is_none());
    let newest: Vec<_> = stories.newest(10).into_iter().map(|(id, _)| id).collect();
    assert_eq!(newest, [orders[4].id, orders[3].id, orders[2].id]);
    assert_eq!(stories.overview().reached(Step::Placed), 5);
}
