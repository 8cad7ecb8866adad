//! The routes of TorchServe, for clients that are to go on as they are: `--compat torchserve`.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::domain::{Answer, Class, Kind, ModelName, Outcome, Problem};
use crate::engine::Reply;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::routes::predict;
use crate::http::routes::target::Target;
use crate::http::ticket::Ticket;
use crate::http::{App, answer};
use crate::registry::Slot;

/// Models on a page, when the caller does not say how many.
const PAGE: usize = 100;

/// `GET /ping`.
pub async fn ping(State(app): State<Arc<App>>) -> Response {
    let (status, said) = if app.unready().is_empty() {
        (StatusCode::OK, "Healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy")
    };
    (status, Json(json!({ "status": said }))).into_response()
}

/// `POST` or `PUT /predictions/{model}[/{version}]`: the body is what the native API reads.
pub async fn predictions(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answered(call.clone(), target, request)).await
}

async fn answered(mut call: Call, target: Target, request: Request) -> Result<Response, Failure> {
    let version = target.version;
    let model = call.model(&target.named()?, version)?;
    let (head, body) = request.into_parts();
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let parsed = predict::parse(&call, &head.headers, &head.uri, true, bytes).await?;
    // The body may name the model, too: then the same.
    let model = predict::resolve(&call, Some(model), &parsed)?;
    let list = parsed.list;
    let hint = "POST to /v1/predict/{model}, whose answers have them";
    parsed.params.refuse(&["logprobs", "timestamps"], hint)?;
    let Reply::Whole(whole) = call.predict(&model, parsed.payload, parsed.params).await? else {
        let expected = "a whole answer";
        let hint = "POST to /v1/predict/{model} to get a stream";
        return Err(Problem::fault(Kind::Unsupported, "/stream", expected, "stream", hint).into());
    };
    let mut response = response(whole, list)?;
    answer::receipt(response.headers_mut(), &model.card);
    Ok(response)
}

/// What a handler of TorchServe would have answered: labels with their probabilities, a text, or numbers. One of
/// them where one item was sent and has one answer, else a list.
fn response(answer: Answer, list: bool) -> Result<Response, Problem> {
    let mut said: Vec<Said> = answer.outcomes.into_iter().map(Said::of).collect();
    if list || said.len() != 1 {
        return Ok(Json(said).into_response());
    }
    match said.pop().ok_or_else(answer::unusable)? {
        Said::Text(text) => {
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
        }
        said => Ok(Json(said).into_response()),
    }
}

/// What is said of one item.
enum Said {
    /// The best first.
    Scores(Vec<Class>),
    Numbers(Vec<f32>),
    Text(String),
}

impl Said {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Classes { mut predictions, .. } => {
                // Of classes with one label, the likeliest: an object has a name once.
                let mut labels = HashSet::new();
                predictions.retain(|class| labels.insert(class.label.clone()));
                Self::Scores(predictions)
            }
            Outcome::Values { values } => Self::Numbers(values),
            Outcome::Embedding { embedding, .. } => Self::Numbers(embedding),
            Outcome::Generated { text, .. } | Outcome::Transcript { text, .. } => Self::Text(text),
        }
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scores(classes) => {
                serializer.collect_map(classes.iter().map(|class| (&class.label, class.score)))
            }
            Self::Numbers(numbers) => numbers.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// `GET /models?limit=&next_page_token=`.
pub async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Failure> {
    let pairs = query.map(|Query(pairs)| pairs).unwrap_or_default();
    let (mut limit, mut from) = (PAGE, 0);
    for (name, value) in pairs {
        match (name.as_str(), value.parse::<usize>()) {
            ("limit", Ok(number @ 1..)) => limit = number,
            ("next_page_token", Ok(number)) => from = number,
            _ => return Err(bad_page(&name).into()),
        }
    }
    let mut slots = app.registry.list();
    slots.dedup_by(|next, first| next.name == first.name);
    let more = slots.len() > from.saturating_add(limit);
    let page = slots.into_iter().skip(from).take(limit);
    let models: Vec<Value> =
        page.map(|slot| json!({ "modelName": slot.name, "modelUrl": url(&slot) })).collect();
    let mut body = json!({ "models": models });
    if more {
        body["nextPageToken"] = json!((from + limit).to_string());
    }
    Ok(Json(body))
}

fn bad_page(name: &str) -> Problem {
    let got = name.chars().take(80).collect::<String>();
    let expected = "limit, 1 or more, and next_page_token, as the last answer gave it";
    Problem::fault(Kind::InvalidInput, "/query", expected, got, "leave it out")
}

/// `GET /models/{model}[/{version}]`.
pub async fn describe(
    State(app): State<Arc<App>>,
    target: Target,
) -> Result<Json<Vec<Value>>, Failure> {
    let version = target.version;
    let name: ModelName = target.named()?;
    let mut slots = app.registry.list();
    slots.retain(|slot| slot.name == name && version.is_none_or(|asked| asked == slot.version));
    if slots.is_empty() {
        // Its refusal says which models there are.
        app.registry.get(&name, version)?;
    }
    let described = slots.iter().map(|slot| {
        json!({
            "modelName": slot.name,
            "modelVersion": slot.version.to_string(),
            "modelUrl": url(slot),
            "runtime": "rust",
            "batchSize": slot.model.as_ref().map(|model| model.limits.batch_rows_max),
            "maxBatchDelay": slot.model.as_ref().map(|model| model.limits.batch_delay_max.as_millis()),
            "status": if slot.model.is_some() { "READY" } else { "UNAVAILABLE" },
        })
    });
    Ok(Json(described.collect()))
}

/// Where a version lies in its store.
fn url(slot: &Slot) -> String {
    format!("{}/{}", slot.name, slot.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scores;

    #[test]
    fn labels_come_best_first_and_each_once() {
        let class = |label: &str, score| Class { label: label.to_owned(), index: 0, score };
        let predictions = vec![class("Sneaker", 0.5), class("Bag", 0.25), class("Sneaker", 0.125)];
        let said = Said::of(Outcome::Classes { predictions, all: Scores::default() });
        assert_eq!(serde_json::to_string(&said).unwrap(), r#"{"Sneaker":0.5,"Bag":0.25}"#);
    }
}
