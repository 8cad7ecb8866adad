//! Streamed answers, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use serde_json::json;

use crate::domain::{Kind, Piece, Problem, Timings};
use crate::http::App;
use crate::http::error::Shown;
use crate::http::ticket::Ticket;
use crate::http::{answer, error};
use crate::registry::Model;

/// Proxies close a connection on which nothing is sent for a minute or so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Pieces = BoxStream<'static, Result<Piece, Problem>>;

/// Marks a response whose end is yet to come.
#[derive(Debug, Clone, Copy)]
pub struct Streamed;

/// What a stream needs to its end.
pub struct Context {
    pub app: Arc<App>,
    pub ticket: Arc<Ticket>,
    pub model: Arc<Model>,
    pub deadline: Instant,
}

/// What a piece is told as.
pub enum Told {
    Event(String),
    /// The end: the answer's timings go to the log and the metrics.
    Last(String, Timings),
}

/// How a protocol tells a piece.
type Teller = Box<dyn Fn(Piece) -> Result<Told, Problem> + Send>;

/// A stream under way.
struct Flow {
    pieces: Pieces,
    context: Context,
    tell: Teller,
}

/// Answers with a stream. The first piece is awaited before the status is sent, so that a request
/// that fails at once fails with a status.
///
/// # Errors
/// Whatever the first piece is, when it is a problem.
pub async fn respond(
    mut pieces: Pieces,
    context: Context,
    tell: impl Fn(Piece) -> Result<Told, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let first = next(&mut pieces, &context).await?;
    let card = context.model.card.clone();
    let flow = Flow { pieces, context, tell: Box::new(tell) };
    let events = Sse::new(events(first, flow)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
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
fn events(first: Piece, flow: Flow) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some((Some(Ok(first)), flow)), |state| async {
        let (ready, mut flow) = state?;
        let piece = match ready {
            Some(piece) => piece,
            None => next(&mut flow.pieces, &flow.context).await,
        };
        let (data, last) = flow.render(piece);
        let state = (!last).then_some((None, flow));
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

impl Flow {
    /// A piece as its event's data, and whether it is the last.
    fn render(&self, piece: Result<Piece, Problem>) -> (String, bool) {
        let ticket = &self.context.ticket;
        match piece.and_then(&self.tell) {
            Ok(Told::Event(data)) => (data, false),
            Ok(Told::Last(data, timings)) => {
                ticket.set_timings(timings);
                ticket.succeeded();
                (data, true)
            }
            Err(problem) => {
                ticket.failed(problem.kind);
                let shown = Shown::plain(error::status(problem.kind), ticket.id.as_str());
                (ticket.face.document(&problem, &shown), true)
            }
        }
    }
}

/// Pieces as the native API tells them: each with its text, the last is the whole answer.
pub fn native(
    ticket: &Arc<Ticket>,
    model: &Arc<Model>,
    list: bool,
) -> impl Fn(Piece) -> Result<Told, Problem> + Send + 'static {
    let (id, model) = (ticket.id.clone(), Arc::clone(model));
    move |piece| match piece {
        Piece::Text(text) => Ok(Told::Event(json!({ "text": text }).to_string())),
        Piece::End(whole) => {
            let json = answer::json(&whole, id.as_str(), &model.card, list)?;
            Ok(Told::Last(json, whole.timings))
        }
    }
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
