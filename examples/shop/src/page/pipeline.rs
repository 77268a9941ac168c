//! The services in the order in which an order meets them, with what they have done and what waits for them.

use super::format::grouped;
use super::html::{Html, put};
use super::{View, icons};
use crate::service::Service;

/// What a service does, and what it reads for it.
fn deed(service: Service) -> (&'static str, &'static str) {
    match service {
        Service::Order => ("orders taken", "HTTP"),
        Service::Inventory => ("decided", "orders"),
        Service::Payment => ("charged", "stock"),
        Service::Shipping => ("parcels sent", "payments"),
        Service::Billing => ("invoices", "payments"),
        Service::Notification => ("mails", "shipments"),
        Service::Analytics => ("payments counted", "payments"),
    }
}

/// The way of an order that ends well. Billing and analytics work beside it.
const WAY: [Service; 5] = [
    Service::Order,
    Service::Inventory,
    Service::Payment,
    Service::Shipping,
    Service::Notification,
];

pub(super) fn pipeline(view: &View) -> Html {
    let mut html = Html::new();
    for (place, service) in WAY.into_iter().enumerate() {
        if place > 0 {
            put!(html, "<span class=\"wire\" data-to=\"" (service) "\" aria-hidden=\"true\"><i></i></span>");
        }
        put!(html, [stage(view, service)]);
    }
    put!(
        html,
        [stage(view, Service::Billing)][stage(view, Service::Analytics)]
    );
    html
}

fn stage(view: &View, service: Service) -> Html {
    let overview = &view.overview;
    let (waiting, dead) = (overview.waiting(service), overview.dead_letters(service));
    let is_stuck = service == Service::Payment && !view.bank_is_up;
    let tone = match (dead > 0 || is_stuck, waiting > 0) {
        (true, _) => "bad",
        (false, true) => "busy",
        (false, false) => "calm",
    };
    let mut html = Html::new();
    put!(html, "<article class=\"stage " (tone) "\" data-key=\"" (service) "\" data-count=\""
        (overview.handled(service)) "\"><h3><svg viewBox=\"0 0 24 24\" aria-hidden=\"true\">");
    html.markup(icons::strokes(service));
    let (deed, reads) = deed(service);
    put!(html, "</svg>" (service) "</h3><p class=\"count\">" (grouped(overview.handled(service))) "</p><p class=\"deed\">"
        (deed) "</p><p class=\"state\">");
    if dead > 0 {
        put!(html, "<a class=\"bad\" href=\"#letters\">" (grouped(dead)) " dead</a>");
    }
    if waiting > 0 {
        put!(html, "<span class=\"busy\">" (grouped(waiting)) " waiting</span>");
    }
    if dead == 0 && waiting == 0 {
        put!(html, "<span>reads " (reads) "</span>");
    }
    put!(html, "</p></article>");
    html
}
