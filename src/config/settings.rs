//! The checked settings. Every field is one row of the table of keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::{DeviceChoice, MediaLimits, ModelName};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The main listener.
    pub http: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The read-only model store.
    pub store: PathBuf,
    /// What must survive a restart.
    pub state: PathBuf,
    /// SHA-256 digests of keys; none leaves inference open on loopback.
    pub keys: Option<PathBuf>,
    /// Allows a public address without keys.
    pub insecure: bool,
    pub device: DeviceChoice,
    pub log_format: LogFormat,
    /// A tracing filter: `info`, `maas=debug,info`.
    pub log_filter: String,
    pub limits: HttpSettings,
    pub media: MediaLimits,
    pub engine: EngineSettings,
    pub drain: DrainSettings,
    /// `[models.<name>]`.
    pub models: BTreeMap<ModelName, ModelSettings>,
}

/// Bounds on connections and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpSettings {
    pub body_bytes_max: usize,
    pub connections_max: usize,
    /// Until the request's head is read whole.
    pub header_timeout: Duration,
    /// Until the request's body is read whole.
    pub body_timeout: Duration,
    /// Between requests of one connection.
    pub idle_timeout: Duration,
    /// A request's deadline when it brings none.
    pub deadline_default: Duration,
    pub deadline_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Compute threads; 0 takes one per core.
    pub workers: usize,
    pub batch_rows_max: usize,
    pub queue_rows_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainSettings {
    /// After SIGTERM: not ready, still serving.
    pub grace: Duration,
    /// After that: no new connections, requests in flight may finish.
    pub timeout: Duration,
}

/// Settings of one model; `None` takes the default of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSettings {
    pub device: Option<DeviceChoice>,
    pub batch_rows_max: Option<usize>,
    pub queue_rows_max: Option<usize>,
    /// Whether the server is ready only when this model is.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}
