//! What this server knows of its models.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;

use crate::domain::{Card, ModelName, State as ModelState, Status, Version};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::example;
use crate::http::routes::target::Target;
use crate::registry::Slot;

/// One version, whatever its state.
#[derive(Serialize)]
struct Entry {
    /// The model's name, under the key that clients of other servers look for.
    id: ModelName,
    object: &'static str,
    version: Version,
    #[serde(flatten)]
    status: Status,
    required: bool,
    loaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<Card>,
}

impl From<Slot> for Entry {
    fn from(slot: Slot) -> Self {
        Self {
            id: slot.name,
            object: "model",
            version: slot.version,
            loaded: slot.status.state == ModelState::Ready,
            status: slot.status,
            required: slot.required,
            device: slot.model.as_ref().map(|model| model.device.clone()),
            load_seconds: slot.model.as_ref().map(|model| model.load_time.as_secs_f64()),
            card: slot.card,
        }
    }
}

#[derive(Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Entry>,
}

/// Every version of every model.
pub async fn list(State(app): State<Arc<App>>) -> Json<List> {
    let data = app.registry.list().into_iter().map(Entry::from).collect();
    Json(List { object: "list", data })
}

#[derive(Serialize)]
pub struct One {
    id: ModelName,
    object: &'static str,
    versions: Vec<Entry>,
    /// A command that works for this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
}

/// The versions of one model.
pub async fn show(
    State(app): State<Arc<App>>,
    target: Target,
    request: Request,
) -> Result<Json<One>, Failure> {
    let name = target.named()?;
    let slots: Vec<Slot> =
        app.registry.list().into_iter().filter(|slot| slot.name == name).collect();
    if slots.is_empty() {
        // Its refusal says which models there are.
        app.registry.get(&name, None)?;
    }
    let card = slots.iter().rev().find_map(|slot| slot.card.as_ref());
    let example = card.map(|card| example::curl(card, &example::base(&request)));
    let versions = slots.into_iter().map(Entry::from).collect();
    Ok(Json(One { id: name, object: "model", versions, example }))
}
