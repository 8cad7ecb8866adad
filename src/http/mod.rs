//! The door: bytes on a socket become a [`crate::engine::Request`], and what comes back becomes
//! bytes again. Nothing behind this module knows HTTP.
//!
//! In reading order: `server` accepts connections, `router` wraps the routes of `table` in layers,
//! `routes` and `openai` hold the handlers, `parse` reads bodies, `answer` and `error` write them.

mod answer;
mod app;
mod body;
mod call;
mod coding;
mod error;
mod example;
mod face;
mod layers;
mod openai;
mod openapi;
pub mod parse;
mod router;
mod routes;
mod server;
mod stage;
mod stream;
mod table;
mod ticket;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use app::{App, Parts};
pub use body::Share;
pub use call::INLINE_BYTES_MAX;
pub use layers::bearer;
pub use router::router;
pub use server::{Peer, Placing, Served, Threads, serve};
pub use stage::{Stage, conduct};
pub use table::Listener;
