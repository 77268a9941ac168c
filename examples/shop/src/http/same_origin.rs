//! Forms that change something are taken from the shop's own pages only.
//!
//! A page of another site can send a form here with the visitor's browser. Browsers say where a request comes from:
//! `Sec-Fetch-Site`, or `Origin` in older ones. Programs such as curl send neither, and have no visitor to deceive.

use super::Problem;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) async fn required(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        next.run(request).await
    } else {
        Problem::new(StatusCode::FORBIDDEN, "forms of other sites are not taken").into_response()
    }
}

fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or_default())
    };
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text(header::ORIGIN.as_str()) {
        None => true,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(header::HOST.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shops_own_pages_and_programs_may_send_forms() {
        for (headers, own) in [
            (&[("host", "shop:1")][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://shop:1"),
                    ("host", "shop:1"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://shop:1"), ("host", "shop:1")], true),
            (&[("origin", "http://evil:1"), ("host", "shop:1")], false),
            (&[("origin", "null"), ("host", "shop:1")], false),
            (&[("origin", "null")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_own(&map), own, "{headers:?}");
        }
    }
}
