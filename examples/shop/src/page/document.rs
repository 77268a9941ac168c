//! The frame of every page, and what stands at the top of the first one.

use super::format::grouped;
use super::html::{Html, put};
use super::{Fragment, Phase, View, fragments, till};
use crate::order::{Status, Step};

/// The first page.
pub fn index(view: &View) -> Html {
    let parts = fragments(view);
    let part = |id: &str| -> Html {
        let found = parts.iter().find(|part| part.id == id);
        found
            .map(|Fragment { html, .. }| html.clone())
            .unwrap_or_default()
    };
    let mut body = Html::new();
    put!(body,
        "<div id=\"notice\" aria-live=\"polite\">" [part("notice")] "</div>"
        "<section class=\"figures\" id=\"figures\" aria-label=\"Figures\">" [part("figures")] "</section>"
        "<div class=\"services\"><section id=\"pipeline\" aria-label=\"Services\">" [part("pipeline")] "</section>"
        "<section class=\"bank\" id=\"bank\" aria-label=\"Bank\">" [part("bank")] "</section></div>"
        "<div class=\"floor\"><div class=\"left\">"
        "<section class=\"card\"><h2>Orders</h2><div id=\"orders\">" [part("orders")] "</div></section>"
        "<section class=\"card\" id=\"letters\">" [part("letters")] "</section>"
        "</div><div class=\"side\">" [till::till()]
        "<section class=\"card\"><h2>Stock</h2><div id=\"stock\">" [part("stock")] "</div></section>"
        "<section class=\"card\"><h2>Revenue</h2><div id=\"revenue\">" [part("revenue")] "</div></section>"
        "</div></div>"
    );
    frame("Tea shop", Place::Shop, &body)
}

/// Where a page is, for the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Shop,
    Mails,
    Elsewhere,
}

/// A whole page.
pub(super) fn frame(title: &str, place: Place, body: &Html) -> Html {
    let mut html = Html::new();
    put!(html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<meta name=\"color-scheme\" content=\"light dark\">"
        "<meta name=\"description\" content=\"A shop of seven services that talk through events.\">"
        "<title>" (title) "</title>"
        "<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\"><link rel=\"stylesheet\" href=\"/style.css\">"
        "<script src=\"/live.js\" defer></script></head><body>"
        "<header class=\"top\"><a class=\"brand\" href=\"/\">"
        "<svg viewBox=\"0 0 32 32\" aria-hidden=\"true\"><path d=\"M6 12h17v6a7 7 0 0 1-7 7h-3a7 7 0 0 1-7-7v-6Z\"/>"
        "<path d=\"M23 14h2a3 3 0 0 1 0 6h-2.3M11 8.5c-1.5-2 1.5-2.5 0-4.5M16 8.5c-1.5-2 1.5-2.5 0-4.5\"/></svg>"
        "<span>Tea shop</span></a>"
        "<p class=\"motto\">Seven services that talk through events</p>"
        "<nav aria-label=\"Pages\">"
    );
    for (there, href, name) in [(Place::Shop, "/", "Shop"), (Place::Mails, "/mails", "Mails")] {
        put!(html, "<a href=\"" (href) "\"");
        if there == place {
            put!(html, " aria-current=\"page\"");
        }
        put!(html, ">" (name) "</a>");
    }
    put!(html, "</nav>");
    if place == Place::Shop {
        put!(
            html,
            "<span class=\"link\" id=\"link\" data-state=\"still\" role=\"status\"><i></i><b>not live</b></span>"
        );
    }
    put!(html, "</header><main>" [body] "</main><footer>"
        "<p>Orders, stock and payments are in a database; the stories and the revenue are told from the events at every start.</p>"
        "<p><a href=\"/orders?limit=20\">orders</a> <a href=\"/analytics\">analytics</a> <a href=\"/health\">health</a> "
        "<span>as JSON</span></p></footer><p id=\"said\" role=\"status\" hidden></p></body></html>");
    html
}

/// A page that says what went wrong, for those who came by a form.
pub fn problem(title: &str, detail: &str, mistakes: &[(String, String)]) -> Html {
    let mut body = Html::new();
    put!(body, "<section class=\"card alone\"><h1>" (title) "</h1><p>" (detail) "</p>");
    if !mistakes.is_empty() {
        put!(body, "<ul>");
        for (place, what) in mistakes {
            put!(body, "<li><code>" (place) "</code> " (what) "</li>");
        }
        put!(body, "</ul>");
    }
    put!(body, "<p><a href=\"/\">Back to the shop</a></p></section>");
    frame(title, Place::Elsewhere, &body)
}

/// What everybody should know first.
pub(super) fn notice(view: &View) -> Html {
    let mut html = Html::new();
    match view.phase {
        Phase::Opening => {
            put!(
                html,
                "<p class=\"notice\">The shop is opening its log. Orders can be placed in a moment.</p>"
            );
        }
        Phase::CatchingUp => {
            put!(html, "<p class=\"notice\">The shop is reading its events again. Orders are taken; "
                "what is shown here is not complete yet.</p>");
        }
        Phase::Open => {}
    }
    html
}

/// The figures over all orders.
pub(super) fn figures(view: &View) -> Html {
    let overview = &view.overview;
    let count = |statuses: &[Status]| {
        statuses
            .iter()
            .map(|status| overview.with_status(*status))
            .sum::<u64>()
    };
    let under_way = [
        Status::Placed,
        Status::Reserved,
        Status::Paid,
        Status::Shipped,
        Status::Invoiced,
    ];
    let figures = [
        ("orders", "", grouped(overview.reached(Step::Placed))),
        ("under way", "busy", grouped(count(&under_way))),
        ("completed", "good", grouped(count(&[Status::Completed]))),
        (
            "turned down",
            "",
            grouped(count(&[Status::Rejected, Status::Declined])),
        ),
        ("dead-lettered", "bad", grouped(count(&[Status::DeadLettered]))),
        ("revenue", "", view.revenue.to_string()),
    ];
    let mut html = Html::new();
    for (name, tone, figure) in figures {
        let tone = if figure == "0" { "" } else { tone };
        put!(html, "<div class=\"figure " (tone) "\"><b>" (figure) "</b><span>" (name) "</span></div>");
    }
    html
}
