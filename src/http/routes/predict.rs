//! The one thing that all else is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use bytes::Bytes;

use crate::domain::{Kind, Problem};
use crate::engine::{Reply, Request as Ask};
use crate::http::body::{self, Whole};
use crate::http::error::Failure;
use crate::http::parse::{self, Parsed, Schedule, Wire, schedule};
use crate::http::routes::target::Target;
use crate::http::stream::{self, stopping, too_late};
use crate::http::ticket::Ticket;
use crate::http::{App, answer};
use crate::registry::Model;

/// Documents above this are read on another thread: half a millisecond's work, which is what a
/// connection may have to wait for its neighbours.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// Predicts, unless the deadline passes or the server stops first. A caller who goes away drops all
/// of this, and with it the rows that wait.
pub async fn predict(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let deadline = deadline(&app, &ticket, request.headers())?;
    tokio::select! {
        biased;
        response = answer(&app, &ticket, target, request, deadline) => response,
        () = tokio::time::sleep_until(deadline.into()) => Err(too_late().into()),
        () = app.cut() => Err(stopping().into()),
    }
}

async fn answer(
    app: &Arc<App>,
    ticket: &Arc<Ticket>,
    target: Target,
    request: Request,
    deadline: Instant,
) -> Result<Response, Failure> {
    // A model that is not there is refused before its body is read.
    let named = target.model.as_ref().map(|name| app.registry.get(name, target.version));
    let named = named.transpose()?;
    if let Some(model) = &named {
        ticket.set_model(model);
    }
    let (head, body) = request.into_parts();
    // The share is kept to the end: what was read lives in the request until then.
    let Whole { bytes, share: _share } = body::collect(&head.headers, body, app, deadline).await?;
    let mut parsed = parse(app, &head.headers, &head.uri, named.is_some(), bytes).await?;
    let model = resolve(app, named, &parsed)?;
    ticket.set_model(&model);
    let Schedule { priority, timeout } = schedule(&mut parsed.params)?;
    let deadline = timeout.map_or(deadline, |wait| deadline.min(arrival(ticket) + wait));
    let list = parsed.list;
    let ask = Ask { payload: parsed.payload, params: parsed.params, deadline, priority };
    match model.endpoint.predict(ask).await? {
        Reply::Whole(whole) => {
            ticket.set_timings(whole.timings);
            Ok(answer::respond(&whole, ticket.id.as_str(), &model, list)?)
        }
        Reply::Stream(pieces) => {
            let (app, ticket) = (Arc::clone(app), Arc::clone(ticket));
            let context =
                stream::Context { app, ticket, model: Arc::clone(&model), list, deadline };
            Ok(stream::respond(pieces, context).await?)
        }
    }
}

/// When the caller stops waiting, counted from the request's arrival.
fn deadline(app: &App, ticket: &Ticket, headers: &HeaderMap) -> Result<Instant, Problem> {
    let wait = match headers.get("x-deadline-ms") {
        None => app.limits.deadline_default,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|&milliseconds| milliseconds > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| {
                Problem::fault(
                    Kind::InvalidInput,
                    "/headers/x-deadline-ms",
                    "a positive whole number of milliseconds",
                    "something else",
                    "leave it out to get the server's default",
                )
            })?,
    };
    Ok(arrival(ticket) + wait.min(app.limits.deadline_max))
}

fn arrival(ticket: &Ticket) -> Instant {
    ticket.started.into_std()
}

async fn parse(
    app: &Arc<App>,
    headers: &HeaderMap,
    uri: &Uri,
    path_names_model: bool,
    body: Bytes,
) -> Result<Parsed, Problem> {
    let Query(query) = Query::try_from_uri(uri).map_err(|_| broken_query())?;
    let content_type = headers.get(header::CONTENT_TYPE).cloned();
    let wire = Wire { content_type, query, path_names_model, body };
    if wire.body.len() <= INLINE_BYTES_MAX || !wire.is_document() {
        return parse::parse(wire, &app.media).await;
    }
    let (media, runtime) = (app.media, tokio::runtime::Handle::current());
    app.aside(move || runtime.block_on(parse::parse(wire, &media))).await?
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
fn resolve(app: &App, named: Option<Arc<Model>>, parsed: &Parsed) -> Result<Arc<Model>, Problem> {
    match (named, &parsed.model) {
        (Some(model), said) => {
            if let Some(said) = said {
                parse::once(Some(model.card.name.clone()), said.clone())?;
            }
            Ok(model)
        }
        (None, Some(name)) => app.registry.get(name, None),
        (None, None) => Err(Problem::fault(
            Kind::InvalidInput,
            "/model",
            "the model's name: in the path, in JSON, in a form field or in the query",
            "none",
            "POST to /v1/predict/{model}; GET /v1/models lists the models",
        )),
    }
}
