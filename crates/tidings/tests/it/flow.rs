//! Messages through a whole app: handled, tried again, dead-lettered, settled.

use crate::events::{Paid, Placed, Seen, paid, placed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Error, Selection};
use tokio::time::Instant;

async fn charge(Json(order): Json<Placed>) -> Paid {
    paid(&order.order)
}

async fn ship(Json(paid): Json<Paid>, State(seen): State<Seen>) {
    seen.note(paid.order);
}

#[tokio::test(start_paused = true)]
async fn a_cascade_settles_with_every_output_published_and_handled() -> Result<(), Error> {
    let seen = Seen::default();
    let app = App::new("shop")
        .add(on("orders", charge).group("billing").to("payments"))
        .add(on("payments", ship).group("shipping"));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    for order in 0..20 {
        test.publish("orders", &placed(&order.to_string())).await?;
    }
    test.settled().await?;
    let mut shipped = seen.all();
    shipped.sort_by_key(|order| order.parse::<u32>().unwrap());
    assert_eq!(
        shipped,
        (0..20).map(|order| order.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(test.events::<Paid>("payments").await?.len(), 20);
    let payment = test.published("payments").await?.remove(0);
    let correlation = payment
        .headers()
        .get_str(tidings::names::CORRELATION_ID)
        .unwrap()
        .to_owned();
    let causes: Vec<_> = test.published("orders").await?;
    assert!(
        causes
            .iter()
            .any(|cause| cause.headers().get_str(tidings::names::MESSAGE_ID) == Some(&correlation))
    );
    assert!(test.stop().await.finished_in_time);
    Ok(())
}

/// Without a paused clock: time is real and nothing else changes.
#[tokio::test]
async fn a_subscription_without_a_group_sees_what_is_published_right_after_the_start() -> Result<(), Error> {
    let seen = Seen::default();
    let app = App::new("shop").add(on("payments", ship));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    test.publish("payments", &paid("1")).await?;
    test.settled().await?;
    assert_eq!(seen.all(), ["1"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_tried_again_after_its_back_off() -> Result<(), Error> {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let flaky = move |Attempt(attempt): Attempt, _: Raw| {
        counted.fetch_add(1, SeqCst);
        async move {
            if attempt < 3 {
                Err(Failure::transient("the bank is closed"))
            } else {
                Ok(())
            }
        }
    };
    let retry = Retry::fixed(3, mins(10)).durable_after(hours(1));
    let app: App = App::new("shop").add(on("orders", flaky).group("billing").retry(retry));
    let test = TestApp::start(app.with_state(())).await?;
    let start = Instant::now();
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    assert_eq!(calls.load(SeqCst), 3);
    assert!(
        start.elapsed() >= mins(20) && start.elapsed() < mins(21),
        "{:?}",
        start.elapsed()
    );
    assert!(test.dead_letters("orders").await?.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_parked_and_settled_waits_for_it() -> Result<(), Error> {
    let seen = Seen::default();
    let patient = async |Attempt(attempt): Attempt, Json(order): Json<Placed>, State(seen): State<Seen>| {
        seen.note(format!("{} {attempt}", order.order));
        if attempt == 1 && order.order == "a" {
            Err(Failure::transient("not yet"))
        } else {
            Ok(())
        }
    };
    let app = App::new("shop").add(
        on("orders", patient)
            .group("billing")
            .retry(Retry::fixed(2, mins(5))),
    );
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    test.publish("orders", &placed("a")).await?;
    test.publish("orders", &placed("b")).await?;
    test.settled().await?;
    assert_eq!(seen.sorted(), ["a 1", "a 2", "b 1"]);
    assert_eq!(test.running().subscription("billing")?.status().parked, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_handled_is_a_dead_letter_with_its_diagnosis_and_can_be_redriven_once()
-> Result<(), Error> {
    #[derive(Clone, Default, FromRef)]
    struct Shop {
        seen: Seen,
        broken: Arc<AtomicU32>,
    }
    let handle =
        async |Json(order): Json<Placed>, State(seen): State<Seen>, State(broken): State<Arc<AtomicU32>>| {
            if broken.load(SeqCst) == 1 && order.order == "poison" {
                return Err(Failure::permanent("cannot read the label"));
            }
            seen.note(order.order);
            Ok(())
        };
    let other = async |Json(order): Json<Placed>, State(seen): State<Seen>| {
        seen.note(format!("other {}", order.order))
    };
    let shop = Shop::default();
    shop.broken.store(1, SeqCst);
    let app = App::new("shop")
        .add(on("orders", handle).group("shipping"))
        .add(on("orders", other).group("audit"));
    let test = TestApp::start(app.with_state(shop.clone())).await?;
    test.publish("orders", &placed("poison")).await?;
    test.publish("orders", &placed("good")).await?;
    test.settled().await?;

    let letters = test.dead_letters("orders").await?;
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    let diagnosis = &letter.diagnosis;
    assert_eq!(diagnosis.group.as_deref(), Some("shipping"));
    assert_eq!(diagnosis.reason.as_deref(), Some("permanent"));
    assert_eq!(diagnosis.attempts, Some(1));
    assert!(
        diagnosis
            .error
            .as_ref()
            .is_some_and(|error| error.contains("cannot read the label"))
    );
    assert_eq!(
        letter.message.payload().unwrap(),
        &br#"{"order":"poison","total":100}"#[..]
    );

    shop.broken.store(0, SeqCst);
    let none = test.redrive("shipping", Selection::key("good")).await?;
    assert_eq!((none.pending, none.selected, none.redriven), (1, 0, 0));
    let all = test.redrive("shipping", Selection::All).await?;
    assert_eq!((all.pending, all.selected, all.redriven), (1, 1, 1));
    let again = test.redrive("shipping", Selection::All).await?;
    assert_eq!((again.pending, again.redriven), (0, 0));
    test.settled().await?;
    assert!(test.dead_letters("orders").await?.is_empty());
    assert_eq!(
        shop.seen.sorted(),
        ["good", "other good", "other poison", "poison"],
        "only the failed group sees it again"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_fails_again_is_a_new_letter_that_counts_its_redrives() -> Result<(), Error> {
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("never")) };
    let app: App = App::new("shop").add(on("orders", never).group("shipping"));
    let test = TestApp::start(app.with_state(())).await?;
    for order in ["a", "b", "c"] {
        test.publish("orders", &placed(order)).await?;
    }
    test.settled().await?;
    let running = test.running();
    let report = running
        .redrive_with("shipping", Selection::All, 2, tidings::RedriveMode::DryRun)
        .await?;
    assert_eq!((report.selected, report.redriven), (2, 0));
    let report = running
        .redrive_with("shipping", Selection::All, 2, tidings::RedriveMode::Send)
        .await?;
    assert_eq!((report.selected, report.redriven), (2, 2));
    test.settled().await?;
    let letters = test.dead_letters("orders").await?;
    let mut redrives: Vec<_> = letters.iter().map(|letter| letter.diagnosis.redrives).collect();
    redrives.sort_unstable();
    assert_eq!(redrives, [0, 1, 1]);
    let origins = letters
        .iter()
        .filter_map(|letter| letter.diagnosis.position.as_ref());
    assert!(
        origins.clone().all(|origin| origin.destination() == "orders"),
        "{letters:?}"
    );
    let unknown = running.redrive("billing", Selection::All).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "this app has no group \"billing\"; it has shipping"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_redrive_leaves_the_letters_of_other_groups_where_they_are() -> Result<(), Error> {
    let seen = Seen::default();
    let fail = |group: &'static str| {
        move |State(seen): State<Seen>, _: Raw| {
            seen.note(group);
            async { Result::<(), _>::Err(Failure::permanent("no")) }
        }
    };
    let app = App::new("shop")
        .add(on("orders", fail("shipping")).group("shipping"))
        .add(on("orders", fail("billing")).group("billing"));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    let report = test.redrive("billing", Selection::All).await?;
    assert_eq!((report.pending, report.redriven), (1, 1));
    test.settled().await?;
    assert_eq!(seen.sorted(), ["billing", "billing", "shipping"]);
    let letters = test.dead_letters("orders").await?;
    let mut left: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.diagnosis.group.as_deref().unwrap_or_default(),
                letter.diagnosis.redrives,
            )
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [("billing", 1), ("shipping", 0)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letters_can_be_handled_and_paged() -> Result<(), Error> {
    let seen = Seen::default();
    let never = async |_: Raw| -> Result<(), Failure> { Err(Failure::permanent("no")) };
    let look = async |diagnosis: Diagnosis, State(seen): State<Seen>| seen.note(diagnosis.reason.unwrap());
    let app = App::new("shop")
        .add(on("orders", never).group("shipping"))
        .add(dead_letter("orders", look).group("watch"));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    for order in 0..5 {
        test.publish("orders", &placed(&order.to_string())).await?;
    }
    test.settled().await?;
    assert_eq!(seen.all(), ["permanent"; 5]);
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = test
            .running()
            .dead_letters_after("orders", after.as_ref(), 2)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.position.clone());
        listed.extend(page.into_iter().map(|letter| letter.position));
    }
    let all: Vec<_> = test
        .dead_letters("orders")
        .await?
        .into_iter()
        .map(|letter| letter.position)
        .collect();
    assert_eq!(listed, all);
    assert_eq!(all.len(), 5);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn settled_waits_for_delayed_messages_and_says_what_does_not_settle() -> Result<(), Error> {
    let seen = Seen::default();
    let app = App::new("shop").add(on("payments", ship).group("shipping"));
    let test = TestApp::start(app.with_state(seen.clone())).await?;
    let publisher = test.running().publisher().clone();
    publisher
        .to("payments")
        .delay(mins(30))
        .event(&paid("late"))
        .await?;
    let early = test.settled_within(mins(1)).await.unwrap_err().to_string();
    assert!(early.contains("a delayed message is due in"), "{early}");
    test.settled().await?;
    assert_eq!(seen.all(), ["late"]);

    let stuck = async |_: Raw| std::future::pending::<()>().await;
    let app: App = App::new("shop").add(on("orders", stuck).group("stuck"));
    let test = TestApp::start(app.with_state(())).await?;
    test.publish("orders", &placed("1")).await?;
    let error = test.settled_within(mins(2)).await.unwrap_err().to_string();
    assert!(
        error.contains("subscription stuck: ") && error.contains("is handled to 0 of 1"),
        "{error}"
    );
    Ok(())
}
