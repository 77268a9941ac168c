//! Collecting the records of one append.

use crate::error::LogError;
use crate::format::frame::{self, FrameHeader};
use crate::format::record::Parts;
use std::fmt;

/// Records that are appended together, in one write and under one checksum.
///
/// It belongs to the caller and keeps its memory when it is cleared: in the steady state nothing is allocated.
pub struct FrameBuilder {
    /// Room for the header, then the records as they stand in the file.
    buffer: Vec<u8>,
    count: u32,
    first_timestamp: i64,
    max_timestamp: i64,
    limit: u32,
}

impl FrameBuilder {
    /// An empty frame that takes up to `max_frame_bytes`, at most 1 GiB. Nothing is allocated yet.
    pub fn new(max_frame_bytes: u32) -> Self {
        Self {
            buffer: Vec::new(),
            count: 0,
            first_timestamp: 0,
            max_timestamp: i64::MIN,
            limit: max_frame_bytes.min(frame::MOST_BYTES),
        }
    }

    /// Adds a record. No key is not an empty key, and no payload is not an empty payload. `headers` is a block of
    /// bytes that the log does not look into. The timestamp is in milliseconds since 1970.
    ///
    /// # Errors
    /// [`LogError::FrameFull`] when it fits after the frame was appended, [`LogError::TooLarge`] when it never fits.
    /// The frame is unchanged then.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        headers: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<(), LogError> {
        let first = if self.count == 0 {
            timestamp_ms
        } else {
            self.first_timestamp
        };
        let parts = Parts {
            delta: timestamp_ms.wrapping_sub(first),
            key,
            headers,
            payload,
        };
        let most = parts.most();
        // Exactly only where it matters: near the limit.
        if self.bytes() + most > self.limit as usize && self.bytes() + parts.size() > self.limit as usize {
            return Err(self.refuse(parts));
        }
        if self.buffer.is_empty() {
            self.buffer.resize(frame::LEN, 0);
        }
        self.buffer.reserve(most);
        parts.encode(&mut self.buffer);
        self.first_timestamp = first;
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.count += 1;
        Ok(())
    }

    fn refuse(&self, parts: Parts<'_>) -> LogError {
        let limit = u64::from(self.limit);
        let alone = (frame::LEN + Parts { delta: 0, ..parts }.size()) as u64;
        if alone > limit {
            return LogError::TooLarge { size: alone, limit };
        }
        let size = (self.bytes() + parts.size()) as u64;
        LogError::FrameFull { size, limit }
    }

    /// How many records it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes an append will write.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.buffer.len().max(frame::LEN)
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.count = 0;
        self.max_timestamp = i64::MIN;
    }

    /// Gives back memory beyond so many bytes, after a frame that was larger than usual.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.buffer.shrink_to(bytes);
    }

    /// Checksums the records; the rest of the header depends on where the frame will stand. None when empty.
    pub(crate) fn header(&self) -> Option<FrameHeader> {
        let body = self.buffer.get(frame::LEN..).filter(|body| !body.is_empty())?;
        Some(FrameHeader {
            body_crc: crc32c::crc32c(body),
            body_len: body.len() as u32,
            base: 0,
            count: self.count,
            layout: frame::Layout::Dense,
            first_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            synced: 0,
        })
    }

    /// Puts the header in its place and gives the bytes to write.
    pub(crate) fn finish(&mut self, header: &FrameHeader, seed: u32) -> &[u8] {
        header.encode(seed, &mut self.buffer);
        &self.buffer
    }
}

impl Default for FrameBuilder {
    /// With the default limit of 16 MiB.
    fn default() -> Self {
        Self::new(crate::LogOptions::default().max_frame_bytes)
    }
}

impl fmt::Debug for FrameBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBuilder")
            .field("records", &self.count)
            .field("bytes", &self.bytes())
            .field("limit", &self.limit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_frame_is_told_apart_from_a_record_that_never_fits() {
        let mut frame = FrameBuilder::new(156);
        frame.push(1, None, b"", Some(&[7; 60])).unwrap();
        let before = frame.bytes();
        let full = frame.push(2, None, b"", Some(&[7; 60])).unwrap_err();
        assert!(
            matches!(
                full,
                LogError::FrameFull {
                    limit: 156,
                    size: 184
                }
            ),
            "{full}"
        );
        let never = frame.push(2, None, b"", Some(&[7; 97])).unwrap_err();
        assert!(
            matches!(
                never,
                LogError::TooLarge {
                    limit: 156,
                    size: 157
                }
            ),
            "{never}"
        );
        assert_eq!((frame.len(), frame.bytes()), (1, before));
        frame.clear();
        frame.push(2, None, b"", Some(&[7; 96])).unwrap();
        assert_eq!(frame.bytes(), 156);
    }

    #[test]
    fn debug_shows_sizes_and_no_payload() {
        let mut frame = FrameBuilder::default();
        frame
            .push(1, Some(b"secret"), b"secret", Some(b"secret"))
            .unwrap();
        let shown = format!("{frame:?}");
        assert!(
            shown.contains("records: 1") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
