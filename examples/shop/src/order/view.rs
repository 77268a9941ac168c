//! A story as JSON.

use super::story::{Status, Story};
use crate::domain::{OrderId, rfc3339};
use serde::Serialize;

/// What `GET /orders/{id}` answers.
#[derive(Debug, Clone, Serialize)]
pub struct StoryView {
    id: OrderId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    customer: String,
    items: Vec<ItemView>,
    total: String,
    total_cents: u64,
    currency: &'static str,
    ended: bool,
    events: Vec<EventView>,
    dead_letters: Vec<LetterView>,
}

#[derive(Debug, Clone, Serialize)]
struct ItemView {
    sku: &'static str,
    quantity: u32,
}

#[derive(Debug, Clone, Serialize)]
struct EventView {
    at: String,
    at_ms: i64,
    service: &'static str,
    event: &'static str,
    detail: String,
}

#[derive(Debug, Clone, Serialize)]
struct LetterView {
    at: String,
    service: &'static str,
    reason: String,
    error: String,
    attempts: u32,
    redrives: u32,
    sent_back: bool,
    origin: String,
}

impl StoryView {
    /// The story of that order.
    pub fn new(id: OrderId, story: &Story) -> Self {
        let status = story.status();
        let items = story.items.iter().map(|item| ItemView {
            sku: item.sku.into(),
            quantity: item.quantity,
        });
        Self {
            id,
            status: status.name(),
            reason: reason(story, status),
            customer: story.customer.to_string(),
            items: items.collect(),
            total: story.total.decimal(),
            total_cents: story.total.0,
            currency: "EUR",
            ended: status.is_end(),
            events: events(story),
            dead_letters: letters(story),
        }
    }
}

/// Why an order did not end well.
fn reason(story: &Story, status: Status) -> Option<String> {
    match status {
        Status::Rejected | Status::Declined => {
            let told = story
                .entries()
                .iter()
                .find(|entry| entry.step.event().ends_with(status.name()));
            told.map(|entry| entry.detail.to_string())
        }
        Status::DeadLettered => story.open_letters().next().map(|letter| {
            let service = letter.service.map_or("?", |service| service.name());
            format!("dead-lettered at {service}: {}", letter.error)
        }),
        _ => None,
    }
}

fn events(story: &Story) -> Vec<EventView> {
    let events = story.entries().iter().map(|entry| EventView {
        at: rfc3339(entry.at),
        at_ms: entry.at.as_millis(),
        service: entry.step.service().name(),
        event: entry.step.event(),
        detail: entry.detail.to_string(),
    });
    let letters = story.letters().iter().map(|letter| EventView {
        at: rfc3339(letter.at),
        at_ms: letter.at.as_millis(),
        service: letter.service.map_or("?", |service| service.name()),
        event: "dead-lettered",
        detail: letter.error.to_string(),
    });
    let mut all: Vec<_> = events.chain(letters).collect();
    all.sort_by_key(|event| event.at_ms);
    all
}

fn letters(story: &Story) -> Vec<LetterView> {
    let letters = story.open_letters().map(|letter| LetterView {
        at: rfc3339(letter.at),
        service: letter.service.map_or("?", |service| service.name()),
        reason: letter.reason.to_string(),
        error: letter.error.to_string(),
        attempts: letter.attempts,
        redrives: letter.redrives,
        sent_back: letter.sent_back,
        origin: letter.origin.to_string(),
    });
    letters.collect()
}
