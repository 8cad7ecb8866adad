//! Streamed answers, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use serde_json::json;

use crate::domain::{Kind, Piece, Problem};
use crate::http::App;
use crate::http::error::Shown;
use crate::http::ticket::Ticket;
use crate::http::{answer, error};
use crate::registry::Model;

/// Proxies close a connection on which nothing is sent for a minute or so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub type Pieces = BoxStream<'static, Result<Piece, Problem>>;

/// Marks a response whose end is yet to come.
#[derive(Debug, Clone, Copy)]
pub struct Streamed;

/// What a stream needs to its end.
pub struct Context {
    pub app: Arc<App>,
    pub ticket: Arc<Ticket>,
    pub model: Arc<Model>,
    pub list: bool,
    pub deadline: Instant,
}

/// Answers with a stream. The first piece is awaited before the status is sent, so that a request
/// that fails at once fails with a status.
///
/// # Errors
/// Whatever the first piece is, when it is a problem.
pub async fn respond(pieces: Pieces, context: Context) -> Result<Response, Problem> {
    let (id, card, list) = (context.ticket.id.clone(), context.model.card.clone(), context.list);
    respond_with(pieces, context, move |piece| match piece {
        Piece::Text(text) => Ok(json!({ "text": text }).to_string()),
        Piece::End(whole) => answer::json(whole, id.as_str(), &card, list),
    })
    .await
}

/// As [`respond`], each piece written as `write` does.
///
/// # Errors
/// As [`respond`].
pub async fn respond_with(
    mut pieces: Pieces,
    context: Context,
    write: impl Fn(&Piece) -> Result<String, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let first = next(&mut pieces, &context).await?;
    let card = context.model.card.clone();
    let events = Sse::new(events(first, pieces, context, write))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = events.into_response();
    let headers = response.headers_mut();
    let utf8 = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, utf8);
    // Told to nginx, which else gathers a whole page before it passes anything on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer::receipt(headers, &card);
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

/// One event a piece. Ends after the first end or problem, whatever the model still sends.
fn events(
    first: Piece,
    pieces: Pieces,
    context: Context,
    write: impl Fn(&Piece) -> Result<String, Problem>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let start = Some((Some(Ok(first)), pieces, context, write));
    stream::unfold(start, |state| async {
        let (ready, mut pieces, context, write) = state?;
        let piece = match ready {
            Some(piece) => piece,
            None => next(&mut pieces, &context).await,
        };
        let (data, last) = render(piece, &context, &write);
        let state = (!last).then_some((None, pieces, context, write));
        Some((Ok(Event::default().data(data)), state))
    })
}

/// The next piece; late, cut off or missing ones are problems.
async fn next(pieces: &mut Pieces, context: &Context) -> Result<Piece, Problem> {
    tokio::select! {
        biased;
        piece = pieces.next() => piece.unwrap_or_else(|| {
            Err(Problem::new(Kind::Internal, "the model stopped before its answer was whole"))
        }),
        () = tokio::time::sleep_until(context.deadline.into()) => Err(too_late()),
        () = context.app.cut() => Err(stopping()),
    }
}

/// A piece as it is written, and whether it is the last.
fn render(
    piece: Result<Piece, Problem>,
    context: &Context,
    write: impl Fn(&Piece) -> Result<String, Problem>,
) -> (String, bool) {
    let ticket = &context.ticket;
    let problem = match piece.and_then(|piece| write(&piece).map(|data| (data, piece))) {
        Ok((data, Piece::Text(_))) => return (data, false),
        Ok((data, Piece::End(whole))) => {
            ticket.set_timings(whole.timings);
            ticket.succeeded();
            return (data, true);
        }
        Err(problem) => problem,
    };
    ticket.failed(problem.kind);
    let shown = Shown::plain(error::status(problem.kind), ticket.id.as_str());
    (ticket.face.document(&problem, &shown), true)
}

pub fn too_late() -> Problem {
    Problem::new(
        Kind::DeadlineExceeded,
        "the deadline passed; X-Deadline-Ms sets it, in milliseconds from the request's start",
    )
}

pub fn stopping() -> Problem {
    Problem::new(Kind::Unavailable, "the server stops; another one may answer")
}
