//! `/orders`: placing an order, its story, the last ones.

use super::{Door, Problem, body};
use crate::domain::OrderId;
use crate::order::{Answer, NamedRequest, OrderRequest, StoryView};
use crate::page::{self, Phase};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use serde::Deserialize;
use serde_json::json;

const MAX_KEY: usize = 200;
const LISTED: usize = 20;
const MAX_LISTED: usize = 200;

/// `POST /orders`: 202 once the order is kept, together with its event.
pub(super) async fn place(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sent = body::read(body).await?;
    if !body::is_of_type(&headers, "application/json") {
        let detail = "send the order as application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let key = idempotency_key(&headers)?;
    let order = OrderRequest::from_json(&sent)?.into_order()?;
    let answer = accepted(order.id);
    let request = key.map(|key| NamedRequest::new(key, &sent, answer.clone()));
    let before = door.desk.place(order, request).await?;
    in_http(before.unwrap_or(answer))
}

/// What a customer is answered whose order is kept.
fn accepted(id: OrderId) -> Answer {
    let location = format!("/orders/{id}");
    let body = json!({"id": id, "status": "placed", "links": {"self": location}}).to_string();
    Answer {
        status: StatusCode::ACCEPTED.as_u16(),
        location,
        body,
    }
}

fn in_http(answer: Answer) -> Result<Response, Problem> {
    let impossible = |_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer that was kept is none",
        )
    };
    let status = StatusCode::from_u16(answer.status).map_err(impossible)?;
    let headers = [
        (header::LOCATION, answer.location),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    Ok((status, headers, answer.body).into_response())
}

/// What the client calls this request, so that sending it again does not order again. It may stand in quotes, as the
/// draft of the standard has it.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = key.to_str().ok().map(str::trim);
    let bare = key.map(|key| {
        let quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
        quoted.unwrap_or(key)
    });
    let bare = bare.filter(|key| (1..=MAX_KEY).contains(&key.len()));
    bare.map(|key| Some(key.to_owned())).ok_or_else(|| {
        let detail = format!("an Idempotency-Key has 1 to {MAX_KEY} printable characters");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// `GET /orders/{id}`: the story, as JSON or, for browsers, as a page.
pub(super) async fn story(
    State(door): State<Door>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let vary = [(header::VARY, "accept")];
    let unknown = |detail: String| Problem::new(StatusCode::NOT_FOUND, detail);
    let id: OrderId = id
        .parse()
        .map_err(|error| unknown(format!("no such order: {error}")))?;
    let story = door.desk.story(id).await?;
    let story = story.ok_or_else(|| unknown(format!("there is no order {id}")))?;
    if wants_page(&headers) {
        return Ok((vary, Html(page::story(id, &story).into_string())).into_response());
    }
    Ok((vary, Json(StoryView::new(id, &story))).into_response())
}

/// Browsers ask for HTML by name; programs do not.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// What of the orders is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    limit: Option<usize>,
}

/// `GET /orders`: the last ones, newest first.
pub(super) async fn list(
    State(door): State<Door>,
    listing: Result<Query<Listing>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let malformed = |_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("limit is a number up to {MAX_LISTED}"),
        )
    };
    let Query(listing) = listing.map_err(malformed)?;
    let limit = listing.limit.unwrap_or(LISTED).min(MAX_LISTED);
    let newest = door.desk.shop().stories.newest(limit);
    let orders: Vec<_> = newest
        .iter()
        .map(|(id, story)| StoryView::new(*id, story))
        .collect();
    Ok(Json(json!({"complete": door.desk.phase() == Phase::Open, "orders": orders})).into_response())
}
