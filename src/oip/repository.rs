//! The index of the model repository.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Fault, Kind, ModelName, Params, Problem, State, Version};
use crate::registry::Registry;

/// One version, as Triton's repository extension lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IndexEntry {
    #[schema(value_type = String)]
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

/// The one parameter of a load: the version, where it is not to be all of them.
///
/// # Errors
/// [`Kind::Unsupported`] for content that a client sends along, [`Kind::InvalidInput`] for what is unknown.
pub fn load_version(params: &Params) -> Result<Option<Version>, Problem> {
    let mut reader = params.reader();
    let number = reader.integer("version", 1..=999_999_999);
    reader.finish().map_err(without_content)?;
    Ok(number.and_then(|number| u32::try_from(number).ok()).and_then(|n| n.try_into().ok()))
}

fn without_content(problem: Problem) -> Problem {
    let content = |fault: &Fault| fault.got == "config" || fault.got.starts_with("file:");
    if !problem.faults.iter().any(content) {
        return problem;
    }
    let detail = "a load takes a name, never content: put the package into the store, then load it";
    Problem::new(Kind::Unsupported, detail)
}

/// Refuses unknown parameters of an unload.
///
/// # Errors
/// [`Kind::InvalidInput`] for what is unknown.
pub fn check_unload(params: &Params) -> Result<(), Problem> {
    let mut reader = params.reader();
    // No model depends on another here, so either value is honoured.
    reader.flag("unload_dependents");
    reader.finish()
}
