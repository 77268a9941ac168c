//! Short ways to write durations.

use std::time::Duration;

/// That many milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// That many seconds.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// That many minutes; the longest duration if that is more than one can hold.
pub const fn mins(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}

/// That many hours; the longest duration if that is more than one can hold.
pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(3_600))
}
