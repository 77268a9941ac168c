//! What is answered when something went wrong: [`Problem`].

use crate::error::{ErrorClass, SqlError, classify};
use crate::outbox::OutboxError;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Postgres, Sqlite};
use std::fmt;
use tidings_core::PublishError;

/// After how many seconds a client may ask again.
const AGAIN_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer that says what went wrong, as RFC 9457 has it (`application/problem+json`).
///
/// Errors of the database become one with `?`: 503 with `Retry-After` where trying again can help, 500 otherwise. What
/// the database said goes into the log and not to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    may_ask_again: bool,
}

impl Problem {
    /// A problem of the program's own: `Problem::new(StatusCode::CONFLICT, "there are no teapots left")`.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            may_ask_again: false,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn of(class: ErrorClass, error: &dyn fmt::Display) -> Self {
        match class {
            ErrorClass::Transient => {
                tracing::warn!(%error, "a request was not done");
                Self {
                    may_ask_again: true,
                    ..Self::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "nothing was done: the database cannot do it now",
                    )
                }
            }
            ErrorClass::Permanent => {
                tracing::error!(%error, "a request could not be done");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "nothing was done")
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<SqlError> for Problem {
    fn from(error: SqlError) -> Self {
        if let SqlError::InDoubt { .. } = error {
            tracing::error!(%error, "it is not known whether a request was done");
            // A client that asks again by itself, as some do after 503, might do it twice.
            return Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the connection to the database was lost, and it is not known whether it was done",
            );
        }
        Self::of(error.class(), &error)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let of_postgres = error
            .as_database_error()
            .is_some_and(|error| error.try_downcast_ref::<PgDatabaseError>().is_some());
        let class = match of_postgres {
            true => classify::<Postgres>(&error),
            false => classify::<Sqlite>(&error),
        };
        Self::of(class, &error)
    }
}

impl From<OutboxError> for Problem {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Sql(error) => error.into(),
            OutboxError::Publish(error) => error.into(),
        }
    }
}

/// The event or its channel is at fault.
impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        Self::of(ErrorClass::Permanent, &error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.may_ask_again {
            headers.insert(RETRY_AFTER, AGAIN_AFTER);
        }
        response
    }
}
