//! The tasks of this repository, one file per command: `cargo xtask help`.

mod build_plugins;
mod clients;
mod conformance;
mod debian;
mod failure;
mod guests;
mod progress;
mod quickstart;
mod reference;
mod repository;
mod scan;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// The tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = false)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the guests under `plugins/` into components: target/plugins/NAME.wasm.
    BuildPlugins(build_plugins::Arguments),
    /// Play the clients that people use against every transport and version, and print a table.
    Conformance(clients::Arguments),
    /// Write tests/conformance.md: which test holds which statement of the MQTT standards.
    ConformanceTable(conformance::Arguments),
    /// Build everything, then show what the gate does through real sockets, and leave the broker running.
    Quickstart(quickstart::Arguments),
    /// Write REFERENCE.md: every key of a listener's TLS, from the reader's own table.
    Reference,
    /// Let sslyze and testssl.sh look for weaknesses of a TLS listener with defaults. Takes some minutes.
    Scan,
    /// Run every check and test there is, and install what they need.
    Test,
    /// Check the rules of ARCHITECTURE.md that the compiler does not.
    Tidy,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome: Result<(), Failure> = match arguments.task {
        Task::BuildPlugins(arguments) => build_plugins::run(&arguments),
        Task::Conformance(arguments) => clients::run(&arguments),
        Task::ConformanceTable(arguments) => conformance::run(&arguments),
        Task::Quickstart(arguments) => quickstart::run(&arguments),
        Task::Reference => reference::run(),
        Task::Scan => scan::run(),
        Task::Test => test::run(),
        Task::Tidy => tidy::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
