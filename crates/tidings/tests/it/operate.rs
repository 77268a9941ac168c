//! A running service: controls, health, drain, durable start.

use crate::events::{Placed, placed};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tidings::prelude::*;
use tidings::test::TestApp;
use tidings::{Error, Phase};

#[derive(Clone, Default)]
struct Calls(Arc<AtomicU32>);

async fn count(Json(_order): Json<Placed>, State(calls): State<Calls>) {
    calls.0.fetch_add(1, SeqCst);
}

fn app() -> App<Calls> {
    App::new("shop").add(on("orders", count).group("counter"))
}

#[tokio::test(start_paused = true)]
async fn a_paused_subscription_handles_nothing_until_it_is_resumed() -> Result<(), Error> {
    let calls = Calls::default();
    let config = Config::from_toml("[subscription.counter]\npaused = true", "t.toml")?;
    let test = TestApp::start_with(app().with_state(calls.clone()), config).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    test.pass(mins(1)).await;
    assert_eq!(calls.0.load(SeqCst), 0);
    let counter = test.running().subscription("counter")?;
    assert_eq!(counter.status().phase, Phase::Paused);
    assert!(test.running().health().ready, "paused by hand is ready");
    counter.resume();
    test.pass(secs(1)).await;
    test.settled().await?;
    assert_eq!(calls.0.load(SeqCst), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn health_and_status_name_every_part_and_a_drained_service_is_not_ready() -> Result<(), Error> {
    let test = TestApp::start(app().with_state(Calls::default())).await?;
    test.publish("orders", &placed("1")).await?;
    test.settled().await?;
    let health = test.running().health();
    assert!(health.live && health.ready, "{health}");
    let parts: Vec<_> = health
        .parts
        .iter()
        .map(|part| format!("{} {}", part.kind, part.name))
        .collect();
    assert_eq!(parts, ["binder main", "subscription counter"]);
    assert_eq!(test.running().status().subscriptions["counter"].handled, 1);
    let unknown = test.running().subscription("billing").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "this app has no subscription \"billing\"; it has counter"
    );

    let running = test.running().clone();
    let drained = test.stop().await;
    assert!(
        drained.finished_in_time && drained.problems.is_empty(),
        "{drained:?}"
    );
    assert_eq!(running.drain().await, drained, "a second drain is the same one");
    let health = running.health();
    assert!(health.live && !health.ready, "{health}");
    assert!(running.publisher().publish("orders", &placed("2")).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_runs_and_gives_up_at_its_deadline() -> Result<(), Error> {
    async fn slow(State(calls): State<Calls>, _: Raw) {
        tokio::time::sleep(secs(20)).await;
        calls.0.fetch_add(1, SeqCst);
    }
    for (timeout, finished) in [("30s", true), ("5s", false)] {
        let calls = Calls::default();
        let app = App::new("shop").add(on("orders", slow).group("slow"));
        let config = Config::from_toml(&format!("[app]\ndrain_timeout = \"{timeout}\""), "t.toml")?;
        let test = TestApp::start_with(app.with_state(calls.clone()), config).await?;
        test.publish("orders", &placed("1")).await?;
        test.pass(secs(1)).await;
        let drained = test.stop().await;
        assert_eq!(drained.finished_in_time, finished, "{drained:?}");
        assert_eq!(drained.abandoned, usize::from(!finished));
        assert_eq!(drained.is_clean(), finished);
        let given_up: &[&str] = if finished {
            &[]
        } else {
            &["subscription slow gave up 1 message"]
        };
        assert_eq!(drained.given_up, given_up);
        assert_eq!(calls.0.load(SeqCst), u32::from(finished));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_in_health_and_restarts_nothing() -> Result<(), Error> {
    async fn hangs(_: Raw) {
        std::future::pending::<()>().await;
    }
    for (configured, after) in [("[subscription.slow]\nstuck_after = \"10s\"", 10), ("", 300)] {
        let app = App::new("shop").add(on("orders", hangs).group("slow"));
        let config = Config::from_toml(configured, "t.toml")?;
        let test = TestApp::start_with(app.with_state(()), config).await?;
        test.publish("orders", &placed("1")).await?;
        test.pass(secs(after - 1)).await;
        assert!(
            test.running()
                .health()
                .to_string()
                .contains("subscription slow: up")
        );
        test.pass(secs(after)).await;
        let health = test.running().health();
        assert!(health.live && health.ready, "{health}");
        let said = health.to_string();
        for word in [
            "subscription slow: degraded",
            "orders/",
            "@0 is not finished after",
            "stuck_after",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_service_on_disk_goes_on_where_it_was_stopped() -> Result<(), Error> {
    let directory = tempfile::tempdir().unwrap();
    let toml = format!("[binder.main]\nurl = \"embedded:{}\"", directory.path().display());
    let calls = Calls::default();
    for round in 1..=2 {
        let running = app()
            .with_state(calls.clone())
            .start(Config::from_toml(&toml, "t.toml")?)
            .await?;
        running
            .publisher()
            .publish("orders", &placed(&round.to_string()))
            .await?;
        while calls.0.load(SeqCst) < round {
            tokio::task::yield_now().await;
        }
        let drained = running.drain().await;
        assert!(
            drained.finished_in_time && drained.problems.is_empty(),
            "{drained:?}"
        );
    }
    assert_eq!(
        calls.0.load(SeqCst),
        2,
        "what was handled before the stop is not handled again"
    );
    Ok(())
}

#[tokio::test]
async fn a_destination_with_another_number_of_partitions_is_refused_and_the_directory_is_free_again() {
    let directory = tempfile::tempdir().unwrap();
    let start = |partitions: u32| {
        let url = format!(
            "[binder.main]\nurl = \"embedded:{}\"\n",
            directory.path().display()
        );
        let toml = format!("{url}[channel.orders]\npartitions = {partitions}");
        let config = Config::from_toml(&toml, "t.toml").unwrap();
        app().with_state(Calls::default()).start(config)
    };
    start(3).await.unwrap().drain().await;
    let error = start(5).await.unwrap_err();
    let [mistake] = error.wiring_mistakes() else {
        panic!("{error}")
    };
    assert_eq!(mistake.place(), "t.toml:4");
    assert!(mistake.cure().contains("partitions = 3"), "{mistake}");
    start(3).await.unwrap().drain().await;
}
