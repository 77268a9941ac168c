//! How a request becomes a call and its result an answer.

use super::Shared;
use crate::error::ManageError;
use crate::wire::error::WireError;
use crate::wire::json::encode;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The body of a request, if it is not too large and came to its end.
pub(super) type Received = Result<Bytes, BytesRejection>;

pub(super) const TOO_LARGE: &str =
    "the request is larger than manage.request_bytes; send less at once, or raise it";

/// A call: JSON in, JSON out.
pub(super) fn call<Q, A, W, F>(work: W) -> MethodRouter<Arc<Shared>>
where
    Q: DeserializeOwned + Send,
    A: Serialize,
    W: Fn(Arc<Shared>, Q) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<A, ManageError>> + Send,
{
    post(async move |State(shared): State<Arc<Shared>>, body: Received| {
        let request = match parse::<Q>(body) {
            Ok(request) => request,
            Err(refused) => return refused,
        };
        match work(shared, request).await {
            Ok(answer) => json(StatusCode::OK, &answer),
            Err(error) => failed(error),
        }
    })
}

/// The request in a body of JSON.
#[expect(
    clippy::result_large_err,
    reason = "the answer is what is wanted in place of the request"
)]
pub(super) fn parse<Q: DeserializeOwned>(body: Received) -> Result<Q, Response> {
    let body = whole(body)?;
    serde_json::from_slice(&body).map_err(|error| {
        refuse(
            StatusCode::BAD_REQUEST,
            &format!("the request is not understood: {error}; use the version of the tool that belongs to the service"),
        )
    })
}

/// The body, or the answer that says what is wrong with it.
#[expect(clippy::result_large_err, reason = "as above")]
pub(super) fn whole(body: Received) -> Result<Bytes, Response> {
    body.map_err(|rejected| {
        let status = rejected.status();
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => refuse(status, TOO_LARGE),
            _ => refuse(status, "the request ended before it was complete"),
        }
    })
}

/// What the service could not do.
pub(super) fn failed(error: ManageError) -> Response {
    json(StatusCode::UNPROCESSABLE_ENTITY, &WireError::from(error))
}

/// What is not even looked at.
pub(super) fn refuse(status: StatusCode, reason: &str) -> Response {
    let reason = reason.to_owned();
    json(status, &WireError::Refused { reason })
}

/// The answer to every other path.
pub(super) async fn no_such_path() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "this version has no such request; use the version of the tool that belongs to the service",
    )
}

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match encode(value) {
        Ok(bytes) => typed(status, "application/json", bytes.into()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

pub(super) fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
