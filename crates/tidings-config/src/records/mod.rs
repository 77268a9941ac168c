//! Every key that exists. A new key is one record here and one field in `settings`; a test holds them together.

mod app;
mod binder;
mod channel;
mod manage;
mod rabbitmq;
mod rabbitmq_channel;
mod sql;
mod sql_relay;
mod subscription;
mod synonyms;

pub(crate) use synonyms::{SECTIONS, synonyms};

use crate::record::{KeyRecord, Kind};
use std::sync::LazyLock;
use std::time::Duration;

/// Every key that exists, in the order of the reference page.
pub fn records() -> &'static [KeyRecord] {
    static RECORDS: LazyLock<Vec<KeyRecord>> = LazyLock::new(|| {
        [
            app::RECORDS,
            binder::RECORDS,
            rabbitmq::RECORDS,
            channel::RECORDS,
            rabbitmq_channel::RECORDS,
            subscription::RECORDS,
            manage::RECORDS,
            sql::RECORDS,
            sql_relay::RECORDS,
        ]
        .concat()
    });
    &RECORDS
}

const fn duration(min_ms: u64, max: Duration) -> Kind {
    Kind::Duration {
        min: Duration::from_millis(min_ms),
        max,
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// No wait of a retry is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);
/// Longer than anything that is kept; "none" says for ever.
const CENTURY: Duration = Duration::from_secs(36_525 * 86_400);
