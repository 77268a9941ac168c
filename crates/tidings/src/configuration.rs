//! What a service is run with: [`IntoConfig`], a configuration that has been read or is still to be.

use crate::error::Error;
use crate::plan::{Knowledge, Plan};
use crate::service::Service;
use tidings_config::{Config, ConfigBuilder, ConfigError};

/// A configuration that has been read ([`Config`]), or where to read one from ([`ConfigBuilder`]).
///
/// A builder is read when the service starts, and its mistakes are reported together with those of the wiring, so that
/// one start shows all of them: `app.run(Config::builder())`.
pub trait IntoConfig: sealed::Sealed + Send {}

pub(crate) mod sealed {
    pub trait Sealed {
        #[doc(hidden)]
        fn into_loaded(self) -> super::Loaded;
    }
}

impl IntoConfig for Config {}
impl IntoConfig for ConfigBuilder {}

impl sealed::Sealed for Config {
    fn into_loaded(self) -> Loaded {
        Loaded {
            config: self,
            mistakes: None,
        }
    }
}

impl sealed::Sealed for ConfigBuilder {
    fn into_loaded(self) -> Loaded {
        let (config, mistakes) = self.load_partly();
        Loaded {
            config,
            mistakes: mistakes.err(),
        }
    }
}

/// What was read, and what was wrong with it.
#[derive(Debug)]
pub struct Loaded {
    config: Config,
    mistakes: Option<ConfigError>,
}

impl Loaded {
    /// The service and its configuration made one.
    ///
    /// # Errors
    /// Every mistake of both.
    pub(crate) fn plan(self, service: &Service) -> Result<Plan, Error> {
        let Some(configuration) = self.mistakes else {
            return Plan::new(service, &self.config, Knowledge::Whole);
        };
        match Plan::new(service, &self.config, Knowledge::Partial) {
            Ok(_) => Err(Error::Config(configuration)),
            Err(Error::Wiring(wiring)) => Err(Error::Mistakes {
                configuration: Box::new(configuration),
                wiring,
            }),
            Err(other) => Err(other),
        }
    }
}
