//! The stories of the last orders, and what they come to all together.

use super::story::{Letter, Status, Step, Story};
use crate::domain::{OrderId, Recent};
use crate::event::ShopEvent;
use crate::service::Service;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings::Timestamp;

/// How many stories are kept in memory, about 100 MB of them; the log keeps every event.
pub const STORIES_KEPT: usize = 100_000;
/// How many dead letters are kept that belong to no order.
const STRAYS_KEPT: usize = 100;

/// The stories, rebuilt from events. Clones share them.
#[derive(Debug, Clone)]
pub struct Stories {
    index: Arc<Mutex<Index>>,
    is_complete: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Index {
    stories: Recent<OrderId, Story>,
    /// When, what and where: the open dead letters, oldest first.
    open_letters: BTreeSet<(Timestamp, OrderId, Service)>,
    strays: VecDeque<Letter>,
    overview: Overview,
}

/// Counts over all orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// How many orders have reached each step, by step.
    steps: [u64; Step::COUNT],
    statuses: HashMap<Status, u64>,
    letters: HashMap<Service, u64>,
}

impl Overview {
    /// How many orders have reached this step.
    pub fn reached(&self, step: Step) -> u64 {
        self.steps.get(step as usize).copied().unwrap_or(0)
    }

    /// How many orders are there.
    pub fn with_status(&self, status: Status) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// How many open dead letters a service has.
    pub fn dead_letters(&self, service: Service) -> u64 {
        self.letters.get(&service).copied().unwrap_or(0)
    }

    /// How many orders a service has finished.
    pub fn handled(&self, service: Service) -> u64 {
        let steps: &[Step] = match service {
            Service::Order => &[Step::Placed],
            Service::Inventory => &[Step::Reserved, Step::Rejected],
            Service::Payment => &[Step::Paid, Step::Declined],
            Service::Shipping => &[Step::Shipped],
            Service::Billing => &[Step::Invoiced],
            Service::Notification => &[Step::Mailed],
            Service::Analytics => &[Step::Paid],
        };
        steps.iter().map(|step| self.reached(*step)).sum()
    }

    /// How many orders wait for a service.
    pub fn waiting(&self, service: Service) -> u64 {
        let given = match service {
            Service::Inventory => self.reached(Step::Placed),
            Service::Payment => self.reached(Step::Reserved),
            Service::Shipping | Service::Billing => self.reached(Step::Paid),
            Service::Notification => [Step::Shipped, Step::Rejected, Step::Declined]
                .map(|s| self.reached(s))
                .iter()
                .sum(),
            Service::Order | Service::Analytics => 0,
        };
        given
            .saturating_sub(self.handled(service))
            .saturating_sub(self.dead_letters(service))
    }
}

impl Default for Stories {
    fn default() -> Self {
        Self::with_limit(STORIES_KEPT)
    }
}

impl Stories {
    /// No stories, and never more than `limit`.
    pub fn with_limit(limit: usize) -> Self {
        let index = Index {
            stories: Recent::with_limit(limit),
            open_letters: BTreeSet::new(),
            strays: VecDeque::new(),
            overview: Overview::default(),
        };
        Self {
            index: Arc::new(Mutex::new(index)),
            is_complete: Arc::default(),
        }
    }

    /// Whether the events of earlier runs are in. Nobody decides by the stories; but nobody is told either that an order
    /// is unknown before everything was seen.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// The events of earlier runs are in.
    pub(crate) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    /// Adds an event to the story of its order.
    pub fn apply(&self, event: &ShopEvent, at: Timestamp) {
        if let Some(order) = subject(event) {
            self.lock().change(order, |story| story.add(event, at));
        }
    }

    /// Adds a dead letter; to the story of its order if it has one.
    pub fn add_letter(&self, service: Option<Service>, order: Option<OrderId>, letter: Letter) {
        let mut index = self.lock();
        match (service, order) {
            (Some(_), Some(order)) => index.change(order, |story| {
                story.add_letter(letter);
                None
            }),
            _ => {
                index.strays.push_back(letter);
                while index.strays.len() > STRAYS_KEPT {
                    index.strays.pop_front();
                }
            }
        }
    }

