//! A typed Rust value with a name, an optional key and a version.

use crate::codec::Codec;
use bytes::Bytes;

/// A typed value that travels. Usually derived: `#[derive(Event, Serialize, Deserialize)]`.
///
/// The name goes into the `type` header of the message. It never decides which Rust type is decoded: that is always
/// the handler's choice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "add `#[derive(Event)]` to `{Self}`, and serde's `Serialize` and `Deserialize` for JSON"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// The name of the event, for example `order.placed`. For an enum whose variants have names of their own, the
    /// name of the whole.
    const NAME: &'static str;
    /// The version of its shape, from 1.
    const VERSION: u32 = 1;
    /// How it becomes a payload.
    type Codec: Codec;

    /// The name of this value: that of its variant if the event is an enum with named variants.
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// Whether a message with that `type` header may hold this event. Exact match.
    fn has_name(name: &str) -> bool {
        name == Self::NAME
    }

    /// The key: events of one key keep their order. None spreads events over the partitions.
    fn key(&self) -> Option<Bytes> {
        None
    }
}

/// A value that can be the key of an event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the key of an event",
    label = "not a key",
    note = "keys are strings, integers, `Uuid` and bytes; a type of your own can implement `EventKey`"
)]
pub trait EventKey {
    /// The bytes of the key.
    fn to_key(&self) -> Bytes;
}

impl EventKey for String {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl EventKey for str {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl EventKey for Bytes {
    fn to_key(&self) -> Bytes {
        self.clone()
    }
}

impl EventKey for Vec<u8> {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl EventKey for uuid::Uuid {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer())
                .as_bytes(),
        )
    }
}

impl<T: EventKey + ?Sized> EventKey for &T {
    fn to_key(&self) -> Bytes {
        (**self).to_key()
    }
}

/// Numbers are keys in decimal, as they are in other systems' topics.
macro_rules! decimal_keys {
    ($($number:ty),*) => {$(
        impl EventKey for $number {
            fn to_key(&self) -> Bytes {
                self.to_string().into()
            }
        }
    )*};
}

decimal_keys!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
