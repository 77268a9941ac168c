//! The story of one order, for people. Programs get the same as JSON at the same address.

use super::document::{Place, frame};
use super::format::{grouped, time};
use super::html::{Html, put};
use super::orders::pill;
use crate::domain::OrderId;
use crate::order::{Letter, Story};
use crate::service::Service;
use tidings::Timestamp;

/// One line of the story.
struct Line<'a> {
    at: Timestamp,
    service: &'static str,
    event: &'static str,
    detail: &'a str,
    tone: &'static str,
}

/// The page of one order.
pub fn story(id: OrderId, story: &Story) -> Html {
    let mut body = Html::new();
    put!(body, "<section class=\"card story\"><div class=\"head\"><h1><span>Order</span> " (id) "</h1>" [pill(story.status())]
        "</div><p class=\"bill\"><b>" (story.customer) "</b><span>");
    for (place, item) in story.items.iter().enumerate() {
        put!(body, (if place > 0 { ", " } else { "" }) (item.quantity) " × " (item.sku.product().name));
    }
    put!(body, "</span><b class=\"number\">" (story.total) "</b></p><ol class=\"line\">");
    let lines = lines(story);
    let start = lines.first().map(|line| line.at).unwrap_or_default();
    for line in lines {
        put!(body, "<li class=\"" (line.tone) "\"><b>" (line.event) "</b><span class=\"by\">" (line.service) "</span><span class=\"when\">"
            [time(line.at)] "<small>+" (grouped(u64::try_from(line.at.since(start).as_millis()).unwrap_or(u64::MAX))) " ms</small></span><p>" (line.detail) "</p></li>");
    }
    put!(body, "</ol>");
    for letter in story.open_letters() {
        put!(body, [redrive(id, letter)]);
    }
    put!(
        body,
        "<p class=\"fine\"><a href=\"/\">Back to the shop</a></p></section>"
    );
    frame("Order · Tea shop", Place::Elsewhere, &body)
}

fn lines(story: &Story) -> Vec<Line<'_>> {
    let events = story.entries().iter().map(|entry| Line {
        at: entry.at,
        service: entry.step.service().name(),
        event: entry.step.event(),
        detail: &entry.detail,
        tone: "",
    });
    let letters = story.letters().iter().map(|letter| Line {
        at: letter.at,
        service: letter.service.map_or("unknown", Service::name),
        event: "dead-lettered",
        detail: &letter.error,
        tone: "bad",
    });
    let mut lines: Vec<_> = events.chain(letters).collect();
    lines.sort_by_key(|line| line.at);
    lines
}

fn redrive(id: OrderId, letter: &Letter) -> Html {
    let mut html = Html::new();
    if let Some(service) = letter.service {
        put!(html, "<form method=\"post\" action=\"/dead-letters/redrive\"><input type=\"hidden\" name=\"service\" value=\"" (service)
            "\"><input type=\"hidden\" name=\"order\" value=\"" (id) "\"><button>Send back to " (service) "</button></form>");
    }
    html
}
