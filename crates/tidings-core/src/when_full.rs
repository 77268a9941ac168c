//! What publishing does when there is no room: [`WhenFull`].

/// What publishing does when as much is on its way to a broker as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The message waits for room, in order, and its receipt with it. So may messages of this many bytes; beyond, the
    /// receipt is an error that may be tried again.
    Wait {
        /// How many bytes may wait for room.
        max_bytes: usize,
    },
    /// The receipt is an error at once, one that may be tried again.
    Refuse,
}

impl WhenFull {
    /// What the keys `when_full` and `max_waiting_bytes` come to.
    pub fn of_keys(refuses: bool, max_waiting_bytes: Option<usize>) -> Self {
        match (refuses, max_waiting_bytes) {
            (true, _) => Self::Refuse,
            (false, Some(max_bytes)) => Self::Wait { max_bytes },
            (false, None) => Self::default(),
        }
    }
}

impl Default for WhenFull {
    /// Up to 64 MiB wait: who publishes more without awaiting a receipt is told.
    fn default() -> Self {
        Self::Wait {
            max_bytes: 64 * 1024 * 1024,
        }
    }
}
