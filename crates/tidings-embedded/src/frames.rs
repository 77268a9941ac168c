//! The frames that messages are packed into before they are written: [`Frames`].

use crate::lock::lock;
use crate::tail;
use std::sync::Mutex;
use tidings_core::Message;
use tidings_log::{FrameBuilder, LogError};

/// A frame gets no message more that would make it larger than this, for a reader takes whole frames; a larger
/// message is alone in its frame.
pub(crate) const FRAME_BYTES: usize = 512 << 10;
/// What a frame may keep of its memory.
pub(crate) const KEPT_BYTES: usize = 1 << 20;
/// How many empty frames are kept. A thousand partitions must not keep a thousand buffers.
const KEPT_FRAMES: usize = 4;
/// What a record takes beside its contents, at most.
const RECORD_BYTES: usize = 40;

/// An empty frame. The limit of its size is the log's.
pub(crate) fn empty() -> FrameBuilder {
    FrameBuilder::new(u32::MAX)
}

/// Whether the message can go into the frame. An empty one takes any.
pub(crate) fn has_room(frame: &FrameBuilder, message: &Message) -> bool {
    frame.is_empty() || frame.bytes() + RECORD_BYTES + message.size() <= FRAME_BYTES
}

/// Packs a message.
pub(crate) fn push(frame: &mut FrameBuilder, timestamp_ms: i64, message: &Message) -> Result<(), LogError> {
    frame.push(
        timestamp_ms,
        message.key().map(|key| key.as_ref()),
        message.headers().as_block(),
        message.payload().map(|payload| payload.as_ref()),
    )
}

/// Empty frames whose memory is used again: fresh memory of this size costs more in page faults than what is written
/// into it.
#[derive(Debug)]
pub(crate) struct Frames {
    empty: Mutex<Vec<FrameBuilder>>,
    /// A frame of so many bytes is worth an append.
    pub(crate) enough: usize,
}

impl Frames {
    /// For logs with segments of that size. A segment takes whole frames: it gets several, so that it is about as large
    /// as it was asked to be.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let share = usize::try_from(segment_bytes / 8).unwrap_or(usize::MAX);
        Self {
            empty: Mutex::default(),
            enough: tail::ENOUGH_BYTES.min(share),
        }
    }

    /// An empty frame.
    pub(crate) fn take(&self) -> FrameBuilder {
        lock(&self.empty).pop().unwrap_or_else(empty)
    }

    /// Gives one back.
    pub(crate) fn give(&self, mut frame: FrameBuilder) {
        frame.clear();
        frame.shrink_to(KEPT_BYTES);
        let mut empty = lock(&self.empty);
        if empty.len() < KEPT_FRAMES {
            empty.push(frame);
        }
    }
}
