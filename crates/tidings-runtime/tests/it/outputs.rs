//! What handlers return is on its way while the next messages are handled: times, order and counts, in virtual time.

use crate::broker::Broker;
use crate::world::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_core::*;
use tidings_runtime::*;
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a broker says to one publish.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Kept,
    Away,
    TooLarge,
    Never,
    /// Kept, but it arrives only after that time.
    Late(Duration),
}

/// A broker that takes outputs and answers after a while, as the test says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Far {
    /// Numbers in the order of the calls, with whether they were kept.
    seen: Arc<Mutex<Vec<(u64, bool)>>>,
    /// The first answers for a number.
    answers: Arc<Mutex<HashMap<u64, Vec<Answer>>>>,
    takes: Duration,
}

impl Far {
    pub(crate) fn answering(takes: Duration, answers: &[(u64, &[Answer])]) -> Self {
        let far = Self {
            takes,
            ..Self::default()
        };
        let given = answers
            .iter()
            .map(|(id, answers)| (*id, answers.iter().rev().copied().collect()));
        far.answers.lock().unwrap().extend(given);
        far
    }

    /// Numbers in the order in which they were kept.
    pub(crate) fn kept(&self) -> Vec<u64> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, kept)| *kept).map(|(id, _)| *id).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Sink for Far {
    fn publish(&self, outgoing: Outgoing) -> Receipt {
        let id = id_of(outgoing.message.payload().unwrap());
        let answer = self.answers.lock().unwrap().get_mut(&id).and_then(Vec::pop);
        let answer = answer.unwrap_or(Answer::Kept);
        let mut at = Instant::now() + self.takes;
        if let Answer::Late(late) = answer {
            at += late;
            let seen = self.seen.clone();
            tokio::spawn(async move {
                sleep_until(at).await;
                seen.lock().unwrap().push((id, true));
            });
        } else {
            self.seen
                .lock()
                .unwrap()
                .push((id, matches!(answer, Answer::Kept)));
        }
        let destination = outgoing.destination.clone();
        Receipt::boxed(async move {
            sleep_until(at).await;
            let reason = "as the test says".to_owned();
            match answer {
                Answer::Kept | Answer::Late(_) => Ok(Position::new(destination, 0, id)),
                Answer::Away => Err(PublishError::Unavailable { destination, reason }),
                Answer::TooLarge => Err(PublishError::TooLarge {
                    destination,
                    size: 2,
                    limit: 1,
                }),
                Answer::Never => std::future::pending().await,
            }
        })
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), PublishError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Runs a handler that returns its message, whose outputs go there.
fn copying(
    broker: &Broker,
    far: &Far,
    change: impl FnOnce(Subscription<()>) -> Subscription<()>,
) -> SubscriptionHandle {
    let handler = |Raw(payload): Raw, key: Option<Key>| async move {
        let key = key.map(|Key(key)| key);
        Ok::<_, Failure>(Output::message(Message::new(payload).with_optional_key(key)))
    };
    handling(broker, far, change(on("orders", handler)))
}

/// Runs a handler whose outputs go there.
pub(crate) fn handling(broker: &Broker, far: &Far, subscription: Subscription<()>) -> SubscriptionHandle {
    let mut spec = spec(broker, subscription.to("outputs"), 1);
    let mut routes = Routes::default();
    let (sink, destination) = (Arc::new(far.clone()), "outputs".into());
    routes.insert("outputs", Route { sink, destination });
    let clock = spec.context.clock;
    spec.context = Arc::new(HandlerContext {
        app: "test".into(),
        subscription: "s".into(),
        group: Some("g".into()),
        publisher: Publisher::new(Arc::new(routes), clock),
        clock,
    });
    start(spec)
}

pub(crate) fn broker_with(count: u64, key: impl Fn(u64) -> Option<&'static str>) -> Broker {
    let broker = Broker::new(1);
    for id in 0..count {
        broker.put("orders", 0, message(id, key(id)));
    }
    broker
}

pub(crate) fn in_turn(subscription: Subscription<()>) -> Subscription<()> {
    subscription.ordering(Ordering::Partition)
}

pub(crate) fn watermark(broker: &Broker) -> u64 {
    broker.stored("orders", 0).watermark
}

#[tokio::test(start_paused = true)]
async fn the_next_message_is_handled_while_the_output_of_the_one_before_is_on_its_way() {
    for subscribe in [in_turn, |subscription: Subscription<()>| subscription] {
        let (broker, far) = (broker_with(500, |_| Some("tea")), Far::answering(ms(20), &[]));
        let began = Instant::now();
        let handle = copying(&broker, &far, subscribe);
        sleep(ms(10)).await;
        assert_eq!(far.count(), 500, "nobody waited for an answer");
        assert_eq!(
            watermark(&broker),
            0,
            "no position is closed before its output is kept"
        );
        finished(&broker, &handle).await;
        assert!(began.elapsed() < ms(600), "{:?}", began.elapsed());
        assert_eq!(far.kept(), (0..500).collect::<Vec<_>>());
        assert_eq!(handle.status().handled, 500);
    }
}

/// After a crash what is parked is handled first, and what an earlier message returned must not be missing then.
#[tokio::test(start_paused = true)]
async fn a_message_is_parked_only_when_what_earlier_ones_returned_is_kept() {
    let (broker, far) = (broker_with(2, |_| Some("tea")), Far::answering(ms(500), &[]));
    let handler = |Raw(payload): Raw, Attempt(attempt): Attempt| async move {
        match (id_of(&payload), attempt) {
            (1, 1) => Err(Failure::transient("later")),
            _ => Ok(Output::message(Message::new(payload))),
        }
    };
    let wait = Retry::fixed(3, Duration::from_secs(5)).durable_after(Duration::from_secs(1));
    let handle = handling(&broker, &far, on("orders", handler).retry(wait));
    let parked = || broker.messages("orders.g.retry").len();
    sleep(ms(400)).await;
    assert_eq!((far.count(), parked()), (1, 0), "the first is on its way");
    sleep(ms(300)).await;
    assert_eq!(parked(), 1, "and kept");
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_refused_for_now_takes_those_behind_it_along_and_all_come_in_order() {
    let far = Far::answering(ms(5), &[(3, &[Answer::Away, Answer::Away]), (7, &[Answer::Away])]);
    let broker = broker_with(10, |_| Some("tea"));
    let handle = copying(&broker, &far, in_turn);
    sleep(ms(7)).await;
    assert_eq!(watermark(&broker), 3, "as far as the broker has kept everything");
    let obstacle = handle.status().obstacle.unwrap();
    assert!(obstacle.contains("what the handler returned"), "{obstacle}");
    broker.put("orders", 0, message(10, Some("tea")));
    finished(&broker, &handle).await;
    let kept = far.kept();
    let last_of = |id: u64| kept.iter().rposition(|kept| *kept == id).unwrap();
    let lasts: Vec<_> = (0..=10).map(last_of).collect();
    assert!(lasts.is_sorted(), "{kept:?}");
    // 0 to 2 once; 4 to 6, 8 and 9 behind the first 3; then 3 and all behind it, of which 8 to 10 once more behind 7.
    assert_eq!(
        kept,
        [0, 1, 2, 4, 5, 6, 8, 9, 3, 4, 5, 6, 7, 8, 9, 10],
        "nothing is published while one is tried again"
    );
    assert_eq!(handle.status().obstacle, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_still_on_its_way_arrives_before_it_is_published_again() {
    let far = Far::answering(
        ms(5),
        &[(3, &[Answer::Away]), (5, &[Answer::Late(Duration::from_secs(2))])],
    );
    let broker = broker_with(10, |_| Some("tea"));
    let handle = copying(&broker, &far, in_turn);
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), [0, 1, 2, 4, 6, 7, 8, 9, 5, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_refused_for_good_makes_its_own_message_a_dead_letter_and_no_other() {
    let far = Far::answering(
        ms(5),
        &[(3, &[Answer::TooLarge]), (4, &[Answer::Away, Answer::TooLarge])],
    );
    let broker = broker_with(10, |_| Some("tea"));
    let handle = copying(&broker, &far, in_turn);
    finished(&broker, &handle).await;
    let dead: Vec<_> = broker
        .messages("orders.DLT")
        .iter()
        .map(|dead| id_of(dead.payload().unwrap()))
        .collect();
    assert_eq!(dead, [3, 4]);
    let mut kept = far.kept();
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, [0, 1, 2, 5, 6, 7, 8, 9]);
    assert_eq!(handle.status().handled, 8);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_waited_for_as_long_as_publish_timeout_says() {
    let (broker, far) = (
        broker_with(3, |_| None),
        Far::answering(ms(5), &[(1, &[Answer::Never])]),
    );
    let began = Instant::now();
    let handle = copying(&broker, &far, in_turn);
    sleep(Duration::from_secs(29)).await;
    assert_eq!((watermark(&broker), handle.status().obstacle), (1, None));
    finished(&broker, &handle).await;
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(30) && took < Duration::from_secs(31),
        "{took:?}"
    );
    assert_eq!(far.kept(), [0, 2, 1, 2]);
}

/// A request names any place for its reply, also one that does not answer.
#[tokio::test(start_paused = true)]
async fn a_reply_without_an_answer_keeps_its_place_for_a_second_and_is_counted_when_it_ends() {
    for (answers_after, sent, not_taken) in [(20, 1, 0), (40, 0, 1)] {
        let (broker, far) = (Broker::new(1), Far::answering(ms(5), &[]));
        broker.ack_after("slow.replies", Duration::from_secs(answers_after));
        for id in 0..3 {
            let request = message(id, None).with_header(names::REPLY_TO, "slow.replies");
            broker.put(
                "orders",
                0,
                if id == 1 {
                    request.unwrap()
                } else {
                    message(id, None)
                },
            );
        }
        let handler = |Raw(payload): Raw| async move {
            let copy = Output::message(Message::new(payload.clone()));
            let reply = Output::message(Message::new(payload)).as_reply();
            Ok::<_, Failure>(vec![reply, copy])
        };
        let began = Instant::now();
        let handle = handling(&broker, &far, in_turn(on("orders", handler)));
        sleep(ms(900)).await;
        assert_eq!(watermark(&broker), 1, "what is behind it waits");
        finished(&broker, &handle).await;
        let took = began.elapsed();
        assert!(took > ms(999) && took < ms(1_500), "{took:?}");
        assert_eq!(far.kept(), [0, 1, 2], "each once");
        let counted = || (handle.status().replies.sent, handle.status().replies.not_taken);
        assert_eq!(counted(), (0, 0), "nobody knows yet");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(counted(), (sent, not_taken));
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_on_their_way_are_bounded_in_bytes_and_all_arrive() {
    let (broker, far) = (broker_with(100, |_| None), Far::answering(ms(20), &[]));
    let handle = copying(&broker, &far, |subscription| {
        in_turn(subscription).max_in_flight_bytes(1_000)
    });
    sleep(ms(10)).await;
    let first = far.count();
    assert!((1..20).contains(&first), "{first}");
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_handed_over_waits_for_its_outputs_until_the_deadline() {
    for (within, told) in [(ms(100), 10), (ms(30), 0)] {
        let (broker, far) = (broker_with(10, |_| None), Far::answering(ms(50), &[]));
        let handle = copying(&broker, &far, in_turn);
        sleep(ms(10)).await;
        assert_eq!(far.count(), 10);
        broker.revoke(&[0, 1], within);
        sleep(ms(55)).await;
        assert_eq!(watermark(&broker), told, "given {within:?}");
        finished(&broker, &handle).await;
        assert_eq!(far.count(), 20 - told as usize, "what was cut is handled again");
        let report = handle.drain(Instant::now() + ms(100)).await;
        assert_eq!(report.abandoned, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_has_no_time_left_says_of_how_many_messages_the_outputs_were_given_up() {
    let (broker, far) = (
        broker_with(10, |_| None),
        Far::answering(Duration::from_secs(5), &[]),
    );
    let handle = copying(&broker, &far, in_turn);
    sleep(ms(10)).await;
    let report = handle.drain(Instant::now() + ms(100)).await;
    assert_eq!(report.abandoned, 10);
    assert_eq!(watermark(&broker), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_overdue_is_named_with_its_message() {
    let far = Far::answering(Duration::from_secs(25), &[]);
    let broker = broker_with(3, |_| None);
    let stuck_after = |subscription| in_turn(subscription).stuck_after(Duration::from_secs(8));
    let handle = copying(&broker, &far, stuck_after);
    sleep(Duration::from_secs(15)).await;
    let obstacle = handle.status().obstacle.unwrap();
    assert!(obstacle.contains("orders/0@0"), "{obstacle}");
    finished(&broker, &handle).await;
    assert_eq!(handle.status().obstacle, None);
}
