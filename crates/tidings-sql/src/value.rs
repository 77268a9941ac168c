//! Values of statements, the same for every database: [`Value`].

/// A value that is bound to a statement. Each knows its type also when it is absent, which PostgreSQL wants to know.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number.
    Int(i64),
    /// A number or nothing.
    MaybeInt(Option<i64>),
    /// Text.
    Text(&'a str),
    /// Text or nothing.
    MaybeText(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Bytes or nothing.
    MaybeBytes(Option<&'a [u8]>),
    /// Numbers: an array on PostgreSQL, JSON on SQLite.
    Ints(&'a [i64]),
    /// Texts, in the same way.
    Texts(&'a [&'a str]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::MaybeBytes(value)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::MaybeInt(value)
    }
}
