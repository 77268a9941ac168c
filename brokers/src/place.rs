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

/// [`runs`], or a place that this user can reach: a server that does not run as we do may not be able to pass through the
/// directories above.
pub(crate) fn runs_of(user: Option<u32>) -> PathBuf {
    reachable(runs(), user)
}

/// [`background`], in the same way.
pub(crate) fn background_of(user: Option<u32>) -> PathBuf {
    reachable(background(), user)
}

fn reachable(path: PathBuf, user: Option<u32>) -> PathBuf {
    let last = path.file_name().unwrap_or_default().to_owned();
    match user {
        Some(_) if !everybody_passes(&path) => std::env::temp_dir().join("tidings-brokers").join(last),
        _ => path,
    }
}

/// Whether everybody may pass through what is there of a path.
fn everybody_passes(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let passes = |above: &Path| {
        above
            .metadata()
            .map_or(true, |found| found.permissions().mode() & 0o001 != 0)
    };
    path.ancestors().all(passes)
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
