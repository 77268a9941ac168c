//! A reply that says that there is none: the other side gave the request up.

use super::error::RequestError;
use crate::headers::HeadersError;
use crate::message::Message;
use crate::names;

/// The most bytes that are believed of each word in it: it may come from anybody.
const MAX_BYTES: usize = 1_024;

/// Makes a message the reply of a subscription that gave the request up.
pub(super) fn write(
    message: &mut Message,
    subscription: &str,
    reason: &str,
    error: &str,
) -> Result<(), HeadersError> {
    message.headers_mut().edit(|writer| {
        writer
            .set(names::SUBSCRIPTION, bounded(subscription))
            .set(names::REASON, bounded(reason))
            .set(names::ERROR, bounded(error))
    })
}

/// What a reply says of the request's end; none if it is an answer.
pub(super) fn read(reply: &Message) -> Option<RequestError> {
    let headers = reply.headers();
    let word = |name| {
        let word = headers.get(name).map(String::from_utf8_lossy);
        word.map_or(String::new(), |word| bounded(&word).to_owned())
    };
    headers.get(names::REASON)?;
    Some(RequestError::Failed {
        subscription: word(names::SUBSCRIPTION),
        reason: word(names::REASON),
        error: word(names::ERROR),
    })
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
