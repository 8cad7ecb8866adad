//! What this server knows of its models: one entry a name, in the keys that clients look for, with every version in
//! it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{Card, Digest, Kind, ModelName, Problem, State as ModelState, Status, Version};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::example;
use crate::http::openai::document::at_model;
use crate::http::routes::target::Target;
use crate::registry::Slot;
use crate::state::{Evaluation, StateError};

/// One version, whatever its state.
#[derive(Serialize)]
struct Entry {
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

/// A model: of its versions, the one that answers where none is named stands for it.
#[derive(Serialize)]
struct Listed {
    /// What a request calls it.
    id: String,
    object: &'static str,
    /// Seconds since 1970 when the package was made; 0 where its manifest could not be read.
    created: i64,
    owned_by: String,
    status: ModelState,
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    versions: Vec<Entry>,
}

impl Listed {
    /// Of versions in ascending order; `None` without any.
    fn new(id: String, versions: Vec<Entry>) -> Option<Self> {
        let ready = versions.iter().rev().find(|entry| entry.loaded);
        let chosen = ready.or(versions.last())?;
        let card = chosen.card.as_ref();
        let created = card.and_then(|card| card.created.parse::<Timestamp>().ok());
        let author = card.map(|card| card.author.as_str()).filter(|author| !author.is_empty());
        Some(Self {
            id,
            object: "model",
            created: created.map_or(0, Timestamp::as_second),
            owned_by: author.unwrap_or("maas").to_owned(),
            status: chosen.status.state,
            version: chosen.version,
            task: card.map(|card| card.task.clone()),
            versions,
        })
    }
}

#[derive(Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Listed>,
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

/// Every model, with every version.
pub async fn list(State(app): State<Arc<App>>) -> Json<List> {
    let slots = app.registry.list();
    let models = slots.chunk_by(|a, b| a.name == b.name);
    let listed = models.filter_map(|versions| {
        let id = versions.first()?.name.to_string();
        Listed::new(id, versions.iter().cloned().map(Entry::from).collect())
    });
    Json(List { object: "list", data: listed.collect() })
}

#[derive(Serialize)]
pub struct One {
    #[serde(flatten)]
    model: Listed,
    /// What `maas eval` has measured with this server's state.
    evaluations: Vec<Scored>,
    /// A command that works for this model.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<String>,
}

/// The versions of one model, or the one that is named behind an `@`.
pub async fn show(
    State(app): State<Arc<App>>,
    target: Target,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<One>, Failure> {
    let version = target.version;
    let name = target.named()?;
    let slots = versions(&app, &name, version);
    let card = slots.iter().rev().find_map(|slot| slot.card.as_ref());
    let base = example::base(headers.get(header::HOST), uri.authority());
    let example = card.map(|card| example::curl(card, &base));
    let digests = slots.iter().filter_map(|slot| Some((slot.version, slot.card.as_ref()?.digest)));
    let evaluations = evaluations(&app, digests.collect()).await?;
    let id = version.map_or_else(|| name.to_string(), |version| format!("{name}@{version}"));
    let Some(model) = Listed::new(id, slots.into_iter().map(Entry::from).collect()) else {
        // Its refusal says which models and versions there are.
        let none = app.registry.get(&name, version).err().map(at_model);
        let gone = || Problem::new(Kind::NotFound, format!("there is no model {name}"));
        return Err(none.unwrap_or_else(gone).into());
    };
    Ok(Json(One { model, evaluations, example }))
}

fn versions(app: &App, name: &ModelName, version: Option<Version>) -> Vec<Slot> {
    let mut slots = app.registry.list();
    slots.retain(|slot| slot.name == *name && version.is_none_or(|asked| asked == slot.version));
    slots
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
    let read = app.spawn_blocking(read).await.map_err(|_| failed())?;
    read.map_err(|error| {
        tracing::error!(%error, "the state cannot be read");
        failed()
    })
}
