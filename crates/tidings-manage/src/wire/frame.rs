//! Messages as bytes: batches that were read, messages that are published. Numbers are little endian; what may be
//! absent has a byte before it that says whether it is there.

use bytes::Bytes;
use std::sync::Arc;
use tidings_core::headers::{Headers, HeadersError};
use tidings_core::{Epoch, LaneId, Message, Outgoing, Record, RecordBatch, Span, Timestamp};

/// Why bytes are no messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the messages are cut off at byte {0}")]
    Cut(usize),
    #[error("the messages are more than 4 GiB")]
    TooMany,
    #[error("a name is not UTF-8")]
    Name,
    #[error("offsets do not ascend")]
    Order,
    #[error(transparent)]
    Headers(#[from] HeadersError),
}

/// A batch as bytes: where the reading goes on, then its records.
pub(crate) fn encode_batch(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.memory_bytes() + batch.len() * 40 + 16);
    bytes.extend_from_slice(&batch.next().to_le_bytes());
    for record in batch.records() {
        let message = batch.message(record);
        bytes.extend_from_slice(&record.offset.to_le_bytes());
        bytes.extend_from_slice(&record.timestamp.as_millis().to_le_bytes());
        put(&mut bytes, message.key().map(|key| &key[..]));
        put(&mut bytes, Some(message.headers().as_block()));
        put(&mut bytes, message.payload().map(|payload| &payload[..]));
    }
    bytes
}

/// A batch from its bytes, whose memory it shares.
pub(crate) fn decode_batch(bytes: &Bytes) -> Result<RecordBatch, FrameError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(FrameError::TooMany);
    }
    let mut reader = Reader { bytes, at: 0 };
    let next = reader.u64()?;
    let mut records: Vec<Record> = Vec::new();
    while !reader.is_at_end() {
        let offset = reader.u64()?;
        if records.last().is_some_and(|last| last.offset >= offset) {
            return Err(FrameError::Order);
        }
        let timestamp = Timestamp::from_millis(i64::from_le_bytes(reader.take()?));
        let key = reader.span()?;
        let headers = reader.span()?.unwrap_or_default();
        let payload = reader.span()?;
        records.push(Record {
            offset,
            timestamp,
            key,
            headers,
            payload,
        });
    }
    Ok(RecordBatch::new(
        LaneId(0),
        Epoch(0),
        bytes.clone(),
        records,
        next,
    ))
}

/// Begins a request that publishes: to which binder.
pub(crate) fn begin_publish(binder: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 << 10);
    put(&mut bytes, Some(binder.as_bytes()));
    bytes
}

/// Adds a message that is to be published.
pub(crate) fn encode_outgoing(bytes: &mut Vec<u8>, outgoing: &Outgoing) {
    put(bytes, Some(outgoing.destination.as_bytes()));
    put_number(bytes, outgoing.partition.map(i64::from));
    put_number(bytes, outgoing.due.map(Timestamp::as_millis));
    let message = &outgoing.message;
    put_number(bytes, message.timestamp().map(Timestamp::as_millis));
    put(bytes, message.key().map(|key| &key[..]));
    put(bytes, Some(message.headers().as_block()));
    put(bytes, message.payload().map(|payload| &payload[..]));
}

/// How many bytes [`encode_outgoing`] adds at the most.
pub(crate) fn outgoing_bytes(outgoing: &Outgoing) -> usize {
    outgoing.message.size() + outgoing.destination.len() + 64
}

/// The binder and the messages that are to be published to it, sharing the memory of these bytes.
pub(crate) fn decode_publish(bytes: &Bytes) -> Result<(Arc<str>, Vec<Outgoing>), FrameError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(FrameError::TooMany);
    }
    let mut reader = Reader { bytes, at: 0 };
    let binder = reader.name()?;
    let mut all = Vec::new();
    while !reader.is_at_end() {
        let destination = reader.name()?;
        let partition = match reader.number()? {
            Some(number) => Some(u32::try_from(number).map_err(|_| FrameError::Order)?),
            None => None,
        };
        let due = reader.number()?.map(Timestamp::from_millis);
        let timestamp = reader.number()?.map(Timestamp::from_millis);
        let key = reader.part()?;
        let headers = Headers::from_block(reader.part()?.unwrap_or_default())?;
        let mut message = Message::default()
            .with_optional_key(key)
            .with_headers(headers)
            .with_payload(reader.part()?);
        if let Some(timestamp) = timestamp {
            message = message.with_timestamp(timestamp);
        }
        all.push(Outgoing {
            destination,
            partition,
            message,
            due,
        });
    }
    Ok((binder, all))
}

