//! Speech to text: `/v1/audio/transcriptions` and `/v1/audio/translations`.

mod events;
mod form;
mod formats;

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;

use crate::domain::task::SPEECH_RECOGNITION;
use crate::domain::{Answer, Kind, Problem};
use crate::engine::Reply;
use crate::http::call::{Call, INLINE_BYTES_MAX, no_query};
use crate::http::error::Failure;
use crate::http::ticket::Ticket;
use crate::http::{App, answer, parse, stream};
use crate::registry::Model;

use form::{Asked, Wanted};

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Transcribe,
    /// In English, whatever is spoken.
    Translate,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Transcribe => "transcribe",
            Self::Translate => "translate",
        }
    }
}

/// Writes down what is said.
pub async fn transcribe(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Response, Failure> {
    listen(app, ticket, request, Task::Transcribe).await
}

/// Writes down in English what is said.
pub async fn translate(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Response, Failure> {
    listen(app, ticket, request, Task::Translate).await
}

async fn listen(
    app: Arc<App>,
    ticket: Arc<Ticket>,
    request: Request,
    task: Task,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), request, task)).await
}

async fn answer(mut call: Call, request: Request, task: Task) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    no_query(&head.uri)?;
    // The share is kept to the end: what was read lives in the request until then.
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let Asked { model, payload, mut params, wanted } =
        read(&call, &head.headers, bytes, task).await?;
    let model = model.model(&call, SPEECH_RECOGNITION)?;
    wanted.ask(&mut params, model.endpoint.streams());
    let reply = call.predict(&model, payload, params).await.map_err(|problem| match task {
        Task::Translate => cannot_translate(problem, &model),
        Task::Transcribe => problem,
    })?;
    match reply {
        Reply::Whole(whole) => Ok(written(&whole, wanted, task, &model)?),
        Reply::Stream(pieces) => {
            Ok(stream::respond(pieces, call.into_stream(model), events::piece).await?)
        }
    }
}

/// A whole answer, in the form that was asked for.
fn written(whole: &Answer, wanted: Wanted, task: Task, model: &Model) -> Result<Response, Problem> {
    let heard = whole.outcomes.first().ok_or_else(answer::unusable)?;
    let mut response = if wanted.stream {
        events::respond(heard)?
    } else {
        formats::respond(heard, wanted, task)?
    };
    answer::label(response.headers_mut(), whole.timings, &model.card);
    Ok(response)
}

/// Reads a form: a large one where it holds up nobody.
async fn read(call: &Call, headers: &HeaderMap, body: Bytes, task: Task) -> Result<Asked, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    let (media, small) = (call.app.media, body.len() <= INLINE_BYTES_MAX);
    let read = async move {
        let parts = parse::form(content_type.as_ref(), body).await?;
        form::read(parts, task, &media)
    };
    if small {
        return read.await;
    }
    let runtime = tokio::runtime::Handle::current();
    call.app.aside(move || runtime.block_on(read)).await?
}

/// A model that knows no task but to transcribe says so of a parameter that the caller never sent.
fn cannot_translate(problem: Problem, model: &Model) -> Problem {
    if !problem.faults.iter().any(|fault| fault.pointer == form::TRANSLATES) {
        return problem;
    }
    Problem::fault(
        Kind::Unsupported,
        form::TRANSLATES,
        "a model that translates into English: a Whisper of several languages",
        model.card.name.to_string(),
        "POST to /v1/audio/transcriptions for what is said, in its own language",
    )
}
