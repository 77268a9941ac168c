//! Messages that get no confirmation, and are answered all the same.

use super::refusal;
use super::writer::Writer;
use crate::connection::Live;
use crate::trouble::Trouble;
use lapin::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::PublishError;

/// After a channel was closed for a reason that is nobody's in particular.
const PAUSE: Duration = Duration::from_millis(200);

impl Writer {
    /// Finds out whose fault the end of a channel is.
    pub(super) async fn ended(&mut self, live: &Live, error: &Error) {
        let trouble = Trouble::of(error, self.options.auth());
        if !live.connection.status().connected() {
            return;
        }
        tracing::debug!(reason = %trouble, "RabbitMQ closed the channel that is published to");
        let of_exchange = trouble.exchange().map(Arc::<str>::from);
        let guilty = match (trouble.code, of_exchange) {
            (Some(404 | 403), Some(exchange)) => {
                let found = self.window.find(|entry, _| entry.target.exchange == exchange);
                self.exchanges.refuse(exchange, &trouble, self.window.end());
                found
            }
            (Some(406), _) if trouble.too_large().is_some() => self.too_large(&trouble),
            _ => Vec::new(),
        };
        if guilty.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        for number in guilty {
            let Some(entry) = self.window.take(number) else {
                continue;
            };
            let destination = &entry.target.destination;
            let error = match (trouble.code, trouble.too_large()) {
                (Some(404), _) => PublishError::UnknownDestination {
                    destination: destination.clone(),
                },
                (_, Some((size, limit))) => PublishError::TooLarge {
                    destination: destination.clone(),
                    size,
                    limit,
                },
                _ => PublishError::Unauthorized {
                    destination: destination.clone(),
                    reason: trouble.to_string(),
                },
            };
            entry.answer(Err(error), &mut self.answers);
        }
        self.window.forget();
        self.answers.tell();
    }

    /// The messages that the server finds too large; it says their size and not which.
    fn too_large(&self, trouble: &Trouble) -> Vec<u64> {
        let Some((size, _)) = trouble.too_large() else {
            return Vec::new();
        };
        self.window.find(|entry, _| {
            entry
                .message
                .payload()
                .is_some_and(|payload| payload.len() == size)
        })
    }

    pub(super) fn refuse(&mut self, number: u64, error: PublishError) {
        if let Some(entry) = self.window.take(number) {
            entry.answer(Err(error), &mut self.answers);
        }
        self.window.forget();
    }

    /// Answers what has waited for too long.
    pub(super) fn expire(&mut self) {
        let patience = self.options.publishing().message_timeout;
        let now = Instant::now();
        while let Some(number) = self.window.expired(patience, now) {
            let Some(entry) = self.window.take(number) else {
                break;
            };
            let trouble = self.state.borrow().trouble();
            let error = refusal::expired(&entry, patience, trouble);
            entry.answer(Err(error), &mut self.answers);
        }
        self.window.forget();
        self.answers.tell();
    }

    /// Answers everything that is left.
    pub(super) fn give_up(&mut self) {
        self.intake.take(&mut self.window);
        for number in self.window.find(|_, _| true) {
            if let Some(entry) = self.window.take(number) {
                let error = refusal::closed(&entry);
                entry.answer(Err(error), &mut self.answers);
            }
        }
        self.answers.tell();
    }
}
