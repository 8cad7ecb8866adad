//! The body of a request, and the model that it names.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header;

use crate::domain::{Card, Kind, MediaLimits, ModelName, Problem, Version, task};
use crate::http::body::Share;
use crate::http::call::{Call, no_query};
use crate::http::error::Failure;
use crate::http::openai::fields;
use crate::http::parse::{Reader, must_be_json, reference};
use crate::registry::Model;

/// A body that was read. The share of memory is to be kept as long as it is used.
pub struct Document<T> {
    pub asked: T,
    pub share: Share,
}

/// Reads a body.
///
/// # Errors
/// Those of the body, and of `read`.
pub async fn read<T: Send + 'static>(
    call: &Call,
    request: Request,
    read: impl FnOnce(&[u8], &MediaLimits) -> Result<T, Problem> + Send + 'static,
) -> Result<Document<T>, Failure> {
    let (head, body) = request.into_parts();
    no_query(&head.uri)?;
    must_be_json(head.headers.get(header::CONTENT_TYPE))?;
    let (bytes, share) = call.body(&head.headers, body).await?;
    let limits = call.app.media;
    let asked = call.read(bytes.len(), move || read(&bytes, &limits)).await?;
    Ok(Document { asked, share })
}

/// The model that a request names.
#[derive(Debug)]
pub struct Named {
    /// As the request has it: the answer says the same.
    pub said: String,
    name: ModelName,
    version: Option<Version>,
}

impl Named {
    /// # Errors
    /// [`Kind::NotFound`] for what no model can be called.
    pub fn read(reader: &mut Reader<'_>, at: &str) -> Result<Self, Problem> {
        Self::of(fields::text(reader, at)?, at)
    }

    /// # Errors
    /// [`Kind::NotFound`] for what no model can be called.
    pub fn of(said: String, at: &str) -> Result<Self, Problem> {
        let (name, version) = reference(&said, at)?;
        Ok(Self { said, name, version })
    }

    /// The model, which must be one for `task`.
    ///
    /// # Errors
    /// 404 when there is none, 503 when it is not ready, 400 when it does something else.
    pub fn model(&self, call: &Call, task: &str) -> Result<Arc<Model>, Problem> {
        let model = call.model(&self.name, self.version).map_err(at_model)?;
        if model.card.task == task { Ok(model) } else { Err(another_task(&model.card, task)) }
    }
}

/// Here a version is a part of the model's name.
pub fn at_model(mut problem: Problem) -> Problem {
    for fault in &mut problem.faults {
        "/model".clone_into(&mut fault.pointer);
    }
    problem
}

fn another_task(card: &Card, task: &str) -> Problem {
    let place = match card.task.as_str() {
        task::TEXT_GENERATION => "/v1/completions or /v1/chat/completions".to_owned(),
        task::TEXT_EMBEDDING => "/v1/embeddings".to_owned(),
        task::SPEECH_RECOGNITION => "/v1/audio/transcriptions".to_owned(),
        _ => format!("/v1/predict/{}", card.name),
    };
    Problem::fault(
        Kind::InvalidInput,
        "/model",
        format!("a model for {task}"),
        format!("{}, a model for {}", card.name, card.task),
        format!("ask it at {place}; GET /v1/models lists the models and their tasks"),
    )
}
