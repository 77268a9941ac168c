//! The last orders, each with how far it is.

use super::format::time;
use super::html::{Html, put};
use super::{Phase, View};
use crate::domain::{OrderId, summary};
use crate::order::{Status, Step, Story};
use crate::service::Service;

/// The five things that happen to an order that ends well.
const TRACK: [(&str, Step); 5] = [
    ("placed", Step::Placed),
    ("stock", Step::Reserved),
    ("payment", Step::Paid),
    ("parcel", Step::Shipped),
    ("invoice", Step::Invoiced),
];

pub(super) fn orders(view: &View) -> Html {
    let mut html = Html::new();
    if view.orders.is_empty() {
        let said = match view.phase {
            Phase::Open => "No orders yet. Place the first one, or let some customers in.",
            Phase::Opening | Phase::CatchingUp => "Reading…",
        };
        put!(html, "<p class=\"empty\">" (said) "</p>");
        return html;
    }
    put!(html, "<ol class=\"orders\">");
    for (id, story) in &view.orders {
        put!(html, [row(*id, story)]);
    }
    put!(html, "</ol>");
    html
}

fn row(id: OrderId, story: &Story) -> Html {
    let status = story.status();
    let mut html = Html::new();
    put!(html, "<li data-key=\"" (id) "\"><a class=\"id\" href=\"/orders/" (id) "\" title=\"" (id) "\">" (id.short())
        "</a><span class=\"who\">" (story.customer) "</span><span class=\"what\">" (summary(&story.items))
        "</span><span class=\"sum\">" (story.total) "</span>" [track(story)] [pill(status)] "<span class=\"when\">");
    if let Some(first) = story.entries().first() {
        put!(html, [time(first.at)]);
    }
    put!(html, "</span></li>");
    html
}

fn track(story: &Story) -> Html {
    let failed_at = failed_at(story);
    let mut html = Html::new();
    put!(html, "<span class=\"track\">");
    for (name, step) in TRACK {
        let state = match failed_at {
            _ if story.has(step) => "done",
            Some(service) if service == step.service() => "bad",
            _ => "",
        };
        put!(html, "<i class=\"" (state) "\" title=\"" (name) "\"></i>");
    }
    put!(html, "</span>");
    html
}

/// The service at which the order came to a bad end.
fn failed_at(story: &Story) -> Option<Service> {
    match story.status() {
        Status::Rejected => Some(Service::Inventory),
        Status::Declined => Some(Service::Payment),
        Status::DeadLettered => story.open_letters().find_map(|letter| letter.service),
        _ => None,
    }
}

/// A status as a small label.
pub(super) fn pill(status: Status) -> Html {
    let tone = match status {
        Status::Completed => "good",
        Status::DeadLettered => "bad",
        Status::Rejected | Status::Declined => "no",
        _ => "busy",
    };
    let mut html = Html::new();
    put!(html, "<span class=\"pill " (tone) "\">" (status.name()) "</span>");
    html
}
