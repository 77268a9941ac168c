//! Words of the configuration as the engine's.

use tidings_core::{Cleanup, Create, DeadLetterHeaders, Ordering, RetryOrder, Start};

pub(super) fn start(start: tidings_config::Start) -> Start {
    match start {
        tidings_config::Start::Latest => Start::Latest,
        tidings_config::Start::Offset(offset) => Start::Offset(offset),
        tidings_config::Start::Time(time) => Start::Time(time.into()),
        // `earliest`, and the safe choice for a word that a later version may add: nothing is skipped.
        _ => Start::Earliest,
    }
}

pub(super) fn ordering(ordering: tidings_config::Ordering) -> Ordering {
    match ordering {
        tidings_config::Ordering::Key => Ordering::Key,
        tidings_config::Ordering::Partition => Ordering::Partition,
        tidings_config::Ordering::None => Ordering::None,
    }
}

pub(super) fn order(order: tidings_config::Order) -> RetryOrder {
    match order {
        tidings_config::Order::Kept => RetryOrder::Kept,
        tidings_config::Order::Relaxed => RetryOrder::Relaxed,
    }
}

pub(super) fn headers(headers: tidings_config::DeadLetterHeaders) -> DeadLetterHeaders {
    match headers {
        tidings_config::DeadLetterHeaders::Tidings => DeadLetterHeaders::Tidings,
        tidings_config::DeadLetterHeaders::Spring => DeadLetterHeaders::Spring,
    }
}

pub(super) fn cleanup(cleanup: tidings_config::Cleanup) -> Cleanup {
    match cleanup {
        tidings_config::Cleanup::Delete => Cleanup::Delete,
        tidings_config::Cleanup::Compact => Cleanup::Compact {
            tombstone_retention: None,
        },
    }
}

pub(super) fn create(create: tidings_config::Create) -> Create {
    match create {
        tidings_config::Create::IfMissing => Create::IfMissing,
        tidings_config::Create::Never => Create::Never,
    }
}
