//! `crate = "…"`: the generated code finds Tidings where it is told to.

/// Another name for it, in a place of the application.
mod vendor {
    pub(crate) use tidings_core as events;
}

mod tidings {
    //! Shadows the name: code that was told another place must not look here.
}

use serde::Serialize;
use tidings_macros::{Event, FromRef, handler};
use vendor::events::{Event as _, FromRef as _, Raw, Subscription, on};

#[derive(Event, Serialize)]
#[event(key = "id", crate = "tidings_core")]
struct OrderPlaced {
    id: u8,
}

#[derive(Event, Serialize)]
#[event(crate = "crate::elsewhere::vendor::events")]
enum OrderEvent {
    #[event(transparent)]
    Placed(OrderPlaced),
}

#[derive(Clone, FromRef)]
#[from_ref(crate = "vendor::events")]
struct Shop {
    name: String,
}

#[handler(state = Shop, crate = "vendor::events")]
async fn count(_order: Raw) {}

#[test]
fn the_generated_code_looks_where_it_is_told() {
    let event = OrderEvent::Placed(OrderPlaced { id: 7 });
    assert_eq!(
        (event.name(), event.key().as_deref()),
        ("order.placed", Some(&b"7"[..]))
    );
    let name = "tea".to_owned();
    assert_eq!(String::from_ref(&Shop { name }), "tea");
    let subscription: Subscription<Shop> = on("orders", count);
    assert_eq!(subscription.into_parts().handler.name(), "it::elsewhere::count");
}
