//! The binary: flags, wiring, signals and exit codes.

mod cli;
mod configuration;
mod logging;
mod password;
mod process;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { config, log_format } => serve::serve(&config, log_format),
        Command::Check { config } => serve::check(&config),
        Command::HashPassword { scram, iterations } => password::hash(scram.then_some(iterations)),
    }
}
