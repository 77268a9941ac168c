//! Notification: writes the customer a mail when an order is on its way, rejected or not paid.
//!
//! One handler reads three channels. Mails are events too; nothing leaves the machine, the page `/mails` shows them.

use crate::channel::{MAILS, PAYMENTS, SHIPMENTS, STOCK};
use crate::domain::{OrderId, Recent};
use crate::event::ShopEvent;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use tidings::prelude::*;
use tidings::{Ordering, Start, Timestamp};

/// How many mails the outbox page remembers.
const MAILS_KEPT: usize = 200;

/// A mail was sent.
#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(name = "mail.sent", key = "order_id")]
pub struct MailSent {
    /// The order that it is about.
    pub order_id: OrderId,
    /// To whom.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// Writes a mail about what ends an order; about everything else it says nothing.
async fn notify(event: ShopEvent) -> Option<MailSent> {
    let (order_id, to, subject, text) = match event {
        ShopEvent::Shipped(shipped) => {
            let text = format!("Your parcel {} has left our house.", shipped.parcel);
            (
                shipped.order_id,
                shipped.customer,
                "Your order is on its way",
                text,
            )
        }
        ShopEvent::Rejected(rejected) => {
            let text = format!(
                "We are sorry, there is not enough left: {}. You pay nothing.",
                rejected.reason
            );
            (
                rejected.order.id,
                rejected.order.customer,
                "We cannot send your order",
                text,
            )
        }
        ShopEvent::Declined(declined) => {
            let text = format!("Your bank says: {}. Your order is cancelled.", declined.reason);
            (
                declined.order.id,
                declined.order.customer,
                "Your card was not accepted",
                text,
            )
        }
        _ => return None,
    };
    Some(MailSent {
        order_id,
        to,
        subject: subject.to_owned(),
        text,
    })
}

/// The last mails. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbox {
    mails: Arc<Mutex<Recent<OrderId, (MailSent, Timestamp)>>>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            mails: Arc::new(Mutex::new(Recent::with_limit(MAILS_KEPT))),
        }
    }
}

impl Outbox {
    /// The last mails and when they were sent, newest first. A mail that was sent twice is here once.
    pub fn newest(&self) -> Vec<(MailSent, Timestamp)> {
        let mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        mails.newest().map(|(_, mail)| mail.clone()).collect()
    }
}

/// Keeps the mail for the page; after a start those of earlier runs again.
async fn keep(Json(mail): Json<MailSent>, at: Timestamp, State(outbox): State<Outbox>) {
    let mut mails = outbox.mails.lock().unwrap_or_else(PoisonError::into_inner);
    mails.entry(mail.order_id, || (mail, at));
}

/// The last mails, for a page that shows them.
pub fn outbox() -> App<Outbox> {
    App::new("notification-outbox").add(
        on(MAILS, keep)
            .name("notification-outbox")
            .start(Start::Earliest)
            .ordering(Ordering::Partition)
            .lose_exhausted_messages()
            .only::<MailSent>(),
    )
}

/// The notification service.
pub fn app() -> App<Outbox> {
    App::new("notification").add(
        on([STOCK, PAYMENTS, SHIPMENTS], notify)
            .group("notification")
            .to(MAILS)
            .concurrency(16),
    )
}
