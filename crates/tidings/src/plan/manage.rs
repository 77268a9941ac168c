//! Where operators ask, from the configuration.

use super::Mistakes;
use tidings_config::ManageConfig;
use tidings_manage::{ManageError, ServerOptions};

/// What the management address is started with; none if it is switched off.
pub(super) fn plan(config: &ManageConfig, mistakes: &mut Mistakes) -> Option<ServerOptions> {
    if config.enabled.as_ref().is_some_and(|enabled| !enabled.value) {
        return None;
    }
    let mut options = ServerOptions::default();
    if let Some(connections) = &config.connections {
        options = options.connections(connections.value);
    }
    if let Some(bytes) = &config.request_bytes {
        options = options.request_bytes(bytes.value);
    }
    if let Some(bytes) = &config.read_bytes {
        options = options.read_bytes(bytes.value);
    }
    if let Some(entries) = &config.page_size {
        options = options.page_size(entries.value);
    }
    if let Some(timeout) = &config.request_timeout {
        options = options.request_timeout(timeout.value);
    }
    if let Some(address) = &config.address {
        options = options.address(&address.value);
        if let Err(ManageError::Address {
            address: text,
            reason,
        }) = options.check()
        {
            let problem = format!("the management address \"{text}\" is refused: {reason}");
            let cure = "write manage.address = \"127.0.0.1:0\", or with a port of your choice";
            mistakes.add(&address.origin, problem, cure);
        }
    }
    Some(options)
}
