//! What records of a stretch return is published while the stretch goes on, and nobody can tell.

use crate::outputs::*;
use crate::world::*;
use std::time::Duration;
use tidings_core::*;
use tokio::time::sleep;

fn output(payload: bytes::Bytes) -> Output {
    Output::message(Message::new(payload))
}

#[tokio::test(start_paused = true)]
async fn what_was_returned_before_a_handler_that_waits_does_not_wait_for_it() {
    let (broker, far) = (broker_with(8, |_| None), Far::answering(ms(5), &[]));
    let handler = |Raw(payload): Raw| async move {
        if matches!(id_of(&payload), 3 | 5) {
            sleep(Duration::from_secs(10)).await;
        }
        Ok::<_, Failure>(output(payload))
    };
    let handle = handling(&broker, &far, in_turn(on("orders", handler)));
    sleep(ms(20)).await;
    assert_eq!((far.kept(), watermark(&broker)), (vec![0, 1, 2], 3));
    sleep(Duration::from_secs(10)).await;
    assert_eq!((far.kept(), watermark(&broker)), (vec![0, 1, 2, 3, 4], 5));
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), (0..8).collect::<Vec<_>>());
    assert_eq!(handle.status().handled, 8);
}

#[tokio::test(start_paused = true)]
async fn positions_without_outputs_are_closed_at_once_and_those_between_them_when_they_are_kept() {
    let (broker, far) = (broker_with(7, |_| None), Far::answering(ms(50), &[]));
    let handler = |Raw(payload): Raw| async move {
        Ok::<_, Failure>((id_of(&payload) % 3 == 1).then(|| output(payload)))
    };
    let handle = handling(&broker, &far, in_turn(on("orders", handler)));
    sleep(ms(20)).await;
    assert_eq!(far.count(), 2);
    assert_eq!(handle.status().handled, 5);
    let stored = broker.stored("orders", 0);
    assert_eq!((stored.watermark, stored.finished), (1, vec![2..4, 5..7]));
    finished(&broker, &handle).await;
    assert_eq!((watermark(&broker), handle.status().handled), (7, 7));
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_panic_behind_outputs_neither_holds_them_back_nor_takes_their_place() {
    let (broker, far) = (broker_with(10, |_| None), Far::answering(ms(5), &[]));
    let handler = |Raw(payload): Raw| async move {
        match id_of(&payload) {
            3 => Err(Failure::permanent("as the test says")),
            6 => panic!("as the test says"),
            _ => Ok(output(payload)),
        }
    };
    let subscription = in_turn(on("orders", handler)).retry(Retry::none());
    let handle = handling(&broker, &far, subscription);
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), [0, 1, 2, 4, 5, 7, 8, 9]);
    let dead = broker.messages("orders.DLT");
    let dead: Vec<_> = dead.iter().map(|dead| id_of(dead.payload().unwrap())).collect();
    assert_eq!(dead, [3, 6]);
    assert_eq!(handle.status().handled, 8);
}

#[tokio::test(start_paused = true)]
async fn a_stretch_that_is_cut_off_while_it_waits_leaves_nothing_behind_that_it_returned() {
    let (broker, far) = (broker_with(6, |_| None), Far::answering(ms(5), &[]));
    let handler = |Raw(payload): Raw| async move {
        if id_of(&payload) == 4 {
            sleep(Duration::from_secs(3600)).await;
        }
        Ok::<_, Failure>(output(payload))
    };
    let subscription = in_turn(on("orders", handler)).timeout(Duration::from_secs(60));
    let handle = handling(&broker, &far, subscription.retry(Retry::none()));
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), [0, 1, 2, 3, 5]);
    assert_eq!(broker.messages("orders.DLT").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_returned_and_what_a_handler_publishes_by_itself_come_in_the_order_of_the_messages() {
    let (broker, far) = (broker_with(100, |_| None), Far::answering(ms(5), &[]));
    let handler = |Raw(payload): Raw, publisher: Publisher| async move {
        if id_of(&payload).is_multiple_of(3) {
            // Not waited for: nothing but the order of the calls keeps it in its place.
            drop(publisher.send("outputs", Message::new(payload)));
            return Ok::<_, Failure>(None);
        }
        Ok(Some(output(payload)))
    };
    let handle = handling(&broker, &far, in_turn(on("orders", handler)));
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_stretch_ends_where_its_outputs_are_many_bytes() {
    let (broker, far) = (broker_with(200, |_| None), Far::answering(ms(50), &[]));
    let handler = |Raw(payload): Raw| async move {
        let large = Message::new(payload).with_header("filler", [b'x'; 10_000]);
        Ok::<_, Failure>(Output::message(large.unwrap()))
    };
    let subscription = in_turn(on("orders", handler)).max_in_flight_bytes(100_000);
    let handle = handling(&broker, &far, subscription);
    sleep(ms(10)).await;
    let first = far.count();
    assert!((10..=17).contains(&first), "{first}");
    finished(&broker, &handle).await;
    assert_eq!(far.kept(), (0..200).collect::<Vec<_>>());
}
