//! Answers as JSON: an item's outcome beside its receipt, or a list of outcomes.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Answer, Card, Digest, Kind, ModelName, Outcome, Problem, Timings, Version};
use crate::registry::Model;

/// Where the time went, in milliseconds.
#[derive(Serialize)]
struct Timing {
    queue: f64,
    pre: f64,
    infer: f64,
    post: f64,
}

impl From<Timings> for Timing {
    fn from(timings: Timings) -> Self {
        Self {
            queue: milliseconds(timings.queue),
            pre: milliseconds(timings.pre),
            infer: milliseconds(timings.infer),
            post: milliseconds(timings.post),
        }
    }
}

/// To the microsecond: more digits would say nothing.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    model: &'a ModelName,
    version: Version,
    digest: Digest,
    #[serde(flatten)]
    results: Results<'a>,
    timing: Timing,
    batch_rows: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Results<'a> {
    One(&'a Outcome),
    List { results: &'a [Outcome] },
}

/// The JSON of an answer. A list was asked for with a list, even of one item, or with several texts of one.
///
/// # Errors
/// [`Kind::Internal`] when a model answered with no outcome, or with something that is no JSON.
pub fn json(answer: &Answer, id: &str, card: &Card, list: bool) -> Result<String, Problem> {
    let results = match answer.outcomes.first() {
        Some(outcome) if !list && answer.outcomes.len() == 1 => Results::One(outcome),
        Some(_) => Results::List { results: &answer.outcomes },
        None => return Err(unusable()),
    };
    let body = Body {
        id,
        model: &card.name,
        version: card.version,
        digest: card.digest,
        results,
        timing: answer.timings.into(),
        batch_rows: answer.batch_rows,
    };
    text(&body)
}

/// What a model's fault is to its caller.
pub fn unusable() -> Problem {
    Problem::new(Kind::Internal, "the model's answer is not usable")
}

/// What a body or an event is written as.
///
/// # Errors
/// [`Kind::Internal`] when it is no JSON: a number that is none.
pub fn text(body: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(body).map_err(|_| unusable())
}

/// A whole answer.
///
/// # Errors
/// As [`json`].
pub fn respond(answer: &Answer, id: &str, model: &Model, list: bool) -> Result<Response, Problem> {
    Ok(whole(json(answer, id, &model.card, list)?, answer.timings, &model.card))
}

/// A whole answer whose body is written, with its receipt.
pub fn whole(json: String, timings: Timings, card: &Card) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    label(response.headers_mut(), timings, card);
    response
}

/// The headers of a whole answer: which package gave it, and where the time went.
pub fn label(headers: &mut HeaderMap, timings: Timings, card: &Card) {
    receipt(headers, card);
    let timing = Timing::from(timings);
    let timing = format!(
        "queue;dur={}, pre;dur={}, infer;dur={}, post;dur={}",
        timing.queue, timing.pre, timing.infer, timing.post
    );
    if let Ok(timing) = HeaderValue::try_from(timing) {
        headers.insert("server-timing", timing);
    }
}

/// The headers that say which package answered.
pub fn receipt(headers: &mut HeaderMap, card: &Card) {
    for (name, value) in [
        ("x-model", card.name.to_string()),
        ("x-model-version", card.version.to_string()),
        ("x-model-digest", card.digest.to_string()),
    ] {
        // Names, numbers and hexadecimal digits are always header values.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}
