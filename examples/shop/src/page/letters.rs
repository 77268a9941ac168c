//! The dead letters with their diagnosis, and the button that sends them back.

use super::View;
use super::format::{grouped, time};
use super::html::{Html, put};
use crate::domain::OrderId;
use crate::order::Letter;
use crate::service::Service;

pub(super) fn letters(view: &View) -> Html {
    let open: u64 = Service::ALL
        .iter()
        .map(|service| view.overview.dead_letters(*service))
        .sum();
    let mut html = Html::new();
    put!(html, "<div class=\"head\"><h2>Dead letters</h2>");
    if open > 0 {
        put!(html, "<span class=\"pill bad\">" (grouped(open)) "</span>"
            "<form method=\"post\" action=\"/dead-letters/redrive\"><button>Send all back</button></form>");
    }
    put!(html, "</div>");
    if view.letters.is_empty() && view.strays.is_empty() {
        put!(html, "<p class=\"empty\">None. A message that a service cannot handle is kept here with its diagnosis, and "
            "holds nothing else up.</p>");
        return html;
    }
    put!(html, "<ul class=\"letters\">");
    for (order, letter) in &view.letters {
        put!(html, [item(Some(*order), letter)]);
    }
    for letter in &view.strays {
        put!(html, [item(None, letter)]);
    }
    put!(html, "</ul>");
    let shown = u64::try_from(view.letters.len()).unwrap_or(u64::MAX);
    if open > shown {
        put!(html, "<p class=\"more\">and " (grouped(open - shown)) " older ones</p>");
    }
    html
}

fn item(order: Option<OrderId>, letter: &Letter) -> Html {
    let service = letter.service.map_or("unknown", Service::name);
    let mut html = Html::new();
    put!(html, "<li data-key=\"" (service) (letter.origin) "\"><div class=\"where\"><b>" (service) "</b>");
    match order {
        Some(order) => {
            put!(html, "<a class=\"id\" href=\"/orders/" (order) "\">" (order.short()) "</a>");
        }
        None => {
            put!(html, "<span>no order</span>");
        }
    }
    put!(html, "</div><div class=\"why\"><p>" (letter.error) "</p><p class=\"fine\">" (letter.reason) " after "
        (letter.attempts) (if letter.attempts == 1 { " attempt" } else { " attempts" }));
    if letter.redrives > 0 {
        put!(html, ", sent back " (letter.redrives) "× before");
    }
    put!(html, " · " (letter.origin) " · " [time(letter.at)] "</p></div>");
    match (order, letter.service) {
        (Some(_), Some(_)) if letter.sent_back => {
            put!(html, "<span class=\"pill busy\">sent back</span>");
        }
        (Some(order), Some(service)) => {
            put!(html, "<form method=\"post\" action=\"/dead-letters/redrive\"><input type=\"hidden\" name=\"service\" value=\""
                (service) "\"><input type=\"hidden\" name=\"order\" value=\"" (order)
                "\"><button>Send back</button></form>");
        }
        _ => {}
    }
    put!(html, "</li>");
    html
}
