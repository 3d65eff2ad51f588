//! The realm as its driver sees it: scripted clients, a clock that is told, and what comes out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod announcing;
mod connecting;
mod durable;
mod limits;
mod old_clients;
mod overload;
mod properties;
mod publishing;
mod resuming;
mod rights;
mod sim;
mod subscribing;
mod wills;
