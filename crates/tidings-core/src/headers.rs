//! Headers of a message: an ordered list of names and values in one contiguous, immutable block.
//!
//! A block is a run of entries, each `name length (u16, little endian), name, value length (u32, little endian),
//! value`. Reading needs no allocation, and a message that was read from a log shares its block with the batch that
//! it arrived in. Nothing in a block is trusted: reading stops at the first entry that does not fit.

use bytes::Bytes;
use std::fmt;

/// The most bytes that the headers of one message may take: 64 KiB.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// What the engine may add to the headers of a message that it parks or puts to the dead letters: 4 KiB, beyond
/// [`MAX_HEADER_BYTES`] and beyond a broker's limit of message size, so that no message is too large for the dead
/// letters.
pub const CONTROL_HEADER_RESERVE: usize = 4 * 1024;

/// The headers of a message.
///
/// Names are UTF-8 and compared exactly; values are bytes. [`set`](Headers::set) replaces, so headers do not grow
/// when a message is retried.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    block: Bytes,
}

/// Why a header block or a header was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadersError {
    /// The block ends inside an entry, or a name is not UTF-8.
    #[error(
        "the header block is malformed at byte {offset}: it was not written by this library, or it was damaged"
    )]
    Malformed {
        /// Where reading stopped, in bytes from the start of the block.
        offset: usize,
    },
    /// The headers would be larger than [`MAX_HEADER_BYTES`].
    #[error("the headers take {size} bytes, the limit is {limit}: put large values into the payload")]
    TooLarge {
        /// Size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a block, after checking that it can be read to its end.
    ///
    /// # Errors
    /// [`HeadersError::Malformed`] with the place, [`HeadersError::TooLarge`] beyond the limit.
    pub fn from_block(block: Bytes) -> Result<Self, HeadersError> {
        check_size(block.len(), MAX_HEADER_BYTES + CONTROL_HEADER_RESERVE)?;
        let mut view = HeaderView::new(&block);
        while view.next().is_some() {}
        match view.rest.len() {
            0 => Ok(Self { block }),
            unread => Err(HeadersError::Malformed {
                offset: block.len() - unread,
            }),
        }
    }

    /// Takes over a block that was checked before; what cannot be read of it is treated as absent.
    pub(crate) fn from_trusted_block(block: Bytes) -> Self {
        Self { block }
    }

    /// The block itself.
    #[inline]
    pub fn as_block(&self) -> &[u8] {
        &self.block
    }

    /// A cheap view that reads this block.
    pub fn view(&self) -> HeaderView<'_> {
        HeaderView::new(&self.block)
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.view().find_value(name)
    }

    /// The first value of that name if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Names and values in order.
    pub fn iter(&self) -> HeaderView<'_> {
        self.view()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The size of the block in bytes.
    #[inline]
    pub fn size(&self) -> usize {
        self.block.len()
    }

    /// Sets a header; an earlier value of that name is replaced.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`]; the headers are then unchanged.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), HeadersError> {
        self.edit(|writer| writer.set(name, value))
    }

    /// Changes several headers with one copy of the block.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`] when the result is too large; the headers are then unchanged.
    pub fn edit<F>(&mut self, change: F) -> Result<(), HeadersError>
    where
        F: FnOnce(HeaderWriter) -> HeaderWriter,
    {
        *self = change(HeaderWriter::from_headers(self)).finish()?;
        Ok(())
    }

    /// These headers and then those, in one block that is written once and has no byte to spare.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`].
    pub(crate) fn extended(&self, added: &[(&str, &[u8])]) -> Result<Self, HeadersError> {
        let entry = |(name, value): &(&str, &[u8])| 2 + name.len() + 4 + value.len();
        let size = self.size() + added.iter().map(entry).sum::<usize>();
        check_size(size, MAX_HEADER_BYTES)?;
        let mut writer = HeaderWriter::with_capacity(size);
        writer.block.extend_from_slice(&self.block);
        for (name, value) in added {
            writer = writer.append(name, value);
        }
        writer.finish()
    }

    /// These headers and then those of a whole block.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`].
    pub(crate) fn followed_by(&self, block: &[u8]) -> Result<Self, HeadersError> {
        let size = self.size() + block.len();
        check_size(size, MAX_HEADER_BYTES)?;
        let mut whole = Vec::with_capacity(size);
        whole.extend_from_slice(&self.block);
        whole.extend_from_slice(block);
        Ok(Self { block: whole.into() })
    }

    /// Keeps only the headers that the predicate accepts.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if self.iter().all(|(name, _)| keep(name)) {
            return;
        }
        let mut writer = HeaderWriter::with_capacity(self.size());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            writer = writer.append(name, value);
        }
        self.block = writer.block.into();
    }
}

fn check_size(size: usize, limit: usize) -> Result<(), HeadersError> {
    if size > limit {
        return Err(HeadersError::TooLarge { size, limit });
    }
    Ok(())
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|(name, value)| format!("{name} ({} bytes)", value.len())),
            )
            .finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = HeaderView<'a>;
    fn into_iter(self) -> HeaderView<'a> {
        self.view()
    }
}

/// Reads a header block in place. An iterator over names and values that ends at the first malformed entry.
#[derive(Clone, Copy)]
pub struct HeaderView<'a> {
    rest: &'a [u8],
}

