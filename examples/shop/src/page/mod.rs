//! The pages, rendered on the server: complete without a script, and kept up to date in place with one.
//!
//! What changes is cut into [`Fragment`]s. The first answer holds them all; afterwards `/live` sends the ones that
//! have changed and the script puts them in place, so there is one renderer.

mod document;
mod format;
mod html;
mod icons;
mod letters;
mod mails;
mod orders;
mod pipeline;
mod revenue;
mod stock;
mod story;
mod till;

pub use document::{index, problem};
pub use html::Html;
pub use mails::mails;
pub use story::story;

use crate::analytics::MinuteRevenue;
use crate::domain::{Cents, OrderId};
use crate::inventory::StockLevel;
use crate::order::{Letter, Overview, Story};
use crate::shop::Shop;
use tidings::Timestamp;

const ORDERS_SHOWN: usize = 16;
const LETTERS_SHOWN: usize = 50;

/// How far the shop is with opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The log is not open yet.
    Opening,
    /// Events of earlier runs are read again.
    CatchingUp,
    /// Everything is known.
    Open,
}

/// What the page shows, taken at one moment.
#[derive(Debug)]
pub struct View {
    phase: Phase,
    now: Timestamp,
    overview: Overview,
    orders: Vec<(OrderId, Story)>,
    letters: Vec<(OrderId, Letter)>,
    strays: Vec<Letter>,
    levels: Vec<StockLevel>,
    minutes: Vec<MinuteRevenue>,
    revenue: Cents,
    bank_is_up: bool,
}

impl View {
    /// Looks at everything.
    pub async fn of(shop: &Shop, phase: Phase) -> Self {
        let levels = shop.database.stock().await;
        Self {
            phase,
            now: Timestamp::now(),
            overview: shop.stories.overview(),
            orders: shop.stories.newest(ORDERS_SHOWN),
            letters: shop.stories.open_letters(LETTERS_SHOWN),
            strays: shop.stories.strays(),
            levels: levels
                .inspect_err(|error| tracing::debug!("no stock to be shown: {error}"))
                .unwrap_or_default(),
            minutes: shop.revenue.minutes(),
            revenue: shop.revenue.total().1,
            bank_is_up: shop.bank.is_up(),
        }
    }
}

/// A part of the page that changes: the id of its element, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The element.
    pub id: &'static str,
    /// Its content.
    pub html: Html,
}

/// Every part of the page that changes.
pub fn fragments(view: &View) -> Vec<Fragment> {
    type Render = fn(&View) -> Html;
    let render: [(&'static str, Render); 8] = [
        ("notice", document::notice),
        ("figures", document::figures),
        ("pipeline", pipeline::pipeline),
        ("orders", orders::orders),
        ("bank", till::bank),
        ("letters", letters::letters),
        ("stock", stock::stock),
        ("revenue", revenue::revenue),
    ];
    render
        .map(|(id, render)| Fragment {
            id,
            html: render(view),
        })
        .into()
}
