//! Loading one version: from a place in a store to a slot that serves, or that says why it does not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::arch::{self, OpenContext};
use crate::compute::{device, kernels, memory};
use crate::domain::{Card, CpuChoice, DeviceChoice, MediaLimits, State, Status};
use crate::engine::{Endpoint, Engine, Limits};
use crate::package::{Package, Store, StoreEntry, WEIGHTS_FILE};
use crate::registry::{Model, Registry, Slot};

/// How a model is to run.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    pub device: DeviceChoice,
    pub cpu: CpuChoice,
    pub limits: Limits,
    /// Threads inside one forward pass; 0 takes as many as there are while nothing else runs, and else one.
    pub intra_op_threads: usize,
    pub media: MediaLimits,
    /// Whether the server is ready only when this model is.
    pub required: bool,
}

impl Registry {
    /// Says that a version is on its way, so that readiness waits for it.
    pub fn expect(&self, entry: &StoreEntry, placement: &Placement) {
        self.put(slot(entry, placement, State::Loading, None));
    }

    /// Loads a version on this thread. A version that is refused keeps its reason, unless it serves
    /// already: then it goes on as it was. No other version is touched.
    ///
    /// # Errors
    /// The reason, as text for people.
    pub fn load(
        &self,
        store: &Store,
        entry: &StoreEntry,
        placement: &Placement,
        engine: &Engine,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut card = None;
        let opened = catch_unwind(AssertUnwindSafe(|| {
            open(store, entry, placement, engine, &mut card, began)
        }));
        memory::give_back();
        let reason = match opened {
            Ok(Ok(model)) => {
                tracing::info!(
                    model = %entry.name,
                    version = %entry.version,
                    digest = %model.card.digest,
                    device = model.device,
                    milliseconds = model.load_time.as_millis(),
                    "ready"
                );
                let mut ready = slot(entry, placement, State::Ready, None);
                ready.card = card;
                ready.model = Some(Arc::new(model));
                self.put(ready);
                return Ok(());
            }
            Ok(Err(reason)) => reason,
            Err(_) => "loading it panicked; the log says where".to_owned(),
        };
        tracing::error!(model = %entry.name, version = %entry.version, reason, "refused");
        if !self.serves(entry) {
            let mut failed = slot(entry, placement, State::Failed, Some(reason.clone()));
            failed.card = card;
            self.put(failed);
        }
        Err(reason)
    }

    fn serves(&self, entry: &StoreEntry) -> bool {
        let key = (entry.name.clone(), entry.version);
        self.slots.load().get(&key).is_some_and(|slot| slot.model.is_some())
    }
}

fn open(
    store: &Store,
    entry: &StoreEntry,
    placement: &Placement,
    engine: &Engine,
    card: &mut Option<Card>,
    began: Instant,
) -> Result<Model, String> {
    let mut package = store.package(entry).map_err(|error| error.to_string())?;
    let said = package.manifest.card(package.digest);
    *card = Some(said.clone());
    let bytes = package.file(WEIGHTS_FILE).map_or(0, <[u8]>::len) as u64;
    let Opened { device, processor, endpoint } = open_package(&mut package, placement, engine)?;
    let load_time = began.elapsed();
    let limits = placement.limits;
    Ok(Model { card: said, device, processor, load_time, limits, bytes, endpoint })
}

/// A package that serves.
pub struct Opened {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// As in [`Model`].
    pub processor: String,
    pub endpoint: Box<dyn Endpoint>,
}

/// Opens a package on its device: the check that every version passes before it serves.
///
/// # Errors
/// The reason, as text for people.
pub fn open_package(
    package: &mut Package,
    placement: &Placement,
    engine: &Engine,
) -> Result<Opened, String> {
    let architecture =
        arch::find(&package.manifest.architecture.name).map_err(|error| error.to_string())?;
    let device = device::open(placement.device).map_err(|error| error.to_string())?;
    let level = kernels::resolve(placement.cpu).map_err(|error| error.to_string())?;
    let context = OpenContext {
        device: &device,
        level,
        engine,
        limits: placement.limits,
        media: placement.media,
        intra_op_threads: placement.intra_op_threads,
    };
    let endpoint = (architecture.open)(package, &context).map_err(|error| error.to_string())?;
    let device = device::name(&device);
    let processor = format!(
        "{device} {level} {} threads={} rows={} cost={} maas={}",
        device::processor(),
        placement.intra_op_threads,
        placement.limits.batch_rows_max,
        placement.limits.batch_cost_max,
        env!("CARGO_PKG_VERSION")
    );
    Ok(Opened { device, processor, endpoint })
}

fn slot(entry: &StoreEntry, placement: &Placement, state: State, reason: Option<String>) -> Slot {
    Slot {
        name: entry.name.clone(),
        version: entry.version,
        status: Status { state, reason },
        required: placement.required,
        card: None,
        model: None,
    }
}
