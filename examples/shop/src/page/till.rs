//! Where orders are placed, and where the bank is sent away.

use super::View;
use super::html::{Html, put};
use crate::domain::Sku;

/// The order form. It never changes, so typing is never interrupted.
pub(super) fn till() -> Html {
    let mut html = Html::new();
    put!(html, "<section class=\"card\"><h2>Place an order</h2><form class=\"order\" method=\"post\" action=\"/place\">"
        "<label>Name<input name=\"customer\" value=\"Ada\" required maxlength=\"80\" autocomplete=\"off\"></label>"
        "<div class=\"pair\"><label>Product<select name=\"sku\">");
    for sku in Sku::all() {
        let product = sku.product();
        put!(html, "<option value=\"" (product.sku) "\">" (product.name) " · " (product.price) "</option>");
    }
    put!(html, "</select></label><label class=\"few\">Quantity<input name=\"quantity\" type=\"number\" value=\"2\" min=\"1\" "
        "max=\"1000\" inputmode=\"numeric\"></label></div><label>Card<select name=\"card\">"
        "<option value=\"4242424242424242\">4242 4242 4242 4242 · works</option>"
        "<option value=\"4000000000000002\">4000 0000 0000 0002 · declined</option>"
        "<option value=\"4000000000009995\">4000 0000 0000 9995 · no funds</option>"
        "</select></label><button class=\"main\">Place order</button></form>"
        "<form method=\"post\" action=\"/crowd\"><button>Let 100 customers in</button></form>"
        "<div class=\"wrong\"><p>Or an order that goes wrong</p>");
    for (name, customer, sku, quantity, card) in [
        ("Declined card", "Grace", "teapot", "1", "4000000000000002"),
        ("13 clocks", "Grace", "clock", "13", "4242424242424242"),
        ("Name with ☠", "Grace ☠", "tea", "1", "4242424242424242"),
    ] {
        put!(html, "<form method=\"post\" action=\"/place\">");
        for (field, value) in [
            ("customer", customer),
            ("sku", sku),
            ("quantity", quantity),
            ("card", card),
        ] {
            put!(html, "<input type=\"hidden\" name=\"" (field) "\" value=\"" (value) "\">");
        }
        put!(html, "<button>" (name) "</button></form>");
    }
    put!(html, "</div></section>");
    html
}

/// The bank and its switch.
pub(super) fn bank(view: &View) -> Html {
    let (tone, state, action, button) = if view.bank_is_up {
        ("good", "answers", "/bank/down", "Send it away")
    } else {
        ("bad", "does not answer", "/bank/up", "Call it back")
    };
    let said = if view.bank_is_up {
        "Payment asks it. Now and then a connection breaks; the payment is tried again."
    } else {
        "Payments are tried four times, then they are kept as dead letters, to be sent back."
    };
    let mut html = Html::new();
    put!(html, "<h2>Bank</h2><span class=\"pill " (tone) "\">" (state) "</span><p class=\"fine\">" (said)
        "</p><form method=\"post\" action=\"" (action) "\"><button>" (button) "</button></form>");
    html
}
