//! Where things are in this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

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

/// The cargo that runs this task, in the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Where cargo builds the broker: the environment or a configuration file may have moved it.
pub(crate) fn build_directory() -> Result<PathBuf, Failure> {
    let failed = || Failure::new("cargo does not say where it builds");
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| failed().because(error))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed().because(String::from_utf8_lossy(&output.stderr)))?;
    metadata["target_directory"].as_str().map(PathBuf::from).ok_or_else(failed)
}
