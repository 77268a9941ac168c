//! What happened to one order: its events and its dead letters, and what they come to.

use super::OrderPlaced;
use crate::domain::{Cents, Item, Order, summary};
use crate::event::ShopEvent;
use crate::inventory::RELEASE;
use crate::service::Service;
use tidings::{Diagnosis, Timestamp};

/// A dead letter's error is cut after so many characters; all of it is in the dead letter.
const ERROR_KEPT: usize = 300;

/// What can happen to an order, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// It was accepted.
    Placed,
    /// Its stock was set aside.
    Reserved,
    /// There was not enough stock.
    Rejected,
    /// It was paid.
    Paid,
    /// Its card was declined.
    Declined,
    /// Its stock is for sale again.
    Released,
    /// It left the house.
    Shipped,
    /// Its invoice was written.
    Invoiced,
    /// Its customer got a mail.
    Mailed,
}

impl Step {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// The event that says so.
    pub fn event(self) -> &'static str {
        match self {
            Self::Placed => "order.placed",
            Self::Reserved => "stock.reserved",
            Self::Rejected => "order.rejected",
            Self::Paid => "payment.taken",
            Self::Declined => "payment.declined",
            Self::Released => "stock.released",
            Self::Shipped => "shipment.created",
            Self::Invoiced => "invoice.issued",
            Self::Mailed => "mail.sent",
        }
    }

    /// The service that does it.
    pub fn service(self) -> Service {
        match self {
            Self::Placed => Service::Order,
            Self::Reserved | Self::Rejected | Self::Released => Service::Inventory,
            Self::Paid | Self::Declined => Service::Payment,
            Self::Shipped => Service::Shipping,
            Self::Invoiced => Service::Billing,
            Self::Mailed => Service::Notification,
        }
    }
}

/// Where an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Accepted.
    Placed,
    /// Its stock is set aside.
    Reserved,
    /// Paid.
    Paid,
    /// Paid and shipped; its invoice is not written yet.
    Shipped,
    /// Paid and invoiced; it is not shipped yet.
    Invoiced,
    /// Paid, shipped and invoiced: the good end.
    Completed,
    /// Not enough stock: an end.
    Rejected,
    /// The card was declined: an end.
    Declined,
    /// A service could not handle it: an end until somebody sends the dead letter back.
    DeadLettered,
}

impl Status {
    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Reserved => "reserved",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Invoiced => "invoiced",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Declined => "declined",
            Self::DeadLettered => "dead-lettered",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Rejected | Self::Declined | Self::DeadLettered
        )
    }
}

/// One event of a story.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it was published.
    pub at: Timestamp,
    /// What happened.
    pub step: Step,
    /// What is worth knowing of it.
    pub detail: Box<str>,
}

/// A message about an order that a service could not handle.
#[derive(Debug, Clone)]
pub struct Letter {
    /// When handling failed for the last time.
    pub at: Timestamp,
    /// The service that gave up; none if it is not one of the seven.
    pub service: Option<Service>,
    /// Which of its subscriptions.
    pub subscription: Box<str>,
    /// `permanent`, `exhausted`, `undecodable`, `rejected`.
    pub reason: Box<str>,
    /// The error, cut if it is very long.
    pub error: Box<str>,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was sent back before.
    pub redrives: u32,
    /// Where the message was published first.
    pub origin: Box<str>,
    /// Whether it was sent back since it is here.
    pub sent_back: bool,
}

impl Letter {
    /// What a diagnosis says.
    pub fn new(service: Option<Service>, at: Timestamp, diagnosis: &Diagnosis) -> Self {
        let error = diagnosis
            .error
            .as_deref()
            .unwrap_or("no diagnosis: it was not put there by the engine");
        Self {
            at,
            service,
            subscription: diagnosis.subscription.as_deref().unwrap_or_default().into(),
            reason: diagnosis.reason.as_deref().unwrap_or("unknown").into(),
            error: error.chars().take(ERROR_KEPT).collect::<String>().into(),
            attempts: diagnosis.attempts.unwrap_or(0),
            redrives: diagnosis.redrives,
            origin: diagnosis
                .position
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
                .into(),
            sent_back: false,
        }
    }
}

/// The story of one order.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// Who ordered; empty until an event is seen that says it.
    pub customer: Box<str>,
    /// What was ordered.
    pub items: Box<[Item]>,
    /// What it costs.
    pub total: Cents,
    entries: Vec<Entry>,
    letters: Vec<Letter>,
}

impl Story {
    /// The story of an order of which nothing is known but that it was placed.
    pub fn placed(order: Order, at: Timestamp) -> Self {
        let mut story = Self::default();
        story.add(&ShopEvent::Placed(OrderPlaced { order }), at);
        story
    }

