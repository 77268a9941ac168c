//! Where a stream is read from: [`StreamPlace`].
//!
//! The server keeps no position of a reader over AMQP 0.9.1, so the reader says where it begins, also when its channel had to
//! be made anew: at the first message that it has not finished.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::collections::VecDeque;
use tidings_core::Start;

/// The argument of a consumer, and the header of each message.
const OFFSET: &str = "x-stream-offset";

/// How far a stream is read.
#[derive(Debug)]
pub(super) struct StreamPlace {
    start: Start,
    /// What was handed on and is not finished: the lane's offset, and the stream's.
    open: VecDeque<(u64, u64)>,
    /// The stream's offset of the first message that is not known to be finished, once one was seen.
    next: Option<u64>,
}

impl StreamPlace {
    pub(super) fn new(start: Start) -> Self {
        Self {
            start,
            open: VecDeque::new(),
            next: None,
        }
    }

    /// A message was handed on as that offset of the lane.
    pub(super) fn handed_on(&mut self, offset: u64, properties: &BasicProperties) {
        let table = properties.headers().as_ref();
        if let Some(AMQPValue::LongLongInt(place)) = table.and_then(|table| table.inner().get(OFFSET)) {
            let place = place.cast_unsigned();
            self.next.get_or_insert(place);
            self.open.push_back((offset, place));
        }
    }

    /// Everything below that offset of the lane is finished.
    pub(super) fn finished(&mut self, watermark: u64) {
        while let Some((_, place)) = self.open.pop_front_if(|(offset, _)| *offset < watermark) {
            self.next = Some(place + 1);
        }
    }

    /// It is read anew: the arguments of its consumer.
    pub(super) fn begin(&mut self) -> FieldTable {
        self.open.clear();
        let word = |word: &str| AMQPValue::LongString(word.into());
        let from = match (self.next, self.start) {
            (Some(next), _) | (None, Start::Offset(next)) => {
                AMQPValue::LongLongInt(i64::try_from(next).unwrap_or(i64::MAX))
            }
            (None, Start::Time(time)) => {
                let seconds = time.as_millis().div_euclid(1000);
                AMQPValue::Timestamp(u64::try_from(seconds).unwrap_or(0))
            }
            (None, Start::Latest) => word("next"),
            (None, _) => word("first"),
        };
        let mut table = FieldTable::default();
        table.insert(OFFSET.into(), from);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> BasicProperties {
        let mut table = FieldTable::default();
        table.insert(OFFSET.into(), AMQPValue::LongLongInt(offset));
        BasicProperties::default().with_headers(table)
    }

    fn from(place: &mut StreamPlace) -> AMQPValue {
        place.begin().inner().get(OFFSET).cloned().unwrap()
    }

    #[test]
    fn a_stream_goes_on_at_the_first_message_that_is_not_finished() {
        let mut place = StreamPlace::new(Start::Earliest);
        assert_eq!(from(&mut place), AMQPValue::LongString("first".into()));
        // Offsets of a stream have gaps; those of a lane have none.
        for (offset, stream) in [(0, 100), (1, 101), (2, 110)] {
            place.handed_on(offset, &at(stream));
        }
        assert_eq!(
            from(&mut place),
            AMQPValue::LongLongInt(100),
            "nothing is finished"
        );
        for (offset, stream) in [(3, 100), (4, 101), (5, 110)] {
            place.handed_on(offset, &at(stream));
        }
        place.finished(5);
        assert_eq!(from(&mut place), AMQPValue::LongLongInt(102));
    }
}
