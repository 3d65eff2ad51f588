//! `cargo xtask reference`: writes REFERENCE.md from the table that the reader of configurations is held to. That it is
//! up to date, a test of core/config says.

use std::fs;

use crate::failure::Failure;
use crate::repository;

/// Writes the page.
pub(crate) fn run() -> Result<(), Failure> {
    // Not a dependency of xtask: what this one needs, everybody who builds anything waits for.
    let output = repository::cargo()
        .args(["run", "--quiet", "--package", "postern-config", "--example", "reference"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| Failure::new("cargo cannot be started").because(error))?;
    if !output.status.success() {
        return Err(Failure::new("the reference cannot be printed; cargo says why above"));
    }
    let path = repository::root().join("REFERENCE.md");
    fs::write(&path, output.stdout)
        .map_err(|error| Failure::new(format!("{} cannot be written", repository::shown(&path))).because(error))?;
    println!("{} written", repository::shown(&path));
    Ok(())
}
