//! HTTP handlers that write to a database and publish in one commit (feature `axum`): [`InTx`], [`Work`], [`Answered`],
//! [`Problem`].
//!
//! ```
//! use axum::http::StatusCode;
//! use axum::routing::post;
//! use axum::{Json, Router};
//! use tidings_core::{Event, JsonCodec};
//! use tidings_sql::http::{Answered, InTx, Problem};
//! use tidings_sql::{Outbox, sqlx};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct OrderPlaced {
//!     id: String,
//! }
//!
//! impl Event for OrderPlaced {
//!     const NAME: &'static str = "order.placed";
//!     type Codec = JsonCodec;
//! }
//!
//! async fn place(
//!     InTx(mut work, Json(order)): InTx<sqlx::Sqlite, Json<OrderPlaced>>,
//! ) -> Result<Answered<StatusCode>, Problem> {
//!     sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(&order.id).execute(&mut *work).await?;
//!     work.publish("orders", &order).await?;
//!     work.commit(StatusCode::CREATED).await
//! }
//!
//! fn routes(outbox: Outbox<sqlx::Sqlite>) -> Router {
//!     Router::new().route("/orders", post(place)).with_state(outbox)
//! }
//! ```
//!
//! # The commit comes before the answer
//! It is the handler that commits, by the answer that it gives: a handler that returns [`Answered`] has none before the
//! commit, and does not compile without one. A layer that commits whatever is answered with 2xx was rejected: it can be
//! forgotten, and it is not seen where the work is done.

mod problem;
mod work;

pub use problem::Problem;
pub use work::{Answered, InTx, Work};
