//! What the buttons of the page do.

use super::orders::wants_page;
use super::{Door, Problem, body};
use crate::domain::OrderId;
use crate::order::{OrderRequest, RequestItem};
use crate::page;
use crate::service::Service;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use serde_json::json;
use std::collections::HashMap;

/// A form's answer: for the script what to say, for a browser without it where to go.
struct Done {
    said: String,
    place: String,
}

/// Answers a form in the way in which it was sent.
fn answer(headers: &HeaderMap, done: Result<Done, Problem>) -> Response {
    match (done, wants_page(headers)) {
        (Ok(done), true) => Redirect::to(&done.place).into_response(),
        (Ok(done), false) => Json(json!({"said": done.said, "place": done.place})).into_response(),
        (Err(problem), true) => {
            let (title, detail, mistakes) = problem.page_parts();
            let page = page::problem(title, detail, &mistakes);
            (problem.status(), Html(page.into_string())).into_response()
        }
        (Err(problem), false) => problem.into_response(),
    }
}

/// The fields of a form, each once.
async fn fields(headers: &HeaderMap, body: Body) -> Result<HashMap<String, String>, Problem> {
    let sent = body::read(body).await?;
    let is_form = body::is_of_type(headers, "application/x-www-form-urlencoded");
    if !is_form && !sent.is_empty() {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the form as application/x-www-form-urlencoded",
        ));
    }
    Ok(form_urlencoded::parse(&sent).into_owned().collect())
}

/// `POST /place`: the order form.
pub(super) async fn place(State(door): State<Door>, headers: HeaderMap, body: Body) -> Response {
    let placed = async {
        let mut fields = fields(&headers, body).await?;
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        // What is not a number is no quantity either; the check says so at the right place.
        let item = RequestItem {
            sku: field("sku"),
            quantity: field("quantity").trim().parse().unwrap_or(0),
        };
        let request = OrderRequest {
            customer: field("customer"),
            items: vec![item],
            card: field("card"),
        };
        let order = request.into_order()?;
        let id = order.id;
        door.desk.place(order, None).await?;
        Ok(Done {
            said: format!("Order {} is placed.", id.short()),
            place: format!("/orders/{id}"),
        })
    };
    let placed = placed.await;
    answer(&headers, placed)
}

/// `POST /crowd`: a hundred customers.
pub(super) async fn crowd(State(door): State<Door>, headers: HeaderMap) -> Response {
    let said = if door.crowd.let_in(&door.desk) {
        "A hundred customers are coming in."
    } else {
        "There is a crowd in the shop already."
    };
    answer(
        &headers,
        Ok(Done {
            said: said.to_owned(),
            place: "/".to_owned(),
        }),
    )
}

/// `POST /bank/up` and `POST /bank/down`.
pub(super) async fn bank(
    State(door): State<Door>,
    Path(state): Path<String>,
    headers: HeaderMap,
) -> Response {
    let bank = &door.desk.shop().bank;
    let done = match state.as_str() {
        "up" => {
            bank.come_back();
            Ok("The bank answers again.")
        }
        "down" => {
            bank.go_away();
            Ok("The bank does not answer any more.")
        }
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "the bank is up or down")),
    };
    answer(
        &headers,
        done.map(|said| Done {
            said: said.to_owned(),
            place: "/".to_owned(),
        }),
    )
}

/// `POST /dead-letters/redrive`: those of a `service` and an `order`, of a `service`, or all.
pub(super) async fn redrive(State(door): State<Door>, headers: HeaderMap, body: Body) -> Response {
    let sent = async {
        let fields = fields(&headers, body).await?;
        let (services, order) = selection(&door, &fields)?;
        let mut count = 0;
        for service in services {
            count += door.desk.send_back(service, order).await?;
        }
        let said = match count {
            0 => "There was nothing to send back.".to_owned(),
            1 => "One dead letter was sent back.".to_owned(),
            count => format!("{count} dead letters were sent back."),
        };
        Ok(Done {
            said,
            place: "/".to_owned(),
        })
    };
    let sent = sent.await;
    answer(&headers, sent)
}

fn selection(
    door: &Door,
    fields: &HashMap<String, String>,
) -> Result<(Vec<Service>, Option<OrderId>), Problem> {
    let wrong = |detail: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let order = fields
        .get("order")
        .map(|order| order.parse::<OrderId>())
        .transpose();
    let order = order.map_err(|error| wrong(&error.to_string()))?;
    let services = match fields.get("service") {
        Some(name) => vec![Service::named(name).ok_or_else(|| wrong("there is no such service"))?],
        None => {
            let overview = door.desk.shop().stories.overview();
            Service::ALL
                .into_iter()
                .filter(|service| overview.dead_letters(*service) > 0)
                .collect()
        }
    };
    Ok((services, order))
}
