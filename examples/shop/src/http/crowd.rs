//! A hundred customers at once, for those who want to see the shop busy.

use crate::desk::Desk;
use crate::domain::{CATALOG, OrderId};
use crate::order::{OrderRequest, RequestItem};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CUSTOMERS: u64 = 100;
const BETWEEN: Duration = Duration::from_millis(60);
const NAMES: [&str; 10] = [
    "Ada", "Grace", "Alan", "Edsger", "Barbara", "Tony", "Niklaus", "Frances", "Ken", "Margaret",
];

/// The customers who are coming in; one crowd at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd {
    inside: Arc<AtomicBool>,
}

impl Crowd {
    /// Lets a hundred customers in, unless there is a crowd already.
    pub(super) fn let_in(&self, desk: &Desk) -> bool {
        if self.inside.swap(true, Ordering::AcqRel) {
            return false;
        }
        let (desk, inside) = (desk.clone(), self.inside.clone());
        tokio::spawn(async move {
            for _ in 0..CUSTOMERS {
                let order = request(OrderId::random().spread()).into_order();
                let order = order.expect("the crowd orders what the catalogue has");
                if desk.place(order, None).await.is_err() {
                    break;
                }
                tokio::time::sleep(BETWEEN).await;
            }
            inside.store(false, Ordering::Release);
        });
        true
    }
}

/// An order as random as the number: some with a card that is declined, a few with a name that cannot be printed.
fn request(random: u64) -> OrderRequest {
    let pick =
        |shift: u32, among: usize| usize::try_from((random >> shift) & 0xff).map_or(0, |byte| byte % among);
    let name = NAMES.get(pick(0, NAMES.len())).copied().unwrap_or("Ada");
    // The last product is the one of which there are few.
    let products = CATALOG.len() - usize::from(pick(8, 25) > 0);
    let item = |shift| RequestItem {
        sku: CATALOG
            .get(pick(shift, products))
            .map_or("tea", |product| product.sku)
            .to_owned(),
        quantity: if pick(shift + 4, 3) == 0 { 2 } else { 1 },
    };
    let customer = if pick(16, 33) == 0 {
        format!("{name} ☠")
    } else {
        name.to_owned()
    };
    let card = if pick(24, 14) == 0 {
        "4000000000000002"
    } else {
        "4242424242424242"
    };
    let items = if pick(32, 2) == 0 {
        vec![item(40)]
    } else {
        vec![item(40), item(48)]
    };
    OrderRequest {
        customer,
        items,
        card: card.to_owned(),
    }
}
