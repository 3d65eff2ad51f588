//! The realm as its driver sees it: scripted clients, a clock that is told, and what comes out.

mod connecting;
mod properties;
mod publishing;
mod resuming;
mod sim;
mod subscribing;
mod wills;
