//! A package of the pretrained store, opened as a server opens it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use maas::domain::{
    CpuChoice, DeviceChoice, Item, MediaLimits, Outcome, Params, Payload, Priority,
};
use maas::engine::{Endpoint, Engine, Limits, Reply, Request};
use maas::package::Package;
use maas::registry::{Placement, open_package};

/// How long an answer may take: a dev build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_mins(5);

/// Where the packages are: `MAAS_PRETRAINED`, else where `scripts/pretrained.sh` puts them.
pub fn store() -> PathBuf {
    std::env::var_os("MAAS_PRETRAINED").map_or_else(|| cache().join("store"), PathBuf::from)
}

/// Where scripts/pretrained.sh puts what it fetches.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    cache.unwrap_or_else(home).join("maas/pretrained")
}

/// A file of tests/pretrained/data.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pretrained/data").join(path)
}

/// A model that answers, and the engine that it answers on.
pub struct Model {
    endpoint: Box<dyn Endpoint>,
    _engine: Engine,
}

impl Model {
    /// Opens `<store>/<label>` on the CPU. Its golden samples are answered on the way.
    pub fn open(label: &str) -> Self {
        let place = store().join(label);
        assert!(
            place.is_dir(),
            "{} is not there: run scripts/pretrained.sh, which makes it, or let MAAS_PRETRAINED name the \
             store that holds {label}",
            place.display()
        );
        let mut package = Package::open(&place).unwrap();
        let engine = Engine::start(1).unwrap();
        let limits = Limits {
            batch_rows_max: 32,
            batch_cost_max: 1 << 20,
            queue_rows_max: 64,
            generated_tokens_max: MediaLimits::default().generated_tokens_max,
            batch_delay_max: Duration::ZERO,
            batch_auto: false,
            queue_wait_max: Duration::ZERO,
            instances: 0,
            weight: 1,
        };
        let placement = Placement {
            intra_op_threads: 0,
            device: DeviceChoice::Cpu,
            cpu: CpuChoice::Auto,
            limits,
            media: MediaLimits::default(),
            required: false,
        };
        let endpoint = open_package(&mut package, &placement, &engine).unwrap().endpoint;
        Self { endpoint, _engine: engine }
    }

    /// The answers to `items`, in order, as one request of many rows gets them.
    pub fn answer(&self, items: Vec<Item>, params: Params) -> Vec<Outcome> {
        let pointers = (0..items.len()).map(|index| format!("/inputs/{index}")).collect();
        let payload = Payload { items, pointers };
        let request = Request {
            payload,
            params,
            deadline: Instant::now() + PATIENCE,
            priority: Priority::default(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        match runtime.block_on(self.endpoint.predict(request)).unwrap() {
            Reply::Whole(answer) => answer.outcomes,
            Reply::Stream(_) => panic!("expected a whole answer"),
        }
    }
}
