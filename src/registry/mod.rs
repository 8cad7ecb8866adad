//! Which versions serve. A request takes one snapshot and keeps it to its end.

mod load;
mod repository;
mod tune;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::domain::{Card, Kind, ModelName, Problem, State, Status, Version};
use crate::engine::{Endpoint, Limits};

pub use load::{Placement, open_package};
pub use repository::{Repository, Sources};

/// A version that serves.
pub struct Model {
    pub card: Card,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The kind of processor and what runs on it: times that were measured hold for this only.
    pub processor: String,
    pub load_time: Duration,
    /// How it runs.
    pub limits: Limits,
    /// Of its weights, in the package.
    pub bytes: u64,
    pub endpoint: Box<dyn Endpoint>,
}

/// One version, in whatever state.
#[derive(Clone)]
pub struct Slot {
    pub name: ModelName,
    pub version: Version,
    pub status: Status,
    /// Whether the server is ready only when this one is.
    pub required: bool,
    /// What is known of it; `None` when its manifest could not be read, or not yet.
    pub card: Option<Card>,
    /// Present while the state is ready.
    pub model: Option<Arc<Model>>,
}

impl Slot {
    /// Why it takes no requests, where it does not.
    fn trouble(&self) -> Option<String> {
        match (&self.model, &self.status.reason) {
            (Some(model), _) => model.endpoint.rest().map(|rest| rest.reason),
            // Taken out on purpose: that is no trouble.
            _ if matches!(self.status.state, State::Unloading | State::Unloaded) => None,
            (None, Some(reason)) => Some(reason.clone()),
            (None, None) => Some("it is loading".to_owned()),
        }
    }
}

type Snapshot = BTreeMap<(ModelName, Version), Slot>;

/// All versions that this server knows.
#[derive(Default)]
pub struct Registry {
    slots: ArcSwap<Snapshot>,
}

impl Registry {
    /// Adds or replaces one version.
    #[expect(clippy::needless_pass_by_value, reason = "a slot that was put is the registry's")]
    pub fn put(&self, slot: Slot) {
        self.slots.rcu(|slots| {
            let mut next = Snapshot::clone(slots);
            next.insert((slot.name.clone(), slot.version), slot.clone());
            next
        });
    }

    /// The version that answers: the one asked for, else the highest that is ready.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such model or version, [`Kind::Loading`] or
    /// [`Kind::Unavailable`] when there is and it is not ready.
    pub fn get(&self, name: &ModelName, version: Option<Version>) -> Result<Arc<Model>, Problem> {
        let slots = self.slots.load();
        let mut named = slots.values().filter(|slot| slot.name == *name).peekable();
        if named.peek().is_none() {
            return Err(unknown_model(name, &slots));
        }
        let mut wanted = named.filter(|slot| version.is_none_or(|v| v == slot.version)).peekable();
        if wanted.peek().is_none() {
            return Err(unknown_version(name, version, &slots));
        }
        let mut refused = None;
        for slot in wanted.rev() {
            match &slot.model {
                Some(model) => return Ok(Arc::clone(model)),
                None => refused = refused.or(Some(slot)),
            }
        }
        Err(unavailable(name, refused))
    }

    /// Whether the version that would answer takes requests.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such model or version.
    pub fn is_ready(&self, name: &ModelName, version: Option<Version>) -> Result<bool, Problem> {
        match self.get(name, version) {
            Ok(model) => Ok(model.endpoint.rest().is_none()),
            Err(problem) if matches!(problem.kind, Kind::Loading | Kind::Unavailable) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Every version, by name and number.
    #[must_use]
    pub fn list(&self) -> Vec<Slot> {
        self.slots.load().values().cloned().collect()
    }

    /// Why the server is not ready for traffic; empty when it is.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        self.slots
            .load()
            .values()
            .filter(|slot| slot.required)
            .filter_map(|slot| Some((slot, slot.trouble()?)))
            .map(|(slot, trouble)| format!("{}/{}: {trouble}", slot.name, slot.version))
            .collect()
    }

    /// Whether every required version has finished its first attempt to load.
    #[must_use]
    pub fn settled(&self) -> bool {
        let slots = self.slots.load();
        let mut required = slots.values().filter(|slot| slot.required);
        required.all(|slot| slot.status.state != State::Loading)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.load().is_empty()
    }
}

fn unknown_model(name: &ModelName, slots: &Snapshot) -> Problem {
    let mut known: Vec<&str> = slots.values().map(|slot| slot.name.as_str()).collect();
    known.dedup();
    let known = if known.is_empty() { "none are loaded".to_owned() } else { known.join(", ") };
    Problem::fault(
        Kind::NotFound,
        "/model",
        format!("a model of this server: {known}"),
        format!("{:?}", name.as_str()),
        "GET /v1/models lists them",
    )
}

fn unknown_version(name: &ModelName, version: Option<Version>, slots: &Snapshot) -> Problem {
    let known: Vec<String> = slots
        .values()
        .filter(|slot| slot.name == *name)
        .map(|slot| slot.version.to_string())
        .collect();
    Problem::fault(
        Kind::NotFound,
        "/version",
        format!("a version of {name}: {}", known.join(", ")),
        version.map_or_else(String::new, |v| v.to_string()),
        "leave the version out to get the highest that is ready",
    )
}

fn unavailable(name: &ModelName, slot: Option<&Slot>) -> Problem {
    let (kind, detail, seconds) = match slot.map(|slot| slot.status.state) {
        Some(State::Loading) => (Kind::Loading, format!("{name} is loading"), 1),
        Some(State::Unloading | State::Unloaded) => {
            (Kind::Unavailable, format!("{name} was unloaded by an administrator"), 60)
        }
        _ => {
            let detail = format!("{name} was refused at load; GET /v1/models/{name} says why");
            (Kind::Unavailable, detail, 60)
        }
    };
    Problem::new(kind, detail).retry_after(Duration::from_secs(seconds))
}
