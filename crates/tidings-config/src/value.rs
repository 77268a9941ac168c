//! A value that has been checked against its record: [`Value`].

use crate::human::{format_bytes, format_duration, format_rate};
use crate::origin::Origin;
use crate::partitions::Partitions;
use crate::redact::{HIDDEN, Secret, shorten, show};
use crate::start::Start;
use crate::url::BinderUrl;
use std::time::Duration;

/// A value that has been checked against its record. It has no `Debug`, so that no secret is printed by accident.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Url(BinderUrl),
    Switch(bool),
    Integer(u64),
    Number(f64),
    Duration(Duration),
    Bytes(u64),
    Rate(f64),
    Choice(&'static str),
    Start(Start),
    Partitions(Partitions),
    /// `none`: no limit.
    None,
    /// A property of a client. Nobody here knows which of them are secrets.
    Property(Secret),
}

impl Value {
    /// The value for people, without what may be a secret. `key` is the last part of its key.
    pub(crate) fn shown(&self, key: &str, origin: &Origin) -> String {
        match self {
            Self::Url(url) => shorten(&url.to_string()),
            _ if origin.is_secret() => HIDDEN.to_owned(),
            Self::Text(text) => shorten(text),
            Self::Property(text) => show(key, text.expose()),
            Self::Switch(on) => on.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Number(number) => format!("{number:?}"),
            Self::Duration(duration) => format_duration(*duration),
            Self::Bytes(bytes) => format_bytes(*bytes),
            Self::Rate(rate) => format_rate(*rate),
            Self::Choice(word) => (*word).to_owned(),
            Self::Start(start) => start.to_string(),
            Self::Partitions(partitions) => partitions.to_string(),
            Self::None => "none".to_owned(),
        }
    }
}

/// Types that a checked value is read as.
pub(crate) trait FromValue: Sized {
    /// None if the value is of another type, which the tests of `settings` rule out for every key.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    $pattern => $value,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    String: Value::Text(text) => Some(text.clone());
    BinderUrl: Value::Url(url) => Some(url.clone());
    bool: Value::Switch(on) => Some(*on);
    u32: Value::Integer(number) => u32::try_from(*number).ok();
    u64: Value::Integer(number) | Value::Bytes(number) => Some(*number);
    usize: Value::Integer(number) | Value::Bytes(number) => usize::try_from(*number).ok();
    f64: Value::Number(number) | Value::Rate(number) => Some(*number);
    Duration: Value::Duration(duration) => Some(*duration);
    Start: Value::Start(start) => Some(*start);
    Partitions: Value::Partitions(partitions) => Some(partitions.clone());
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::None => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
