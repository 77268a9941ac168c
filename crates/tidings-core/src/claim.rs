//! Payloads that are too large to travel: the message carries a [`Claim`], a [`ClaimStore`] keeps the payload.

use crate::BoxFuture;
use crate::failure::{Failure, FailureKind};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What the reference in a message begins with.
const VERSION: &str = "1";
/// The longest id of a store.
const MAX_ID_BYTES: usize = 249;

/// A reference to a payload that lies in a store: which store, how large it is, and the SHA-256 of its bytes, which is
/// also the object's name there.
///
/// It stands in a header that anybody may have written, so it says nothing that could lead elsewhere: a name is 64
/// hexadecimal digits and nothing else, and who does not know a payload does not know its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    store: Arc<str>,
    size: u64,
    digest: [u8; 32],
}

impl Claim {
    /// A reference to a payload of that size and SHA-256 in that store.
    pub fn new(store: impl Into<Arc<str>>, size: u64, digest: [u8; 32]) -> Self {
        Self {
            store: store.into(),
            size,
            digest,
        }
    }

    /// Whether a text can be the id of a store: letters, digits, `.`, `_` and `-`, at most 249 of them, as the name of
    /// a Kafka topic.
    pub fn is_store_id(id: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(allowed)
    }

    /// Reads the header's value. None if it is anything else than what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (version, store) = (parts.next()?, parts.next()?);
        let (size, digits) = (parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && version == VERSION && Self::is_store_id(store);
        let claim = Self::new(store, size.parse().ok()?, digest(digits)?);
        // One text for each claim: no sign, no zero in front.
        (whole && claim.to_string() == text).then_some(claim)
    }

    /// The id of the store.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The size of the payload in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the payload.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The name of the object: the SHA-256 as 64 lower-case hexadecimal digits.
    pub fn name(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION} {} {} {}", self.store, self.size, self.name())
    }
}

/// Where payloads are kept that are too large to travel. One for a directory is in `tidings-claims`; one for an object
/// store is a few lines around its client.
///
/// The engine calls [`put`](Self::put) before it publishes the message, and checks size and SHA-256 of what
/// [`get`](Self::get) returns. Nothing is ever deleted by the engine: it does not know who still reads a message.
pub trait ClaimStore: Send + Sync + fmt::Debug + 'static {
    /// What it is called in messages: the same in every service that shares it. See [`Claim::is_store_id`].
    fn id(&self) -> &str;

    /// Where it is, for people.
    fn place(&self) -> String;

    /// Keeps a payload under [`Claim::name`], so that it outlives a crash, before the future resolves. One of that name
    /// may be there already: it becomes as young as this one.
    fn put<'a>(&'a self, claim: &'a Claim, payload: Bytes) -> BoxFuture<'a, Result<(), ClaimError>>;

    /// The payload of that name. It need not be checked, except that it must not be read if it is larger than
    /// [`Claim::size`].
    fn get<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<Bytes, ClaimError>>;
}

/// Why a payload could not be put into a store, or not be had from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// It is not there.
    #[error(
        "the claim store \"{store}\" has no {name}: the payload was removed before the message was handled, or this is \
         another place than where it was put"
    )]
    Missing {
        /// The store.
        store: String,
        /// The object's name.
        name: String,
    },
    /// It is there, and is not what was put there.
    #[error(
        "{name} in the claim store \"{store}\" is damaged: {reason}; restore it and send the dead letter back"
    )]
    Corrupt {
        /// The store.
        store: String,
        /// The object's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The reference in the message is none.
    #[error(
        "the header \"{}\" is no reference to a payload: who wrote it?",
        crate::names::CLAIM
    )]
    Malformed,
    /// The app does not know the store.
    #[error(
        "the payload is in the claim store \"{store}\", and this app has {known:?}: give the channel that store \
         (`claim_store`) and send the dead letter back"
    )]
    UnknownStore {
        /// The store that the message names.
        store: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It is larger than what is allowed.
    #[error("a payload of {size} bytes is more than claim_max_bytes, which is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The store cannot be reached now; trying again may help.
    #[error("the claim store \"{store}\" does not answer: {reason}")]
    Unavailable {
        /// The store.
        store: String,
        /// Why.
        reason: String,
    },
    /// The store refuses for good.
    #[error("the claim store \"{store}\" refuses: {reason}")]
    Refused {
        /// The store.
        store: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl ClaimError {
    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unavailable { .. })
    }

    /// As the failure of a handling: [`FailureKind::Unclaimed`] where trying again cannot help.
    pub fn into_failure(self) -> Failure {
        let kind = match self.is_permanent() {
            true => FailureKind::Unclaimed,
            false => FailureKind::Transient,
        };
        Failure::new(kind, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn what_could_lead_elsewhere_is_no_claim() {
        let good = format!("1 scans 7 {NAME}");
        assert_eq!(Claim::parse(&good).unwrap().name(), NAME);
        for bad in [
            format!("2 scans 7 {NAME}"),
            format!("1 ../scans 7 {NAME}"),
            format!("1 scans/x 7 {NAME}"),
            format!("1  7 {NAME}"),
            format!("1 scans +7 {NAME}"),
            format!("1 scans 07 {NAME}"),
            format!("1 scans -7 {NAME}"),
            format!("1 scans 7 {NAME} more"),
            format!("1 scans 7 {}", NAME.to_uppercase()),
            format!("1 scans 7 ../{}", &NAME[3..]),
            format!("1 scans 7 {}", &NAME[1..]),
            "1 scans 7 /etc/passwd".to_owned(),
            String::new(),
        ] {
            assert_eq!(Claim::parse(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_claim_is_read_as_it_was_written(store in "[a-zA-Z0-9._-]{1,60}", size: u64, digest: [u8; 32]) {
            let claim = Claim::new(store, size, digest);
            prop_assert_eq!(Claim::parse(&claim.to_string()), Some(claim));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,120}") {
            let _ = Claim::parse(&text);
        }
    }
}
