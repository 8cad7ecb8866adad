//! Streamed answers, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Serialize;

use crate::domain::{Fragment, Kind, Piece, Problem, ScoredToken, Timings};
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
    Events(Vec<String>),
    /// The end: the answer's timings go to the log and the metrics.
    Last(Vec<String>, Timings),
}

/// How a protocol tells a piece.
type Teller = Box<dyn FnMut(Piece) -> Result<Told, Problem> + Send>;

/// A stream under way.
struct Flow {
    pieces: Pieces,
    context: Context,
    tell: Teller,
    /// Events that are not sent yet.
    ready: VecDeque<String>,
    /// Whether nothing comes after those, whatever the model still sends.
    over: bool,
}

/// Answers with a stream. The first piece is awaited before the status is sent, so that a request
/// that fails at once fails with a status.
///
/// # Errors
/// Whatever the first piece is, when it is a problem.
pub async fn respond(
    mut pieces: Pieces,
    context: Context,
    tell: impl FnMut(Piece) -> Result<Told, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let first = next(&mut pieces, &context).await?;
    let card = context.model.card.clone();
    let (tell, ready) = (Box::new(tell), VecDeque::new());
    let mut flow = Flow { pieces, context, tell, ready, over: false };
    flow.take(Ok(first));
    let events = stream::unfold(flow, Flow::event);
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
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
    /// The next event, and the stream as it is then.
    async fn event(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(data) = self.ready.pop_front() {
                return Some((Ok(Event::default().data(data)), self));
            }
            if self.over {
                return None;
            }
            let piece = next(&mut self.pieces, &self.context).await;
            self.take(piece);
        }
    }

    /// Tells what came. The end and a problem are the last of it.
    fn take(&mut self, piece: Result<Piece, Problem>) {
        let ticket = &self.context.ticket;
        match piece.and_then(&mut self.tell) {
            Ok(Told::Event(data)) => self.ready.push_back(data),
            Ok(Told::Events(events)) => self.ready.extend(events),
            Ok(Told::Last(events, timings)) => {
                ticket.set_timings(timings);
                ticket.succeeded();
                self.ready.extend(events);
                self.over = true;
            }
            Err(problem) => {
                ticket.failed(problem.kind);
                let shown = Shown::plain(error::status(problem.kind), ticket.id.as_str());
                self.ready.push_back(ticket.face.document(&problem, &shown));
                self.over = true;
            }
        }
    }
}

/// More of one of the answer's texts: of the first, where it does not say which.
#[derive(Serialize)]
struct Part {
    text: String,
    #[serde(skip_serializing_if = "is_first")]
    index: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<ScoredToken>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_first(index: &usize) -> bool {
    *index == 0
}

/// Pieces as the native API tells them: each with its text, the last is the whole answer.
pub fn native(
    ticket: &Arc<Ticket>,
    model: &Arc<Model>,
    list: bool,
) -> impl Fn(Piece) -> Result<Told, Problem> + Send + 'static {
    let (id, model) = (ticket.id.clone(), Arc::clone(model));
    move |piece| match piece {
        Piece::Text(Fragment { index, text, tokens }) => {
            answer::text(&Part { text, index, tokens }).map(Told::Event)
        }
        Piece::End(whole) => {
            let json = answer::json(&whole, id.as_str(), &model.card, list)?;
            Ok(Told::Last(vec![json], whole.timings))
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
