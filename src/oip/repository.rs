//! The index of the model repository.

use serde::Serialize;

use crate::domain::{ModelName, State};
use crate::registry::Registry;

/// One version, as Triton's repository extension lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexEntry {
    pub name: ModelName,
    pub version: String,
    pub state: &'static str,
    pub reason: String,
}

/// Every version that this server knows, or only those that serve.
#[must_use]
pub fn index(registry: &Registry, only_ready: bool) -> Vec<IndexEntry> {
    let entry = |slot: crate::registry::Slot| {
        let (state, reason) = match slot.status.state {
            State::Ready => (
                "READY",
                slot.model.and_then(|model| model.endpoint.rest()).map(|rest| rest.reason),
            ),
            State::Loading => ("LOADING", None),
            State::Unloading => ("UNLOADING", None),
            State::Unloaded => ("UNAVAILABLE", Some("unloaded".to_owned())),
            State::Failed => ("UNAVAILABLE", slot.status.reason),
        };
        IndexEntry {
            name: slot.name,
            version: slot.version.to_string(),
            state,
            reason: reason.unwrap_or_default(),
        }
    };
    let entries = registry.list().into_iter().map(entry);
    entries.filter(|entry| !only_ready || entry.state == "READY").collect()
}
