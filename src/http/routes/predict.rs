//! The one thing that all else is for.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use bytes::Bytes;

use crate::domain::{Kind, Problem};
use crate::engine::Reply;
use crate::http::call::{Call, INLINE_BYTES_MAX};
use crate::http::error::Failure;
use crate::http::parse::{self, Parsed, Wire};
use crate::http::routes::target::Target;
use crate::http::stream;
use crate::http::ticket::Ticket;
use crate::http::{App, answer};
use crate::registry::Model;

/// Predicts.
pub async fn predict(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), target, request)).await
}

async fn answer(mut call: Call, target: Target, request: Request) -> Result<Response, Failure> {
    // A model that is not there is refused before its body is read.
    let named = target.model.as_ref().map(|name| call.model(name, target.version)).transpose()?;
    let (head, body) = request.into_parts();
    // The share is kept to the end: what was read lives in the request until then.
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let parsed = parse(&call, &head.headers, &head.uri, named.is_some(), bytes).await?;
    let model = resolve(&call, named, &parsed)?;
    let list = parsed.list;
    match call.predict(&model, parsed.payload, parsed.params).await? {
        Reply::Whole(whole) => Ok(answer::respond(&whole, call.ticket.id.as_str(), &model, list)?),
        Reply::Stream(pieces) => {
            let told = stream::native(&call.ticket, &model, list);
            Ok(stream::respond(pieces, call.into_stream(model), told).await?)
        }
    }
}

/// Reads what the native API reads.
pub async fn parse(
    call: &Call,
    headers: &HeaderMap,
    uri: &Uri,
    path_names_model: bool,
    body: Bytes,
) -> Result<Parsed, Problem> {
    let Query(query) = Query::try_from_uri(uri).map_err(|_| broken_query())?;
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    let wire = Wire { content_type, query, path_names_model, body };
    if wire.body.len() <= INLINE_BYTES_MAX || !wire.is_document() {
        return parse::parse(wire, &call.app.media).await;
    }
    let (media, runtime) = (call.app.media, tokio::runtime::Handle::current());
    call.app.aside(move || runtime.block_on(parse::parse(wire, &media))).await?
}

fn broken_query() -> Problem {
    Problem::fault(
        Kind::InvalidInput,
        "/query",
        "name=value pairs, percent-encoded",
        "something else",
        "let the client encode the query",
    )
}

/// The model by its path, else by what the body or the query says.
pub fn resolve(
    call: &Call,
    named: Option<Arc<Model>>,
    parsed: &Parsed,
) -> Result<Arc<Model>, Problem> {
    match (named, &parsed.model) {
        (Some(model), said) => {
            if let Some(said) = said {
                parse::once(Some(model.card.name.clone()), said.clone())?;
            }
            Ok(model)
        }
        (None, Some(name)) => call.model(name, None),
        (None, None) => Err(Problem::fault(
            Kind::InvalidInput,
            "/model",
            "the model's name: in the path, in JSON, in a form field or in the query",
            "none",
            "POST to /v1/predict/{model}; GET /v1/models lists the models",
        )),
    }
}
