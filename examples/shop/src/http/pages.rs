//! The pages, and what they need.

use super::Door;
use crate::analytics::MinuteRevenue;
use crate::domain::rfc3339;
use crate::page::{self, View};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use serde_json::json;

/// `GET /`
pub(super) async fn index(State(door): State<Door>) -> Html<String> {
    let view = View::of(door.desk.shop(), door.desk.phase()).await;
    Html(page::index(&view).into_string())
}

/// `GET /mails`
pub(super) async fn mails(State(door): State<Door>) -> Html<String> {
    Html(page::mails(&door.desk.shop().outbox.newest()).into_string())
}

/// `GET /analytics`
pub(super) async fn analytics(State(door): State<Door>) -> Response {
    let revenue = &door.desk.shop().revenue;
    let (orders, total) = revenue.total();
    let minutes = revenue.minutes();
    let minute = |one: &MinuteRevenue| json!({"minute": rfc3339(one.minute), "orders": one.orders, "revenue_cents": one.revenue.0});
    let minutes: Vec<_> = minutes.iter().map(minute).collect();
    Json(json!({"currency": "EUR", "orders": orders, "revenue_cents": total.0, "minutes": minutes}))
        .into_response()
}

/// `GET /health`: 200 when it works, 503 while it is starting or when something is wrong.
pub(super) async fn health(State(door): State<Door>) -> Response {
    let Some(health) = door.desk.health() else {
        let part = json!({"kind": "app", "name": "shop", "condition": "starting",
            "reason": "the broker is being opened, and topics that are missing are made"});
        let answer = json!({"live": true, "ready": false, "parts": [part]});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response();
    };
    let parts = health.parts.iter().map(|part| {
        json!({"kind": part.kind, "name": part.name, "condition": part.condition.as_str(), "reason": part.reason})
    });
    let answer = json!({"live": health.live, "ready": health.ready, "parts": parts.collect::<Vec<_>>()});
    let status = if health.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(answer)).into_response()
}

/// `GET /style.css`
pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../assets/style.css"))
}

/// `GET /live.js`
pub(super) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../assets/live.js"),
    )
}

/// `GET /icon.svg`
pub(super) async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        text,
    )
        .into_response()
}
