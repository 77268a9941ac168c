//! The outbox: what customers were told.

use super::document::{Place, frame};
use super::format::time;
use super::html::{Html, put};
use crate::notification::MailSent;
use tidings::Timestamp;

/// The outbox page.
pub fn mails(mails: &[(MailSent, Timestamp)]) -> Html {
    let mut body = Html::new();
    put!(body, "<section class=\"card\"><h1>Mails</h1>");
    if mails.is_empty() {
        put!(
            body,
            "<p class=\"empty\">No mails yet. A customer gets one when an order is on its way, rejected or not paid.</p>"
        );
    } else {
        put!(body, "<p class=\"fine\">The last " (mails.len()) ", newest first. None of them leaves this machine.</p><ul class=\"mails\">");
        for (mail, at) in mails {
            put!(body, "<li><div class=\"where\"><b>" (mail.to) "</b><a class=\"id\" href=\"/orders/" (mail.order_id) "\">"
                (mail.order_id.short()) "</a></div><div class=\"why\"><p>" (mail.subject) "</p><p class=\"fine\">" (mail.text)
                "</p></div><span class=\"when\">" [time(*at)] "</span></li>");
        }
        put!(body, "</ul>");
    }
    put!(body, "</section>");
    frame("Mails · Tea shop", Place::Mails, &body)
}