impl<'a> HeaderView<'a> {
    /// A view of a block.
    pub fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    /// The first value of that name.
    pub fn find_value(mut self, name: &str) -> Option<&'a [u8]> {
        loop {
            let (found, value, rest) = entry(self.rest)?;
            if found == name.as_bytes() {
                return Some(value);
            }
            self.rest = rest;
        }
    }

    /// Names and values as bytes: for who writes them elsewhere and needs no text. It ends at the first entry that is
    /// not whole.
    pub fn raw(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut block = self.rest;
        std::iter::from_fn(move || {
            let (name, value, rest) = entry(block)?;
            block = rest;
            Some((name, value))
        })
    }

    /// The first value of that name if it is UTF-8.
    pub fn find_str(self, name: &str) -> Option<&'a str> {
        self.find_value(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }
}

impl fmt::Debug for HeaderView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderView({} bytes)", self.rest.len())
    }
}

impl<'a> Iterator for HeaderView<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value, rest) = entry(self.rest)?;
        let name = std::str::from_utf8(name).ok()?;
        self.rest = rest;
        Some((name, value))
    }
}

/// Name, value and what follows; nothing when the block ends or does not hold a whole entry.
fn entry(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, rest) = block.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_length) as usize)?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    Some((name, value, rest))
}

/// Writes a header block.
#[derive(Debug, Default)]
pub struct HeaderWriter {
    block: Vec<u8>,
    too_large: bool,
}

/// Writes a header behind others; false, and nothing is written, if it is larger than any can be.
#[inline]
pub(crate) fn write(block: &mut Vec<u8>, name: &str, value: &[u8]) -> bool {
    let (Ok(name_length), Ok(value_length)) = (u16::try_from(name.len()), u32::try_from(value.len())) else {
        return false;
    };
    block.extend_from_slice(&name_length.to_le_bytes());
    block.extend_from_slice(name.as_bytes());
    block.extend_from_slice(&value_length.to_le_bytes());
    block.extend_from_slice(value);
    true
}

impl HeaderWriter {
    /// A writer with room for that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            block: Vec::with_capacity(bytes),
            too_large: false,
        }
    }

    /// A writer that starts with a copy of these headers and room for some more.
    pub fn from_headers(headers: &Headers) -> Self {
        let mut writer = Self::with_capacity(headers.size() + 256);
        writer.block.extend_from_slice(&headers.block);
        writer
    }

    /// Whether a header of that name was written.
    pub fn contains(&self, name: &str) -> bool {
        HeaderView::new(&self.block).find_value(name).is_some()
    }

    /// Adds a header without looking for an earlier one.
    #[must_use]
    pub fn append(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.too_large |= !write(&mut self.block, name, value.as_ref());
        self
    }

    /// Adds a header unless there is one of that name.
    #[must_use]
    pub fn or_append(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if self.contains(name) {
            self
        } else {
            self.append(name, value)
        }
    }

    /// Sets a header; an earlier value of that name is replaced.
    #[must_use]
    pub fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.remove(name).append(name, value)
    }

    /// Removes the headers of that name.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        if self.contains(name) {
            let mut kept = Vec::with_capacity(self.block.capacity());
            let mut rest = self.block.as_slice();
            while let Some((found, _, after)) = entry(rest) {
                if found != name.as_bytes() {
                    kept.extend_from_slice(&rest[..rest.len() - after.len()]);
                }
                rest = after;
            }
            self.block = kept;
        }
        self
    }

    /// The finished headers.
    ///
    /// # Errors
    /// [`HeadersError::TooLarge`].
    pub fn finish(self) -> Result<Headers, HeadersError> {
        let size = if self.too_large {
            usize::MAX
        } else {
            self.block.len()
        };
        check_size(size, MAX_HEADER_BYTES)?;
        Ok(Headers {
            block: self.block.into(),
        })
    }

    /// The finished headers of a message that was received and goes elsewhere: what another system published may be
    /// larger than the limit here, and is kept.
    #[must_use]
    pub fn finish_received(self) -> Headers {
        Headers {
            block: self.block.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_value_replaces_an_earlier_one() {
        let mut headers = Headers::new();
        headers.set("a", "1").unwrap();
        headers.set("b", "2").unwrap();
        headers.set("a", "3").unwrap();
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("b", b"2".as_slice()), ("a", b"3".as_slice())]);
    }

    #[test]
    fn headers_beyond_the_limit_are_refused_and_change_nothing() {
        let mut headers = Headers::new();
        headers.set("a", "1").unwrap();
        let refused = headers.set("big", vec![0; MAX_HEADER_BYTES]);
        assert!(matches!(refused, Err(HeadersError::TooLarge { .. })));
        assert_eq!(headers.get_str("a"), Some("1"));
        assert_eq!(headers.get("big"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in prop::collection::vec((".{0,20}", prop::collection::vec(any::<u8>(), 0..50)), 0..20)) {
            let mut writer = HeaderWriter::default();
            for (name, value) in &entries {
                writer = writer.append(name, value);
            }
            let headers = writer.finish().unwrap();
            let again = Headers::from_block(Bytes::copy_from_slice(headers.as_block())).unwrap();
            let read: Vec<_> = again.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in prop::collection::vec(any::<u8>(), 0..200), name in ".{0,5}") {
            let _ = HeaderView::new(&block).find_value(&name);
            let read = HeaderView::new(&block).count();
            let checked = Headers::from_block(block.into());
            if let Ok(headers) = checked {
                prop_assert_eq!(headers.iter().count(), read);
            }
        }
    }
}
