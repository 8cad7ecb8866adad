//! The stores' models, brought into service and taken out of it by their names while the server runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::compute::memory;
use crate::domain::{Kind, ModelName, Problem, State, Status, Version};
use crate::engine::Engine;
use crate::package::{PackageError, Store, StoreEntry, entries_of};
use crate::registry::{Placement, Registry, Slot};
use crate::state::Database;

/// How often it is looked whether a model's last request is over.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a [`Repository`] is made of.
pub struct Sources {
    pub registry: Arc<Registry>,
    pub stores: Vec<Arc<Store>>,
    pub engine: Arc<Engine>,
    pub state: Arc<Database>,
    /// How a model is to run.
    pub placement: Box<dyn Fn(&ModelName) -> Placement + Send + Sync>,
}

/// Loads and unloads.
pub struct Repository {
    sources: Sources,
    /// One change at a time: two loads of one version would end in any order.
    changing: Mutex<()>,
}

impl Repository {
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { sources, changing: Mutex::new(()) }
    }

    /// Every version in the stores.
    ///
    /// # Errors
    /// As [`entries_of`].
    pub fn entries(&self) -> Result<Vec<(StoreEntry, Arc<Store>)>, PackageError> {
        entries_of(self.sources.stores.iter().cloned())
    }

    /// Says that a version is on its way.
    pub fn expect(&self, entry: &StoreEntry) {
        self.sources.registry.expect(entry, &(self.sources.placement)(&entry.name));
    }

    /// Loads one version on this thread.
    ///
    /// # Errors
    /// Why it was refused, as text for people. What served before serves on.
    pub fn load_entry(&self, entry: &StoreEntry, store: &Store) -> Result<(), String> {
        let Sources { registry, engine, placement, .. } = &self.sources;
        registry.load(store, entry, &placement(&entry.name), engine)
    }

    /// Looks up or measures the batches of what serves.
    pub fn tune(&self) {
        self.sources.registry.tune(&self.sources.state, None);
    }

    /// Brings a model into service again, as the stores hold it now: all its versions, or one.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when no store holds it, [`Kind::InvalidInput`] when it is refused, with the reason.
    /// What served before serves on.
    pub fn load(&self, name: &ModelName, version: Option<Version>) -> Result<(), Problem> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |error: PackageError| {
            tracing::error!(%error, "the stores cannot be listed");
            Problem::new(Kind::Internal, "the stores cannot be listed; it was logged")
        };
        let mut entries = self.entries().map_err(unreadable)?;
        entries.retain(|(entry, _)| {
            entry.name == *name && version.is_none_or(|version| version == entry.version)
        });
        if entries.is_empty() {
            return Err(not_in_store(name, version));
        }
        for (entry, store) in &entries {
            self.load_entry(entry, store).map_err(|reason| {
                let detail = format!("{name}/{} was refused: {reason}", entry.version);
                Problem::new(Kind::InvalidInput, detail)
            })?;
        }
        // Of the others nothing has changed, and one may be under measurement.
        self.sources.registry.tune(&self.sources.state, Some(name));
        Ok(())
    }

    /// Takes all versions of a model out of service, and waits until their last request is over, but not for
    /// more than `longest`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such model.
    pub fn unload(&self, name: &ModelName, longest: Duration) -> Result<(), Problem> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = &self.sources.registry;
        let mut slots = registry.list();
        slots.retain(|slot| slot.name == *name);
        if slots.is_empty() {
            // Its refusal says which models there are.
            registry.get(name, None)?;
        }
        for slot in &slots {
            registry.put(without_model(slot, State::Unloading));
        }
        let began = Instant::now();
        for mut slot in slots {
            let gone = without_model(&slot, State::Unloaded);
            if let Some(model) = slot.model.take() {
                while Arc::strong_count(&model) > 1 && began.elapsed() < longest {
                    sleep(LOOK_AGAIN);
                }
            }
            registry.put(gone);
            tracing::info!(model = %slot.name, version = %slot.version, "unloaded");
        }
        memory::give_back();
        Ok(())
    }
}

fn without_model(slot: &Slot, state: State) -> Slot {
    Slot { status: Status { state, reason: None }, model: None, ..slot.clone() }
}

fn not_in_store(name: &ModelName, version: Option<Version>) -> Problem {
    let got = version.map_or_else(|| name.to_string(), |version| format!("{name}/{version}"));
    Problem::fault(
        Kind::NotFound,
        "/model",
        "a model, and a version, that a store holds",
        got,
        "put the package into the store as <name>/<version>/, then load it by its name",
    )
}
