//! The door: HTTP in front of the services.

mod actions;
mod body;
mod crowd;
mod guard;
mod listen;
mod live;
mod orders;
mod pages;
mod problem;
mod same_origin;

pub use listen::{Limits, listen};
pub use live::Live;
pub use problem::Problem;

use crate::desk::Desk;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};

/// What every request may use.
#[derive(Debug, Clone)]
pub struct Door {
    pub(crate) desk: Desk,
    pub(crate) live: Live,
    pub(crate) crowd: crowd::Crowd,
}

impl Door {
    /// A door to this desk.
    pub fn new(desk: Desk, live: Live) -> Self {
        Self {
            desk,
            live,
            crowd: crowd::Crowd::default(),
        }
    }
}

/// Every address of the shop.
pub fn routes(door: Door) -> Router {
    let changes = Router::new()
        .route("/place", post(actions::place))
        .route("/crowd", post(actions::crowd))
        .route("/bank/{state}", post(actions::bank))
        .route("/dead-letters/redrive", post(actions::redrive))
        .route_layer(from_fn(same_origin::required));
    Router::new()
        .route("/orders", post(orders::place).get(orders::list))
        .route("/orders/{id}", get(orders::story))
        .route("/", get(pages::index))
        .route("/mails", get(pages::mails))
        .route("/analytics", get(pages::analytics))
        .route("/health", get(pages::health))
        .route("/live", get(live::live))
        .route("/style.css", get(pages::style))
        .route("/live.js", get(pages::script))
        .route("/icon.svg", get(pages::icon))
        .merge(changes)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn(secure))
        .with_state(door)
}

/// Only what this shop sends itself may be shown and run on its pages.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
