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

use crate::domain::{Answer, Card, Fragment, Kind, Piece, Problem, RequestId, ScoredToken};
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

/// How a protocol writes a stream. Each text is the data of one event.
pub trait Script: Send + 'static {
    /// What comes before the first piece, and with it.
    fn begin(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// # Errors
    /// [`Kind::Internal`] when it cannot be written.
    fn piece(&mut self, fragment: Fragment) -> Result<String, Problem>;

    /// # Errors
    /// As [`Script::piece`].
    fn end(&mut self, answer: Answer) -> Result<Vec<String>, Problem>;
}

/// Answers with a stream. The first piece is awaited before the status is sent, so that a request
/// that fails at once fails with a status.
///
/// # Errors
/// Whatever the first piece is, when it is a problem.
pub async fn respond(
    mut pieces: Pieces,
    context: Context,
    mut script: impl Script,
) -> Result<Response, Problem> {
    let first = next(&mut pieces, &context).await?;
    let card = context.model.card.clone();
    let ready = script.begin().into();
    let mut running = Running { ready, over: false, pieces, context, script };
    running.take(Ok(first));
    let events = stream::unfold(running, Running::event);
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

/// A stream on its way.
struct Running<S> {
    /// Events that are written and not sent.
    ready: VecDeque<String>,
    /// Nothing comes after those, whatever the model still sends.
    over: bool,
    pieces: Pieces,
    context: Context,
    script: S,
}

impl<S: Script> Running<S> {
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

    /// Writes what came. The end and a problem are the last.
    fn take(&mut self, piece: Result<Piece, Problem>) {
        let written = piece.and_then(|piece| match piece {
            Piece::Text(fragment) => self.script.piece(fragment).map(|event| vec![event]),
            Piece::End(answer) => {
                self.over = true;
                let timings = answer.timings;
                let events = self.script.end(answer)?;
                self.context.ticket.set_timings(timings);
                self.context.ticket.succeeded();
                Ok(events)
            }
        });
        self.ready.extend(written.unwrap_or_else(|problem| {
            self.over = true;
            vec![self.context.fail(&problem)]
        }));
    }
}

impl Context {
    /// The last event of a stream that fails.
    fn fail(&self, problem: &Problem) -> String {
        self.ticket.failed(problem.kind);
        let shown = Shown::plain(error::status(problem.kind), self.ticket.id.as_str());
        self.ticket.face.document(problem, &shown)
    }
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

/// Our own form: the pieces of text, then the whole answer.
pub struct Native {
    id: RequestId,
    card: Card,
    list: bool,
}

impl Native {
    pub fn new(id: RequestId, card: Card, list: bool) -> Self {
        Self { id, card, list }
    }
}

/// A piece of one of the answer's texts: of the first, where it does not say which.
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

impl Script for Native {
    fn piece(&mut self, fragment: Fragment) -> Result<String, Problem> {
        let Fragment { index, text, tokens } = fragment;
        answer::text(&Part { text, index, tokens })
    }

    fn end(&mut self, answer: Answer) -> Result<Vec<String>, Problem> {
        answer::json(&answer, self.id.as_str(), &self.card, self.list).map(|json| vec![json])
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
