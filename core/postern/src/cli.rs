//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use postern_identity::credentials::MAX_PBKDF2_ITERATIONS;
use postern_identity::scram::MIN_ITERATIONS;

/// An MQTT broker with a programmable gate.
#[derive(Debug, Parser)]
#[command(name = "postern", version, about, long_about = None)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run in the foreground until SIGTERM or SIGINT; the log goes to stderr.
    Serve {
        /// The configuration, in HOCON. Single settings can be overridden by environment variables such
        /// as `POSTERN_LISTENERS__SSL__DEFAULT__BIND=0.0.0.0:8883`.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The form of log lines, instead of the configuration's log.format.
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<LogFormat>,
    },
    /// Validate a configuration, its certificates and its plugins, without opening a port. Exits with 0
    /// if it can be served and with 1 if not.
    Check {
        /// The configuration, in HOCON.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Read a password from standard input, up to the end of its line, and write its argon2id hash for
    /// `authentication` or a line `NAME:HASH` of a password file.
    HashPassword {
        /// Write what SCRAM-SHA-256 keeps of a password instead, for `mechanism = scram`.
        #[arg(long)]
        scram: bool,
        /// How often SCRAM hashes: each client has to do so, at each connection.
        #[arg(long, value_name = "NUMBER", requires = "scram", default_value_t = MIN_ITERATIONS,
            value_parser = clap::value_parser!(u32).range(i64::from(MIN_ITERATIONS)..=i64::from(MAX_PBKDF2_ITERATIONS)))]
        iterations: u32,
    },
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; in colours on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}
