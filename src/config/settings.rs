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
    /// The gRPC listener.
    pub grpc: SocketAddr,
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
    /// Whose routes there are beside our own.
    pub compat: Compat,
    /// Whose metrics there are beside our own.
    pub metrics_compat: MetricsCompat,
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
            grpc: SocketAddr::from(([127, 0, 0, 1], 9000)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            store: PathBuf::from("models"),
            state: PathBuf::from("data"),
            keys: None,
            insecure: false,
            device: DeviceChoice::Auto,
            cpu: CpuChoice::Auto,
            compat: Compat::None,
            metrics_compat: MetricsCompat::None,
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
    /// Predictions a second that one caller may ask for; zero limits nobody.
    pub caller_requests_per_s_max: u32,
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
            caller_requests_per_s_max: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Compute threads in each of the two lanes; 0 takes one per core.
    pub workers: usize,
    /// Of one forward pass, which shares its operations among them; 0 shares them while nothing else runs.
    pub intra_op_threads: usize,
    /// Whether what was measured chooses size and delay, within their limits.
    pub batch_auto: bool,
    pub batch_rows_max: usize,
    /// Rows times the largest cost among them: seconds of sound are not equal rows.
    pub batch_cost_max: usize,
    pub batch_delay_max: Micros,
    pub queue_rows_max: usize,
    /// In the time that the work takes; zero chooses.
    pub queue_wait_max: Duration,
}

impl EngineSettings {
    /// Compute threads in a lane.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}

/// A time that is set in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(pub Duration);

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            workers: 0,
            intra_op_threads: 0,
            batch_auto: true,
            batch_rows_max: 64,
            batch_cost_max: 1 << 15,
            batch_delay_max: Micros(Duration::from_millis(2)),
            queue_rows_max: 1024,
            queue_wait_max: Duration::ZERO,
        }
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
    pub intra_op_threads: Option<usize>,
    /// Batches that run at once; 0 allows as many as there are threads for.
    pub instances: usize,
    /// Its share of the threads beside models of weight 1.
    pub weight: u32,
    pub batch_auto: Option<bool>,
    pub batch_rows_max: Option<usize>,
    pub batch_delay_max: Option<Micros>,
    pub queue_rows_max: Option<usize>,
    pub queue_wait_max: Option<Duration>,
    /// Whether the server is ready only when this model is.
    pub required: bool,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            device: None,
            intra_op_threads: None,
            instances: 0,
            weight: 1,
            batch_auto: None,
            batch_rows_max: None,
            batch_delay_max: None,
            queue_rows_max: None,
            queue_wait_max: None,
            required: true,
        }
    }
}

/// A server whose clients go on as they are, beside those of the protocols that are always served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    None,
    TorchServe,
}

/// A server whose dashboards go on as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsCompat {
    None,
    Triton,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}
