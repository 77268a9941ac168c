//! Where things are kept: all below the build directory, so `cargo clean` removes them.

use std::path::{Path, PathBuf};

/// `target/brokers`.
pub(crate) fn home() -> PathBuf {
    target().join("brokers")
}

/// What is fetched once.
pub(crate) fn cache() -> PathBuf {
    match std::env::var_os("TIDINGS_BROKERS_CACHE").filter(|path| !path.is_empty()) {
        Some(path) => root().join(path),
        None => home().join("cache"),
    }
}

/// Servers that live as long as the process that started them.
pub(crate) fn runs() -> PathBuf {
    home().join("run")
}

/// Servers that stay until they are told to go.
pub(crate) fn background() -> PathBuf {
    home().join("up")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the root of the workspace")
}

/// Tests run in the directory of their package, so a relative path in the variable is seen from the root.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
        Some(path) => root().join(path),
        None => root().join("target"),
    }
}
