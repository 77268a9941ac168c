//! What travels: a [`Message`], its [`Timestamp`], and the [`Position`] where it was put.

use crate::headers::{Headers, HeadersError};
use crate::names;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01 UTC.
    #[inline]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[inline]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// What the system's clock says.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// This time plus a duration, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long it is from `earlier` to this time; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis))
            }
        }
    }
}

/// What travels: key, payload, headers, timestamp.
///
/// A message without a payload is a tombstone: on a destination that is compacted by key it says that the key is gone.
/// `Debug` prints sizes, never contents.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    key: Option<Bytes>,
    payload: Option<Bytes>,
    headers: Headers,
    timestamp: Option<Timestamp>,
}

impl Message {
    /// A message with that payload and nothing else.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: Some(payload.into()),
            ..Self::default()
        }
    }

    /// A message for that key without a payload.
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// With a key: messages of one key go to one partition and keep their order.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With a payload, or none.
    #[must_use]
    pub fn with_payload(mut self, payload: Option<Bytes>) -> Self {
        self.payload = payload;
        self
    }

    /// With or without a key.
    #[must_use]
    pub fn with_optional_key(mut self, key: Option<Bytes>) -> Self {
        self.key = key;
        self
    }

    /// With these headers in place of all earlier ones.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// With one more header; an earlier value of that name is replaced.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`].
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, HeadersError> {
        self.headers.set(name, value)?;
        Ok(self)
    }

    /// With a timestamp; otherwise publishing sets it.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Without a timestamp: publishing sets it.
    #[must_use]
    pub fn without_timestamp(mut self) -> Self {
        self.timestamp = None;
        self
    }

    /// With a timestamp if it has none.
    pub(crate) fn default_timestamp(&mut self, timestamp: Timestamp) {
        self.timestamp.get_or_insert(timestamp);
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// The payload; none is a tombstone.
    #[inline]
    pub fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// The headers.
    #[inline]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The headers, to be changed.
    #[inline]
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The timestamp, if one was set.
    #[inline]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Bytes of key, payload and headers together.
    #[inline]
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.payload.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
    }

    /// How much of [`size`](Self::size) the engine's own headers are, which have a reserve of their own:
    /// [`CONTROL_HEADER_RESERVE`](crate::headers::CONTROL_HEADER_RESERVE).
    pub fn added_size(&self) -> usize {
        let added = self.headers.iter().filter(|(name, _)| names::is_added(name));
        added.map(|(name, value)| 6 + name.len() + value.len()).sum()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("payload_bytes", &self.payload.as_ref().map(Bytes::len))
            .field("headers", &self.headers)
            .field("timestamp", &self.timestamp)
            .finish()
    }
}

/// Where a message is: destination, partition, offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    destination: Arc<str>,
    partition: u32,
    offset: u64,
}

impl Position {
    /// A position.
    pub fn new(destination: impl Into<Arc<str>>, partition: u32, offset: u64) -> Self {
        Self {
            destination: destination.into(),
            partition,
            offset,
        }
    }

    /// The topic, exchange or queue on the broker.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The partition in it, from 0.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset in the partition, from 0.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.destination, self.partition, self.offset)
    }
}
