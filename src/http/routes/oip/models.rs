//! What the protocol says of models: metadata, readiness, configuration, statistics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{ModelName, Problem, Version};
use crate::http::App;
use crate::http::error::Failure;
use crate::http::routes::target::Target;
use crate::oip::{ModelConfig, ModelMetadata, ModelStatistics, statistics, versions};
use crate::registry::Model;

/// `GET /v2/models`: the names of all.
pub async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let mut names: Vec<ModelName> = app.registry.list().into_iter().map(|slot| slot.name).collect();
    names.dedup();
    Json(json!({ "models": names }))
}

/// `GET /v2/models/{model}`.
pub async fn metadata(
    State(app): State<Arc<App>>,
    target: Target,
) -> Result<Json<ModelMetadata>, Failure> {
    let model = named(&app, target)?;
    let versions = versions(&app.registry, &model.card.name);
    Ok(Json(ModelMetadata::of(&model.card, versions)))
}

/// `GET /v2/models/{model}/ready`.
pub async fn ready(State(app): State<Arc<App>>, target: Target) -> Result<Response, Failure> {
    let version = target.version;
    let name = target.named()?;
    let ready = app.registry.is_ready(&name, version)?;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(json!({ "name": name, "ready": ready }))).into_response())
}

/// `GET /v2/models/{model}/config`.
pub async fn config(
    State(app): State<Arc<App>>,
    target: Target,
) -> Result<Json<ModelConfig>, Failure> {
    let model = named(&app, target)?;
    Ok(Json(ModelConfig::of(&model, app.media.items_max)))
}

#[derive(Serialize)]
pub struct Statistics {
    model_stats: Vec<ModelStatistics>,
}

/// `GET /v2/models/stats`, `GET /v2/models/{model}/stats`: of every version that serves, or of one.
pub async fn stats(
    State(app): State<Arc<App>>,
    target: Target,
) -> Result<Json<Statistics>, Failure> {
    let Target { model: name, version } = target;
    if let Some(name) = &name {
        // Its refusal says which models there are.
        app.registry.get(name, version)?;
    }
    let asked = |model: &Arc<Model>| {
        let card = &model.card;
        name.as_ref().is_none_or(|name| *name == card.name)
            && version.is_none_or(|version: Version| version == card.version)
    };
    let models = app.registry.list().into_iter().filter_map(|slot| slot.model).filter(asked);
    Ok(Json(Statistics { model_stats: models.map(|model| statistics(&model)).collect() }))
}

fn named(app: &App, target: Target) -> Result<Arc<Model>, Problem> {
    let version = target.version;
    app.registry.get(&target.named()?, version)
}
