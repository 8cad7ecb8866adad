//! Serve models you trained yourself, from one small binary you host yourself.
//!
//! # The life of one prediction
//!
//! 1. [`http`] reads the request into a bounded buffer and makes a [`domain::Payload`] of it: an image,
//!    text, audio or tensors, with the pointer that an error will name. So does [`grpc`]; what tensors mean in the
//!    protocol that both speak is in [`oip`].
//! 2. [`registry`] gives the [`engine::Endpoint`] that answers the model's name, from a snapshot that
//!    the request keeps to its end.
//! 3. The endpoint's [`engine::Codec`] decodes the payload into samples on the CPU pool. What cannot be
//!    decoded, and every parameter that is not honoured, is refused here, before the queue.
//! 4. The samples wait in the model's bounded queue. A compute thread takes as many as fit a batch,
//!    drops those that nobody waits for, and runs the [`engine::Network`]: the only tensors there are.
//!    A generating network ([`engine::Generator`]) runs step by step instead, and sequences join and
//!    leave between steps; so do the windows of sound of an [`engine::EncoderDecoder`], each encoded before.
//! 5. The outputs are joined in order and encoded into a [`domain::Answer`]; [`http`] sends it with the
//!    digest of the package that gave it.
//!
//! Packages ([`package`]) are data. An architecture ([`arch`]) makes a network of one, on the layers of
//! [`compute`]; it can train one, too.

pub mod domain;

pub mod engine;

pub mod compute;
pub mod media;
pub mod plot;

pub mod checkpoint;
pub mod dataset;
pub mod package;

pub mod arch;

pub mod state;

pub mod registry;

pub mod oip;

pub mod access;
pub mod config;
pub mod telemetry;

pub mod grpc;
pub mod http;

pub mod client;
pub mod load;

pub mod cli;