    /// Notes that the dead letter of a service about an order was sent back.
    pub fn sent_back(&self, service: Service, order: OrderId) {
        let mut index = self.lock();
        if index.stories.get(&order).is_some() {
            index.change(order, |story| {
                story.sent_back(service);
                None
            });
        }
    }

    /// Notes that all dead letters of a service were sent back.
    pub fn all_sent_back(&self, service: Service) {
        let of_service =
            |(_, order, other): &(Timestamp, OrderId, Service)| (*other == service).then_some(*order);
        let orders: Vec<_> = self.lock().open_letters.iter().filter_map(of_service).collect();
        for order in orders {
            self.sent_back(service, order);
        }
    }

    /// The story of an order.
    pub fn get(&self, order: OrderId) -> Option<Story> {
        self.lock().stories.get(&order).cloned()
    }

    /// The last orders, newest first.
    pub fn newest(&self, limit: usize) -> Vec<(OrderId, Story)> {
        let index = self.lock();
        index
            .stories
            .newest()
            .take(limit)
            .map(|(id, story)| (*id, story.clone()))
            .collect()
    }

    /// The open dead letters, newest first.
    pub fn open_letters(&self, limit: usize) -> Vec<(OrderId, Letter)> {
        let index = self.lock();
        let letters = index.open_letters.iter().rev().filter_map(|(_, order, service)| {
            let mut open = index.stories.get(order)?.open_letters();
            Some((
                *order,
                open.find(|letter| letter.service == Some(*service))?.clone(),
            ))
        });
        letters.take(limit).collect()
    }

    /// Dead letters that belong to no order, newest first.
    pub fn strays(&self) -> Vec<Letter> {
        self.lock().strays.iter().rev().cloned().collect()
    }

    /// The counts.
    pub fn overview(&self) -> Overview {
        self.lock().overview.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Changes one story and brings everything that is counted over all of them up to date.
    fn change(&mut self, order: OrderId, change: impl FnOnce(&mut Story) -> Option<Step>) {
        let is_new = self.stories.get(&order).is_none();
        let story = self.stories.entry(order, Story::default);
        let (status, letters) = (story.status(), letters_of(order, story));
        let reached = change(story);
        let (new_status, new_letters) = (story.status(), letters_of(order, story));
        let overview = &mut self.overview;
        if let Some(count) = reached.and_then(|step| overview.steps.get_mut(step as usize)) {
            *count += 1;
        }
        if is_new || status != new_status {
            *overview.statuses.entry(new_status).or_default() += 1;
            if !is_new {
                let before = overview.statuses.entry(status).or_default();
                *before = before.saturating_sub(1);
            }
        }
        if letters != new_letters {
            self.recount_letters(&letters, &new_letters);
        }
    }

    fn recount_letters(
        &mut self,
        before: &[(Timestamp, OrderId, Service)],
        after: &[(Timestamp, OrderId, Service)],
    ) {
        for letter in before {
            self.open_letters.remove(letter);
            let count = self.overview.letters.entry(letter.2).or_default();
            *count = count.saturating_sub(1);
        }
        for letter in after {
            self.open_letters.insert(*letter);
            *self.overview.letters.entry(letter.2).or_default() += 1;
        }
        while self.open_letters.len() > STORIES_KEPT {
            self.open_letters.pop_first();
        }
    }
}

fn letters_of(order: OrderId, story: &Story) -> Vec<(Timestamp, OrderId, Service)> {
    let open = story
        .open_letters()
        .filter_map(|letter| Some((letter.at, order, letter.service?)));
    open.collect()
}

/// The order that an event is about.
fn subject(event: &ShopEvent) -> Option<OrderId> {
    match event {
        ShopEvent::Placed(event) => Some(event.order.id),
        ShopEvent::Reserved(event) => Some(event.order.id),
        ShopEvent::Rejected(event) => Some(event.order.id),
        ShopEvent::Released(event) => Some(event.order.id),
        ShopEvent::Paid(event) => Some(event.order.id),
        ShopEvent::Declined(event) => Some(event.order.id),
        ShopEvent::Shipped(event) => Some(event.order_id),
        ShopEvent::Invoiced(event) => Some(event.order_id),
        ShopEvent::Mailed(event) => Some(event.order_id),
        ShopEvent::Delivered(_) | ShopEvent::Unknown => None,
    }
}

#[cfg(test)]
mod tests;
