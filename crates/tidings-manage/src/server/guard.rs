//! Who may ask: [`guard`] lets a request through that comes from this machine, from no browser, with the token.

use super::Shared;
use super::calls::{TOO_LARGE, refuse};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, ORIGIN};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::Arc;

/// Refuses what may not ask, and what takes too long to be answered.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if let Err(refused) = check(&shared, request.uri(), request.headers()) {
        tracing::debug!("refused a management request: {}", refused.1);
        return refuse(refused.0, refused.1);
    }
    if announced(request.headers()) > shared.options.request_bytes as u64 {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE);
    }
    let timeout = shared.options.request_timeout;
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(
            StatusCode::REQUEST_TIMEOUT,
            "the request took longer than manage.request_timeout; ask for less at once",
        ),
    }
}

fn check(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err((StatusCode::FORBIDDEN, "browsers have no business here"));
    }
    if !is_for_us(shared.address, uri, headers) {
        return Err((
            StatusCode::FORBIDDEN,
            "the request is for another host; ask at the address in manage.json",
        ));
    }
    match token(headers) {
        Some(token) if shared.token.is(token) => Ok(()),
        _ => Err((
            StatusCode::UNAUTHORIZED,
            "the token is not that of this process; read manage.json again",
        )),
    }
}

/// How long the body is said to be; one that does not say so is counted while it comes.
fn announced(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// A web page can make a name of its own lead here, but it cannot make a browser say another host than that name.
fn is_for_us(address: SocketAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_ours = |host: &str| {
        host.rsplit_once(':').is_some_and(|(name, port)| {
            (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
                && port.parse() == Ok(address.port())
        })
    };
    let mut hosts = headers.get_all(HOST).iter();
    let named = hosts
        .next()
        .and_then(|host| host.to_str().ok())
        .is_some_and(is_ours);
    let alone = hosts.next().is_none();
    let by_uri = uri
        .authority()
        .is_none_or(|authority| is_ours(authority.as_str()));
    named && alone && by_uri
}

fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() {
        return None;
    }
    value.strip_prefix(b"Bearer ")
}
