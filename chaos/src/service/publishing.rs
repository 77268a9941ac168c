//! The publishers of a process under attack.

use super::ORDERS;
use super::parcel::Parcel;
use crate::error::ChaosError;
use std::time::Duration;
use tidings::Publisher;
use tokio::task::JoinSet;

/// How many publish at the same time; each has its own keys.
const PUBLISHERS: u64 = 4;
const KEYS_EACH: u64 = 4;

/// Publishes about `messages` messages as fast as they are acknowledged, several at once. Sequences go on where the
/// incarnation before this one can never have come to.
///
/// # Errors
/// What the broker refused.
pub async fn publish(
    publisher: Publisher,
    incarnation: u32,
    seed: u64,
    messages: u64,
) -> Result<(), ChaosError> {
    let mut tasks = JoinSet::new();
    for number in 0..PUBLISHERS {
        let dice = fastrand::Rng::with_seed(seed ^ (u64::from(incarnation) << 8) ^ number);
        let run = Run {
            publisher: publisher.clone(),
            incarnation,
            number,
            dice,
        };
        tasks.spawn(run.publish(messages / PUBLISHERS));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(ChaosError::service)??;
    }
    Ok(())
}

struct Run {
    publisher: Publisher,
    incarnation: u32,
    number: u64,
    dice: fastrand::Rng,
}

impl Run {
    async fn publish(mut self, messages: u64) -> Result<(), ChaosError> {
        let mut sent = 0;
        while sent < messages {
            // Several under way at once: what is acknowledged together is lost together, or not at all.
            let burst = self.dice.u64(1..=8).min(messages - sent);
            let receipts: Vec<_> = (0..burst).map(|place| self.send(sent + place)).collect();
            for receipt in receipts {
                receipt.await.map_err(ChaosError::service)?;
            }
            sent += burst;
            tokio::time::sleep(Duration::from_micros(self.dice.u64(0..4_000))).await;
        }
        Ok(())
    }

    fn send(&mut self, nth: u64) -> tidings::Receipt {
        let own = nth * PUBLISHERS + self.number;
        let key = self.number * KEYS_EACH + self.dice.u64(..KEYS_EACH);
        let parcel = Parcel {
            id: format!("{}.{own}", self.incarnation),
            key: format!("k{key}"),
            sequence: u64::from(self.incarnation) * 1_000_000 + own,
        };
        let message = parcel.message(self.dice.usize(10..700));
        match self.dice.u8(..20) {
            // A key of its own: what is published before it is delivered before it, or not.
            0 => {
                let delay = Duration::from_millis(self.dice.u64(5..80));
                let key = format!("later-{}", parcel.id);
                self.publisher.to(ORDERS).key(key).delay(delay).message(message)
            }
            _ => self.publisher.send(ORDERS, message),
        }
    }
}
