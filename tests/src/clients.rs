//! Clients that were written elsewhere, played through one list of scenarios.
//!
//! Each library has a small program of its own under `tests/clients` that takes commands and tells what it saw, a
//! line of JSON each ([`stage`]). What is played, and what must be seen, is written once ([`scenarios`]).

pub mod matrix;
pub mod scenarios;
pub mod site;
pub mod stage;
pub mod suite;
