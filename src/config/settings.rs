//! The checked settings. Every field is one row of the table of keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::{CpuChoice, DeviceChoice, MediaLimits, ModelName};

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
    /// Which instructions the arithmetic on a CPU uses.
    pub cpu: CpuChoice,
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            store: PathBuf::from("models"),
            state: PathBuf::from("data"),
            keys: None,
            insecure: false,
            device: DeviceChoice::Auto,
            cpu: CpuChoice::Auto,
            log_format: LogFormat::Pretty,
            log_filter: "info".to_owned(),
            limits: HttpSettings::default(),
            media: MediaLimits::default(),
            engine: EngineSettings::default(),
            drain: DrainSettings::default(),
            models: BTreeMap::new(),
        }
    }
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

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            connections_max: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_secs(75),
            deadline_default: Duration::from_secs(30),
            deadline_max: Duration::from_mins(5),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Compute threads; 0 takes one per core.
    pub workers: usize,
    pub batch_rows_max: usize,
    /// Rows times the largest cost among them: seconds of sound are not equal rows.
    pub batch_cost_max: usize,
    pub queue_rows_max: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { workers: 0, batch_rows_max: 32, batch_cost_max: 1 << 15, queue_rows_max: 256 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainSettings {
    /// After SIGTERM: not ready, still serving.
    pub grace: Duration,
    /// After that: no new connections, requests in flight may finish.
    pub timeout: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), timeout: Duration::from_secs(25) }
    }
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

impl Default for ModelSettings {
    fn default() -> Self {
        Self { device: None, batch_rows_max: None, queue_rows_max: None, required: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}
