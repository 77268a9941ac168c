//! Messages that say who they are: [`Parcel`].

use bytes::Bytes;
use tidings::Message;

/// A message of a campaign. Its payload names it; the rest of it is filling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Its id, once in its destination.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its place among the messages of its key.
    pub sequence: u64,
}

impl Parcel {
    /// The message, with that many bytes of filling.
    pub fn message(&self, filling: usize) -> Message {
        let mut payload = format!("{}|{}|", self.id, self.sequence).into_bytes();
        let shade = b'a' + (self.sequence % 26) as u8;
        payload.resize(payload.len() + filling, shade);
        Message::new(payload).with_key(Bytes::from(self.key.clone()))
    }

    /// What a message says of itself. One that says nothing is nobody's.
    pub fn read(key: Option<&[u8]>, payload: Option<&[u8]>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut parts = payload.unwrap_or_default().splitn(3, |byte| *byte == b'|');
        let id = parts.next().map(text).unwrap_or_default();
        let sequence = parts.next().and_then(|number| text(number).parse().ok());
        Self {
            id,
            key: key.map(text).unwrap_or_default(),
            sequence: sequence.unwrap_or_default(),
        }
    }
}

/// A checksum of what must arrive as it was sent.
pub fn digest(key: Option<&[u8]>, payload: Option<&[u8]>) -> u32 {
    let sum = crc32c::crc32c(key.unwrap_or_default());
    crc32c::crc32c_append(sum, payload.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_read_back_from_its_message() {
        let parcel = Parcel {
            id: "3.12".to_owned(),
            key: "k7".to_owned(),
            sequence: 3_000_012,
        };
        let message = parcel.message(40);
        let read = Parcel::read(
            message.key().map(|key| &key[..]),
            message.payload().map(|load| &load[..]),
        );
        assert_eq!(read, parcel);
        assert_eq!(Parcel::read(None, Some(b"\xff")).sequence, 0);
    }
}
