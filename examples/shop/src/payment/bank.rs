//! The bank: an outside system, played by a few lines that misbehave on purpose and always in the same way.

use crate::domain::{CardToken, Cents, OrderId, Recent};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many charges the bank remembers by their order.
const CHARGES_KEPT: usize = 200_000;
/// Of so many orders one loses its connection to the bank at the first try.
const FLAKY_ONE_IN: u64 = 20;

/// What the bank says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charge {
    /// The money is taken.
    Taken {
        /// The bank's number for it.
        receipt: String,
    },
    /// The card is refused; asking again changes nothing.
    Declined {
        /// Why.
        reason: String,
    },
}

/// Why the bank said nothing. Asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BankError {
    /// It is away.
    #[error("the bank does not answer")]
    Away,
    /// The connection broke.
    #[error("the connection to the bank broke")]
    Interrupted,
}

/// A connection to the bank. Clones share it.
#[derive(Debug, Clone)]
pub struct Bank {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seed: u64,
    away: AtomicBool,
    /// What was asked before; none is an order whose connection broke.
    asked: Mutex<Recent<OrderId, Option<Charge>>>,
}

impl Bank {
    /// A bank whose moods follow from the seed and the order, so that a run can be repeated.
    pub fn with_seed(seed: u64) -> Self {
        let asked = Mutex::new(Recent::with_limit(CHARGES_KEPT));
        Self {
            inner: Arc::new(Inner {
                seed,
                away: AtomicBool::new(false),
                asked,
            }),
        }
    }

    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        !self.inner.away.load(Ordering::Relaxed)
    }

    /// From now on it answers nobody.
    pub fn go_away(&self) {
        self.inner.away.store(true, Ordering::Relaxed);
    }

    /// From now on it answers.
    pub fn come_back(&self) {
        self.inner.away.store(false, Ordering::Relaxed);
    }

    /// Takes the money for an order, once: asked again it gives the same answer.
    ///
    /// # Errors
    /// [`BankError`].
    pub async fn charge(&self, order: OrderId, card: &CardToken, amount: Cents) -> Result<Charge, BankError> {
        let mood = mix(order.spread() ^ self.inner.seed);
        tokio::time::sleep(Duration::from_millis(10 + mood % 30)).await;
        if !self.is_up() {
            return Err(BankError::Away);
        }
        let mut asked = self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.get(&order) {
            Some(Some(charge)) => return Ok(charge.clone()),
            None if (mood >> 8).is_multiple_of(FLAKY_ONE_IN) => {
                asked.insert(order, None);
                return Err(BankError::Interrupted);
            }
            Some(None) | None => {}
        }
        let charge = decide(order, card, amount);
        asked.insert(order, Some(charge.clone()));
        Ok(charge)
    }
}

/// The receipt follows from the order: a bank that forgot an order gives it the same one again.
fn decide(order: OrderId, card: &CardToken, amount: Cents) -> Charge {
    match card.last_four() {
        "0002" => Charge::Declined {
            reason: "the card was declined".to_owned(),
        },
        "9995" => Charge::Declined {
            reason: "insufficient funds".to_owned(),
        },
        _ => Charge::Taken {
            receipt: format!("R-{}-{}", order.short(), amount.0),
        },
    }
}

/// Spreads a number over all bits (the finaliser of the SplitMix64 generator).
fn mix(mut number: u64) -> u64 {
    number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: &str) -> CardToken {
        CardToken::for_number(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_moods_of_the_bank_follow_from_its_seed() {
        let orders: Vec<OrderId> = (0..400)
            .map(|n| format!("{n:04}-0000-0000-0000").parse().unwrap())
            .collect();
        let mut runs = Vec::new();
        for _ in 0..2 {
            let bank = Bank::with_seed(7);
            let mut broken = Vec::new();
            for order in &orders {
                let first = bank.charge(*order, &card("4242424242424242"), Cents(100)).await;
                let second = bank.charge(*order, &card("4242424242424242"), Cents(100)).await;
                assert!(
                    matches!(second, Ok(Charge::Taken { .. })),
                    "the second try succeeds"
                );
                broken.push(first == Err(BankError::Interrupted));
            }
            runs.push(broken);
        }
        assert_eq!(runs[0], runs[1]);
        let flaky = runs[0].iter().filter(|broken| **broken).count();
        assert!((5..60).contains(&flaky), "{flaky} of 400 are flaky");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bank_that_is_away_answers_nobody_until_it_is_back() {
        let (bank, order) = (Bank::with_seed(1), OrderId::random());
        bank.go_away();
        for _ in 0..3 {
            assert_eq!(
                bank.charge(order, &card("4000000000000002"), Cents(1)).await,
                Err(BankError::Away)
            );
        }
        bank.come_back();
        let mut answers = Vec::new();
        for _ in 0..2 {
            answers.extend(bank.charge(order, &card("4000000000000002"), Cents(1)).await);
        }
        assert!(answers.contains(&Charge::Declined {
            reason: "the card was declined".to_owned()
        }));
    }
}
