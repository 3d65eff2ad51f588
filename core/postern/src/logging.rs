//! The log: to stderr, for people or as JSON.

use std::io::{self, IsTerminal};

use postern_config::Log;
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Sets the log up for the rest of the process.
pub(crate) fn init(log: Log, format: Option<LogFormat>) {
    let json = match format {
        Some(format) => format == LogFormat::Json,
        None => log.format == postern_config::LogFormat::Json,
    };
    // Our own rooms at the level asked for; libraries say what is wrong and nothing more.
    let level = log.level.word();
    let directives = format!("warn,postern={level},postern_server={level},postern_api={level},postern_plugin={level}");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_target(false).init();
    }
}
