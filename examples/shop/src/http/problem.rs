//! What went wrong, as RFC 9457 says it: `application/problem+json`.

use crate::desk::DeskError;
use crate::order::{FieldError, RequestError};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Seconds after which a client may ask again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer that says what went wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem whose status says enough about its kind.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Self {
            kind: "about:blank",
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// A problem of a kind of its own.
    fn of_kind(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title,
            ..Self::new(status, detail)
        }
    }

    /// For people who came by a form: title, detail, and each mistake with its place.
    pub(super) fn page_parts(&self) -> (&'static str, &str, Vec<(String, String)>) {
        let mistakes = self
            .errors
            .iter()
            .map(|error| (error.pointer.clone(), error.detail.clone()));
        (self.title, &self.detail, mistakes.collect())
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::Syntax(_) => Self::of_kind(
                StatusCode::BAD_REQUEST,
                "urn:problem:not-json",
                "The body is not JSON",
                detail,
            ),
            RequestError::Shape(_) => Self::of_kind(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:problem:not-an-order",
                "The body is not an order",
                detail,
            ),
            RequestError::Invalid(errors) => Self {
                errors,
                ..Self::of_kind(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "urn:problem:invalid-order",
                    "The order cannot be taken",
                    detail,
                )
            },
        }
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let detail = error.to_string();
        match error {
            DeskError::KeyReused(_) => Self::of_kind(
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:problem:key-reused",
                "The key was used before",
                detail,
            ),
            DeskError::Opening | DeskError::CatchingUp => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            DeskError::NotKept(_) | DeskError::NotFound(_) | DeskError::NotSentBack(_) => {
                tracing::warn!("{detail}");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has nothing that JSON cannot say");
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, content_type, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

/// There is no such address.
pub(super) async fn not_found(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

/// There is such an address, for another method.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let (path, method) = (uri.path(), method.as_str());
    let (path, method) = (
        path.get(..200).unwrap_or(path),
        method.get(..20).unwrap_or(method),
    );
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{path} does not do {method}"),
    )
}
