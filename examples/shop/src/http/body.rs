//! Reading a request's body: bounded in bytes and in time.

use super::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::time::Duration;

/// A hundred items with long names fit several times.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How much more is read and thrown away. A client that is still sending does not read: an answer in the middle of
/// its body would be lost with the connection.
const MAX_DISCARDED: usize = 8 * 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(READ_TIMEOUT, read_bounded(body)).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come within 10 s",
        )),
    }
}

async fn read_bounded(mut body: Body) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        received = received.saturating_add(data.len());
        if received <= MAX_BODY {
            kept.extend_from_slice(&data);
        } else if received > MAX_DISCARDED {
            break;
        }
    }
    if received > MAX_BODY {
        let detail = format!("a body has {MAX_BODY} bytes at the most");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(kept.freeze())
}

/// Whether the media type is that one; parameters such as the character set do not matter.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let found = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}
