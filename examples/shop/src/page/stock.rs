//! What there is of each product.

use super::View;
use super::format::grouped;
use super::html::{Html, put};

/// The width of a bar in the units of its drawing.
const FULL: i64 = 1_000;

pub(super) fn stock(view: &View) -> Html {
    let mut html = Html::new();
    put!(html, "<table class=\"stock\"><thead class=\"hidden\"><tr><th>Product</th><th>Level</th><th>For sale</th></tr></thead>"
        "<tbody>");
    for level in &view.levels {
        let product = level.sku.product();
        let full = i64::from(product.level).max(1);
        let width = level.for_sale.clamp(0, full) * FULL / full;
        let tone = if level.for_sale * 5 < full { "low" } else { "" };
        let for_sale = u64::try_from(level.for_sale).unwrap_or(0);
        put!(html, "<tr data-key=\"" (product.sku) "\"><th scope=\"row\">" (product.name) " <code>" (product.sku) "</code></th><td>"
            "<svg class=\"bar " (tone) "\" viewBox=\"0 0 1000 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
            "<rect class=\"all\" width=\"1000\" height=\"8\"/><rect height=\"8\" width=\"" (width)
            "\"/></svg></td><td class=\"number\">" (grouped(for_sale)) "</td></tr>");
    }
    put!(html, "</tbody></table>");
    html
}
