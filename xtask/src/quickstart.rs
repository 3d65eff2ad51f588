//! `cargo xtask quickstart`

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::{guests, repository};

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End after the demonstration, with 0 or with the step that failed.
    #[arg(long)]
    once: bool,
}

/// Builds what is needed, then becomes the demonstration: Ctrl-C must reach that alone, for it has a
/// broker to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    eprintln!("[1/3] the plugins");
    guests::build(&repository::root().join("plugins"), &repository::components())?;
    eprintln!("[2/3] the broker (the first time takes some minutes)");
    // All in one go, so that what they share is built once, and in the same way as for the tests.
    let status = repository::cargo()
        .args(["build", "--workspace", "--bins"])
        .status()
        .map_err(|error| Failure::new("cargo cannot be started").because(error))?;
    if !status.success() {
        return Err(Failure::new("the broker does not build; cargo says why above"));
    }
    eprintln!("[3/3] the demonstration\n");
    let mut demonstration = demonstration(&repository::build_directory()?);
    if arguments.once {
        demonstration.arg("--once");
    }
    let error = demonstration.exec();
    Err(Failure::new("the demonstration cannot be started").because(error))
}

/// The demonstration's program, built before, with the broker built beside it.
pub(crate) fn demonstration(build_directory: &Path) -> Command {
    let programs = build_directory.join("debug");
    let mut command = Command::new(programs.join("postern-quickstart"));
    command.arg("--postern").arg(programs.join("postern")).arg("--root").arg(repository::root());
    command
}
