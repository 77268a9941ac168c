//! Opening a broker by its address: [`open`].

use super::Intent;
use crate::error::CliError;
use std::path::Path;
use std::sync::Arc;
use tidings_config::BinderUrl;
use tidings_core::{BinderError, DynBinder};
use tidings_embedded::{Access, EmbeddedBroker, EmbeddedOptions};

/// Opens a broker, or reaches the running app that owns it.
pub(super) async fn open(
    url: &BinderUrl,
    origin: &str,
    intent: Intent,
) -> Result<Arc<dyn DynBinder>, CliError> {
    check(url, origin, intent)?;
    let access = match intent {
        Intent::Read => Access::ReadOnly,
        Intent::Work | Intent::Create => Access::ReadWrite,
    };
    let failed = |error: BinderError| CliError::Broker {
        url: url.to_string(),
        error,
    };
    let options = EmbeddedOptions::from_url(url.expose())
        .map_err(failed)?
        .access(access);
    Ok(Arc::new(EmbeddedBroker::open(options).map_err(failed)?))
}

/// Refuses what cannot be meant before anything is opened, because opening makes a directory that is missing.
fn check(url: &BinderUrl, origin: &str, intent: Intent) -> Result<(), CliError> {
    match url.scheme() {
        "memory" => Err(CliError::refused(
            format!("{url} ({origin}) lives in the memory of the app alone"),
            "use embedded:DIRECTORY in the app, or look at it with the app's own tests",
        )),
        "embedded" if intent != Intent::Create && !Path::new(url.expose_rest()).is_dir() => {
            Err(CliError::missing(
                format!("there is no directory {} ({origin})", url.expose_rest()),
                "run this in the directory of your project, or name the broker with --url embedded:DIRECTORY",
            ))
        }
        _ => Ok(()),
    }
}
