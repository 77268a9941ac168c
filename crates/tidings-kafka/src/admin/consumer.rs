//! A consumer that asks and reads, and is a member of nothing: [`OwnConsumer`].

use super::fetching::Fetcher;
use crate::background::Held;
use crate::client::{ClientState, Context};
use crate::lock::lock;
use crate::options::ClientOptions;
use crate::trouble::Fault;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A consumer that is made when it is needed first, and anew after it was forgotten.
pub(super) struct OwnConsumer {
    config: ClientConfig,
    state: Arc<ClientState>,
    there: Mutex<Option<Held<Fetcher>>>,
}

impl OwnConsumer {
    pub(super) fn new(options: &ClientOptions, state: Arc<ClientState>) -> Self {
        let mut config = options.consumer();
        // librdkafka's consumers need a name of a group also where none is joined and nothing is stored.
        config.set("group.id", "tidings-reader");
        // Somebody looks: what is asked for is small, and asked for once.
        config.set("queued.max.messages.kbytes", "4096");
        Self {
            config,
            state,
            there: Mutex::default(),
        }
    }

    pub(super) fn get(&self) -> Result<Held<Fetcher>, Fault> {
        let mut there = lock(&self.there);
        if let Some(there) = &*there {
            return Ok(Held::new(Arc::clone(there)));
        }
        let context = Context::new(self.state.clone());
        let made = Fetcher::new(&self.config, context).map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            Fault::new(code, error.to_string())
        })?;
        let made = Arc::new(made);
        *there = Some(Held::new(made.clone()));
        Ok(Held::new(made))
    }

    /// Lets go of it, and does not wait until it is gone: that may take a while.
    pub(super) fn forget(&self) {
        let there = lock(&self.there).take();
        drop(there);
    }
}

impl fmt::Debug for OwnConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnConsumer")
    }
}
