//! Where things are in this repository.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the repository")
}

/// What `cargo xtask` produces for people and configurations, wherever cargo itself builds.
pub(crate) fn products() -> PathBuf {
    root().join("target")
}

/// The components: `NAME.wasm`, NAME as in the crate's manifest.
pub(crate) fn components() -> PathBuf {
    products().join("plugins")
}

/// Where cargo builds guests. Apart from the broker's own builds, so that neither waits for the other's lock.
pub(crate) fn guest_builds() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(products, PathBuf::from).join("guest-builds")
}

/// The path as it reads from the root, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
