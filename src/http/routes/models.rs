//! What this server knows of its models.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use serde::Serialize;

use crate::domain::{Card, Digest, Kind, ModelName, Problem, State as ModelState, Status, Version};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::example;
use crate::http::routes::target::Target;
use crate::registry::Slot;
use crate::state::{Evaluation, StateError};

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

/// What one version scored here, newest first.
#[derive(Serialize)]
struct Scored {
    version: Version,
    #[serde(flatten)]
    evaluation: Evaluation,
}

/// Evaluations that are shown of one version.
const EVALUATIONS_MAX: u32 = 20;

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
    /// What `maas eval` has measured with this server's state.
    evaluations: Vec<Scored>,
    /// A command that works for this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
}

/// The versions of one model.
pub async fn show(
    State(app): State<Arc<App>>,
    target: Target,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<One>, Failure> {
    let name = target.named()?;
    let slots: Vec<Slot> =
        app.registry.list().into_iter().filter(|slot| slot.name == name).collect();
    if slots.is_empty() {
        // Its refusal says which models there are.
        app.registry.get(&name, None)?;
    }
    let card = slots.iter().rev().find_map(|slot| slot.card.as_ref());
    let base = example::base(headers.get(header::HOST), uri.authority());
    let example = card.map(|card| example::curl(card, &base));
    let digests = slots.iter().filter_map(|slot| Some((slot.version, slot.card.as_ref()?.digest)));
    let evaluations = evaluations(&app, digests.collect()).await?;
    let versions = slots.into_iter().map(Entry::from).collect();
    Ok(Json(One { id: name, object: "model", versions, evaluations, example }))
}

/// Reads the state, which blocks on the disk.
async fn evaluations(app: &App, versions: Vec<(Version, Digest)>) -> Result<Vec<Scored>, Problem> {
    let state = Arc::clone(&app.state);
    let read = move || -> Result<Vec<Scored>, StateError> {
        let mut all = Vec::new();
        for (version, digest) in versions {
            let found = state.evaluations(&digest, EVALUATIONS_MAX)?;
            all.extend(found.into_iter().map(|evaluation| Scored { version, evaluation }));
        }
        Ok(all)
    };
    let failed = || Problem::new(Kind::Internal, "the state cannot be read; it was logged");
    let read = tokio::task::spawn_blocking(read).await.map_err(|_| failed())?;
    read.map_err(|error| {
        tracing::error!(%error, "the state cannot be read");
        failed()
    })
}
