//! Reading bytes that somebody else wrote: [`Input`]. Every step is checked, and none panics.

use bytes::Bytes;

/// What is wrong with bytes of the replication protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it ends too early, in {0}")]
    Short(&'static str),
    #[error("the kind {kind:?} of {what} is not known")]
    Kind { what: &'static str, kind: char },
    #[error("a length of {0} cannot be")]
    Length(i64),
    #[error("a row of the outbox lacks {0}, or has something else in its place")]
    Lacks(&'static str),
}

/// What is still to be read. Texts and values share its memory.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    rest: Bytes,
    /// What it is, for errors.
    what: &'static str,
}

impl Input {
    pub(crate) fn new(rest: Bytes, what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        match self.rest.len() >= length {
            true => Ok(self.rest.split_to(length)),
            false => Err(Unreadable::Short(self.what)),
        }
    }

    pub(crate) fn skip(&mut self, length: usize) -> Result<(), Unreadable> {
        self.take(length).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (&taken, _) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Unreadable::Short(self.what))?;
        bytes::Buf::advance(&mut self.rest, N);
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length, which must not be negative.
    pub(crate) fn length(&mut self) -> Result<usize, Unreadable> {
        let length = self.array().map(i32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| Unreadable::Length(length.into()))
    }

    /// Bytes up to a zero, which is gone too.
    pub(crate) fn until_zero(&mut self) -> Result<Bytes, Unreadable> {
        let end = self.rest.iter().position(|byte| *byte == 0);
        let text = self.take(end.ok_or(Unreadable::Short(self.what))?)?;
        self.skip(1)?;
        Ok(text)
    }
}
