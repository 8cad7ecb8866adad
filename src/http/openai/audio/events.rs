//! A transcript as server-sent events: its text piece by piece, then the whole.

use std::convert::Infallible;

use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Answer, Outcome, Piece, Problem, Segment};
use crate::http::{answer, stream};

#[derive(Serialize)]
#[serde(tag = "type")]
enum Told<'a> {
    #[serde(rename = "transcript.text.delta")]
    Delta { delta: &'a str },
    #[serde(rename = "transcript.text.done")]
    Done { text: &'a str },
}

/// A piece as an event.
///
/// # Errors
/// [`Kind::Internal`](crate::domain::Kind::Internal) when the outcome is no transcript.
pub fn piece(piece: Piece) -> Result<stream::Told, Problem> {
    match piece {
        Piece::Text(fragment) => {
            let delta = Told::Delta { delta: &fragment.text };
            answer::text(&delta).map(stream::Told::Event)
        }
        Piece::End(Answer { outcomes, timings, .. }) => match outcomes.first() {
            Some(Outcome::Transcript { text, .. }) => {
                Ok(stream::Told::Last(vec![answer::text(&Told::Done { text })?], timings))
            }
            _ => Err(answer::unusable()),
        },
    }
}

/// An event a segment of an answer that came whole, and one for all.
///
/// # Errors
/// [`Kind::Internal`](crate::domain::Kind::Internal) when the outcome is no transcript.
pub fn respond(heard: &Outcome) -> Result<Response, Problem> {
    let events = events(heard)?.into_iter().map(|data| Ok(Event::default().data(data)));
    let events = futures_util::stream::iter(events.collect::<Vec<Result<Event, Infallible>>>());
    let mut response = Sse::new(events).into_response();
    let utf8 = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, utf8);
    Ok(response)
}

fn events(heard: &Outcome) -> Result<Vec<String>, Problem> {
    let Outcome::Transcript { text, segments, .. } = heard else { return Err(answer::unusable()) };
    let deltas = deltas(text, segments).into_iter().map(|delta| Told::Delta { delta });
    deltas.chain([Told::Done { text }]).map(|event| answer::text(&event)).collect()
}

/// A text cut behind each of its segments.
fn deltas<'a>(text: &'a str, segments: &[Segment]) -> Vec<&'a str> {
    let mut left = text;
    let mut cut = Vec::new();
    for segment in segments {
        let Some(at) = left.find(&segment.text) else { break };
        let (delta, rest) = left.split_at(at + segment.text.len());
        cut.push(delta);
        left = rest;
    }
    cut.push(left);
    cut.retain(|delta| !delta.is_empty());
    cut
}