fn put(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    bytes.push(u8::from(part.is_some()));
    if let Some(part) = part {
        // Nothing that long can be in a message; what is cut here is refused where it is read.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part);
    }
}

fn put_number(bytes: &mut Vec<u8>, number: Option<i64>) {
    bytes.push(u8::from(number.is_some()));
    bytes.extend(number.iter().flat_map(|number| number.to_le_bytes()));
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let found = rest.first_chunk::<N>().ok_or(FrameError::Cut(self.at))?;
        self.at += N;
        Ok(*found)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn is_there(&mut self) -> Result<bool, FrameError> {
        Ok(self.take::<1>()? != [0])
    }

    fn number(&mut self) -> Result<Option<i64>, FrameError> {
        match self.is_there()? {
            true => Ok(Some(i64::from_le_bytes(self.take()?))),
            false => Ok(None),
        }
    }

    /// Where a part is, which lies within these bytes.
    fn span(&mut self) -> Result<Option<Span>, FrameError> {
        if !self.is_there()? {
            return Ok(None);
        }
        let len = u32::from_le_bytes(self.take()?);
        let end = self.at.saturating_add(len as usize);
        let start = u32::try_from(self.at).map_err(|_| FrameError::TooMany)?;
        if end > self.bytes.len() {
            return Err(FrameError::Cut(self.at));
        }
        self.at = end;
        Ok(Some(Span { start, len }))
    }

    fn name(&mut self) -> Result<Arc<str>, FrameError> {
        let name = self.part()?.unwrap_or_default();
        let name = std::str::from_utf8(&name).map_err(|_| FrameError::Name)?;
        Ok(name.into())
    }

    fn part(&mut self) -> Result<Option<Bytes>, FrameError> {
        let span = self.span()?;
        Ok(span.map(|span| {
            let start = span.start as usize;
            self.bytes.slice(start..start + span.len as usize)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        (
            prop::option::of(bytes()),
            prop::option::of(bytes()),
            prop::collection::vec(("[a-zé]{0,5}", bytes()), 0..4),
            any::<i64>(),
        )
            .prop_map(|(key, payload, headers, time)| {
                let mut message = Message::default()
                    .with_optional_key(key.map(Bytes::from))
                    .with_payload(payload.map(Bytes::from))
                    .with_timestamp(Timestamp::from_millis(time));
                for (name, value) in headers {
                    message = message.with_header(&name, value).unwrap();
                }
                message
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn batches_arrive_as_they_were_and_nothing_shorter_does(
            messages in prop::collection::vec(message(), 0..5),
            first in 0u64..u64::MAX - 10,
        ) {
            let batch = RecordBatch::from_messages(LaneId(0), Epoch(0), first, &messages);
            let bytes: Bytes = encode_batch(&batch).into();
            let arrived = decode_batch(&bytes).unwrap();
            prop_assert_eq!(arrived.next(), batch.next());
            let all: Vec<_> = arrived.records().iter().map(|record| arrived.message(record)).collect();
            prop_assert_eq!(&all, &messages);
            for length in 0..bytes.len() {
                if let Ok(shorter) = decode_batch(&bytes.slice(..length)) {
                    prop_assert!(shorter.len() < messages.len());
                }
            }
        }

        #[test]
        fn messages_to_publish_arrive_as_they_were(
            messages in prop::collection::vec((message(), any::<Option<u32>>(), any::<Option<i64>>()), 0..5),
        ) {
            let mut bytes = begin_publish("main");
            let mut size = bytes.len();
            for (message, partition, due) in &messages {
                let outgoing = Outgoing {
                    partition: *partition,
                    due: due.map(Timestamp::from_millis),
                    ..Outgoing::new("orders", message.clone())
                };
                size += outgoing_bytes(&outgoing);
                encode_outgoing(&mut bytes, &outgoing);
            }
            prop_assert!(bytes.len() <= size);
            let (binder, arrived) = decode_publish(&bytes.into()).unwrap();
            prop_assert_eq!(&*binder, "main");
            let arrived: Vec<_> = arrived
                .into_iter()
                .map(|one| (one.message, one.partition, one.due.map(Timestamp::as_millis)))
                .collect();
            prop_assert_eq!(arrived, messages);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes: Bytes = bytes.into();
            let _ = decode_publish(&bytes);
            if let Ok(batch) = decode_batch(&bytes) {
                for record in batch.records() {
                    let _ = batch.message(record);
                }
            }
        }
    }
}
