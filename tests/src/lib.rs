//! What the black-box tests stand on: a broker that is started and stopped as an operator would, a log
//! that is read as a collector would, sockets for bytes that no honest client sends, and the odd
//! certificates that no honest authority signs.
//!
//! Nothing here speaks to the broker's crates: the tests know the command line, the configuration file,
//! the log and the wire, and nothing else. Everything waits for an event with a deadline; nothing sleeps
//! and hopes.

// Tests end a case by panicking: here a failed step has no caller who could do better.
#![allow(clippy::unwrap_used)]
// Names from the wire are written as their standards write them.
#![allow(clippy::doc_markdown)]

pub mod alive;
pub mod broker;
pub mod clients;
pub mod der;
pub mod hello;
pub mod http;
pub mod http_server;
pub mod journal;
pub mod mutation;
pub mod ocsp;
pub mod openssl;
pub mod pki;
pub mod programs;
pub mod raw;
pub mod shared;
pub mod tls;
pub mod wire;