    /// Adds an event. One that is here already changes nothing, so a message that is delivered twice does no harm.
    pub(super) fn add(&mut self, event: &ShopEvent, at: Timestamp) -> Option<Step> {
        if let Some(order) = order_of(event) {
            self.introduce(order);
        }
        let (step, detail) = entry_of(event)?;
        if self.has(step) {
            return None;
        }
        let entry = Entry {
            at,
            step,
            detail: detail.into(),
        };
        let place = self
            .entries
            .partition_point(|other| (other.at, other.step) < (at, step));
        self.entries.insert(place, entry);
        Some(step)
    }

    /// Adds a dead letter. A subscription has one at most: the last one.
    pub(super) fn add_letter(&mut self, letter: Letter) {
        let same = |other: &&mut Letter| {
            (other.service, &other.subscription) == (letter.service, &letter.subscription)
        };
        match self.letters.iter_mut().find(same) {
            Some(other) if other.at >= letter.at => {}
            Some(other) => *other = letter,
            None => self.letters.push(letter),
        }
    }

    /// Notes that the dead letters of a service were sent back.
    pub(super) fn sent_back(&mut self, service: Service) {
        for letter in self
            .letters
            .iter_mut()
            .filter(|letter| letter.service == Some(service))
        {
            letter.sent_back = true;
        }
    }

    fn introduce(&mut self, order: &Order) {
        if self.items.is_empty() {
            self.customer = order.customer.as_str().into();
            self.items = order.items.as_slice().into();
            self.total = order.total;
        }
    }

    /// Its events, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its dead letters, also those that were sent back and handled since.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// The dead letters that are still to be dealt with: their service has not said what it has to say.
    ///
    /// It may have said it before: a crash between an output and the next commit delivers a message again, and the
    /// second handling may fail where the first one did not.
    pub fn open_letters(&self) -> impl Iterator<Item = &Letter> {
        self.letters
            .iter()
            .filter(|letter| !answers(letter).iter().any(|step| self.has(*step)))
    }

    /// Whether this has happened.
    pub fn has(&self, step: Step) -> bool {
        self.entries.iter().any(|entry| entry.step == step)
    }

    /// Where the order is. A mail that could not be written does not hold an order up.
    pub fn status(&self) -> Status {
        if self
            .open_letters()
            .any(|letter| letter.service != Some(Service::Notification))
        {
            return Status::DeadLettered;
        }
        match (self.has(Step::Shipped), self.has(Step::Invoiced)) {
            (true, true) => return Status::Completed,
            (true, false) => return Status::Shipped,
            (false, true) => return Status::Invoiced,
            (false, false) => {}
        }
        let reached = [
            (Step::Rejected, Status::Rejected),
            (Step::Declined, Status::Declined),
            (Step::Paid, Status::Paid),
            (Step::Reserved, Status::Reserved),
        ];
        let furthest = reached.into_iter().find(|(step, _)| self.has(*step));
        furthest.map_or(Status::Placed, |(_, status)| status)
    }
}

/// What a service says when it has handled the message that became a letter.
fn answers(letter: &Letter) -> &'static [Step] {
    match letter.service {
        Some(Service::Inventory) if &*letter.subscription == RELEASE => &[Step::Released],
        Some(Service::Inventory) => &[Step::Reserved, Step::Rejected],
        Some(Service::Payment) => &[Step::Paid, Step::Declined],
        Some(Service::Shipping) => &[Step::Shipped],
        Some(Service::Billing) => &[Step::Invoiced],
        Some(Service::Notification) => &[Step::Mailed],
        Some(Service::Order | Service::Analytics) | None => &[],
    }
}

/// The order that an event carries.
fn order_of(event: &ShopEvent) -> Option<&Order> {
    match event {
        ShopEvent::Placed(event) => Some(&event.order),
        ShopEvent::Reserved(event) => Some(&event.order),
        ShopEvent::Rejected(event) => Some(&event.order),
        ShopEvent::Released(event) => Some(&event.order),
        ShopEvent::Paid(event) => Some(&event.order),
        ShopEvent::Declined(event) => Some(&event.order),
        _ => None,
    }
}

/// What an event adds to a story.
fn entry_of(event: &ShopEvent) -> Option<(Step, String)> {
    Some(match event {
        ShopEvent::Placed(event) => (Step::Placed, summary(&event.order.items)),
        ShopEvent::Reserved(_) => (Step::Reserved, String::new()),
        ShopEvent::Rejected(event) => (Step::Rejected, event.reason.clone()),
        ShopEvent::Released(_) => (Step::Released, String::new()),
        ShopEvent::Paid(event) => (Step::Paid, format!("{}, receipt {}", event.amount, event.receipt)),
        ShopEvent::Declined(event) => (Step::Declined, event.reason.clone()),
        ShopEvent::Shipped(event) => (Step::Shipped, format!("parcel {}", event.parcel)),
        ShopEvent::Invoiced(event) => (
            Step::Invoiced,
            format!("{}, {} of it tax", event.invoice, event.tax),
        ),
        ShopEvent::Mailed(event) => (Step::Mailed, event.subject.clone()),
        ShopEvent::Delivered(_) | ShopEvent::Unknown => return None,
    })
}
