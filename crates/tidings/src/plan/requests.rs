//! How the app sends requests, and where replies may go: [`PlannedRequests`].

use super::layered;
use tidings_config::{AppConfig, Setting};
use tidings_core::{REPLY_SUFFIX, ReplyRule};

/// Open requests on a binder, if nobody says otherwise.
const MAX_OPEN: usize = 10_000;

/// How the app sends requests, and where replies may go.
#[derive(Debug)]
pub(crate) struct PlannedRequests {
    pub(crate) max_open: Setting<usize>,
    pub(crate) destination: Setting<String>,
    /// Names with commas between them, besides those that are usual.
    pub(crate) addresses: Setting<String>,
}

impl PlannedRequests {
    pub(super) fn new(app_name: &str, config: &AppConfig) -> Self {
        let destination = format!("{app_name}{REPLY_SUFFIX}");
        Self {
            max_open: layered(MAX_OPEN, None, config.max_open_requests.clone()),
            destination: layered(destination, None, config.reply_destination.clone()),
            addresses: layered(String::new(), None, config.reply_addresses.clone()),
        }
    }

    /// Where replies may go. The app's own place for them is one, whatever its name is.
    pub(crate) fn rule(&self) -> ReplyRule {
        let also = self.addresses.value.split(',').map(str::trim);
        let also = also.filter(|name| !name.is_empty());
        ReplyRule::also(also.chain([self.destination.value.as_str()]))
    }
}
