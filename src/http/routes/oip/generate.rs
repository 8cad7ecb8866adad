//! Triton's generate extension: a text in, a text out, whole or piece by piece.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use crate::domain::task::TEXT_GENERATION;
use crate::domain::{
    Answer, Card, Finish, Fragment, Item, Kind, ModelName, Outcome, ParamValue, Params, Payload,
    Piece, Problem, ScoredToken, Token,
};
use crate::engine::Reply;
use crate::http::call::{Call, no_query};
use crate::http::error::Failure;
use crate::http::parse::oip::body::{self, Generate};
use crate::http::routes::target::Target;
use crate::http::stream::{self, Told};
use crate::http::ticket::Ticket;
use crate::http::{App, answer};
use crate::oip;
use crate::registry::Model;

/// `POST /v2/models/{model}/generate`.
pub async fn whole(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), target, request, false)).await
}

/// `POST /v2/models/{model}/generate_stream`: server-sent events.
pub async fn streamed(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    target: Target,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), target, request, true)).await
}

async fn answer(
    mut call: Call,
    target: Target,
    request: Request,
    streams: bool,
) -> Result<Response, Failure> {
    let version = target.version;
    let model = call.model(&target.named()?, version)?;
    if model.card.task != TEXT_GENERATION {
        return Err(no_generator(&model.card).into());
    }
    let (head, body) = request.into_parts();
    no_query(&head.uri)?;
    let (bytes, _share) = call.body(&head.headers, body).await?;
    let read = call.read(bytes.len(), move || body::generate(&bytes)).await?;
    let Generate { id, text, params } = read;
    oip::check_params(&params, &model.card)?;
    let params = asked(params, streams)?;
    let payload = Payload::single(Item::Text(text), "/text_input");
    let id = id.unwrap_or_else(|| call.ticket.id.as_str().to_owned());
    match call.predict(&model, payload, params).await? {
        Reply::Whole(whole) => {
            let generated = Generated::of(&whole, &model.card, &id)?;
            let mut response = Json(generated).into_response();
            answer::receipt(response.headers_mut(), &model.card);
            Ok(response)
        }
        Reply::Stream(pieces) => {
            let told = teller(Arc::clone(&model), id);
            Ok(stream::respond(pieces, call.into_stream(model), told).await?)
        }
    }
}

/// Tokens that are generated when the caller does not say, as the protocol has it.
const TOKENS: f64 = 20.0;

/// What the model is asked: `stream` is the route's to say, and `details` are the tokens' probabilities.
fn asked(mut params: Params, streams: bool) -> Result<Params, Problem> {
    let pointer = "/parameters/stream".to_owned();
    let said = params.split_off(&["stream", "details"]);
    let mut reader = said.reader();
    let asked = reader.flag("stream").unwrap_or(streams);
    let details = reader.flag("details").unwrap_or(false);
    reader.finish()?;
    if details {
        params.insert("logprobs", ParamValue::Number(0.0), "/parameters/details".to_owned());
    }
    if params.pointer("max_tokens").is_none() {
        params.insert(
            "max_tokens",
            ParamValue::Number(TOKENS),
            "/parameters/max_tokens".to_owned(),
        );
    }
    if asked != streams {
        return Err(Problem::fault(
            Kind::InvalidInput,
            pointer,
            streams.to_string(),
            asked.to_string(),
            "POST to generate for a whole text, to generate_stream for a stream",
        ));
    }
    params.insert("stream", ParamValue::Bool(streams), pointer);
    Ok(params)
}

fn no_generator(card: &Card) -> Problem {
    let expected = "a model that goes on from a text";
    let got = format!("{}, whose task is {}", card.name, card.task);
    let hint = "POST tensors to /v2/models/{model}/infer";
    Problem::fault(Kind::InvalidInput, "/model", expected, got, hint)
}

/// A text, whole.
#[derive(Serialize)]
struct Generated<'a> {
    id: &'a str,
    model_name: &'a ModelName,
    model_version: String,
    text_output: &'a str,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    finish_reason: &'static str,
    prompt_tokens: usize,
    completion_tokens: usize,
    seed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<TokenDetails<'a>>,
}

/// A token of the text, as the protocol shows it.
#[derive(Serialize)]
struct TokenDetails<'a> {
    id: u32,
    text: &'a str,
    logprob: Option<f64>,
    /// Tokens that are no text are never shown.
    special: bool,
}

impl<'a> TokenDetails<'a> {
    fn of(scored: &'a ScoredToken) -> Self {
        let Token { id, text, logprob } = &scored.token;
        Self { id: *id, text, logprob: *logprob, special: false }
    }
}

impl<'a> Generated<'a> {
    fn of(answer: &'a Answer, card: &'a Card, id: &'a str) -> Result<Self, Problem> {
        match answer.outcomes.first() {
            Some(Outcome::Generated {
                text,
                finish_reason,
                prompt_tokens,
                completion_tokens,
                seed,
                tokens,
                ..
            }) => Ok(Self {
                id,
                model_name: &card.name,
                model_version: card.version.to_string(),
                text_output: text,
                details: Details {
                    finish_reason: match finish_reason {
                        Finish::Stop => "stop_sequence",
                        Finish::Length => "length",
                    },
                    prompt_tokens: *prompt_tokens,
                    completion_tokens: *completion_tokens,
                    seed: *seed,
                    logprobs: tokens.iter().map(TokenDetails::of).collect(),
                },
            }),
            _ => Err(answer::unusable()),
        }
    }
}

/// More of a text.
#[derive(Serialize)]
struct Continued<'a> {
    id: &'a str,
    model_name: &'a ModelName,
    model_version: String,
    text_output: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<TokenOf<'a>>,
}

/// Where details were asked for: which token it is.
#[derive(Serialize)]
struct TokenOf<'a> {
    token: TokenDetails<'a>,
}

impl<'a> Continued<'a> {
    /// One event, or one for each token: the first of them has the text.
    fn events(fragment: &'a Fragment, card: &'a Card, id: &'a str) -> Result<Vec<String>, Problem> {
        let more = |text_output, details| Self {
            id,
            model_name: &card.name,
            model_version: card.version.to_string(),
            text_output,
            details,
        };
        let mut tokens =
            fragment.tokens.iter().map(|token| TokenOf { token: TokenDetails::of(token) });
        let first = more(fragment.text.as_str(), tokens.next());
        let others = tokens.map(|token| more("", Some(token)));
        std::iter::once(first).chain(others).map(|event| answer::text(&event)).collect()
    }
}

/// How a stream is told: each piece is a document with its text, or one for each of its tokens; the last has no
/// text, and the details.
fn teller(
    model: Arc<Model>,
    id: String,
) -> impl Fn(Piece) -> Result<Told, Problem> + Send + 'static {
    move |piece| {
        let card = &model.card;
        match piece {
            Piece::Text(fragment) => Continued::events(&fragment, card, &id).map(Told::Events),
            Piece::End(answer) => {
                let last = Generated { text_output: "", ..Generated::of(&answer, card, &id)? };
                Ok(Told::Last(vec![answer::text(&last)?], answer.timings))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::testing::Server;

    #[tokio::test]
    async fn every_token_has_an_event_and_the_text_comes_once() {
        let scored = |id, text: &str| ScoredToken {
            token: Token { id, text: text.to_owned(), logprob: Some(-0.5) },
            offset: 0,
            top: Vec::new(),
        };
        let tokens = vec![scored(3, "a"), scored(4, "b")];
        let fragment = Fragment { index: 0, text: "ab".to_owned(), tokens };
        let model = Server::new().registry.get(&"talker".parse().unwrap(), None).unwrap();
        let events = Continued::events(&fragment, &model.card, "id").unwrap();
        let told: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(told.len(), 2);
        for (event, (text, id, token)) in told.iter().zip([("ab", 3, "a"), ("", 4, "b")]) {
            assert_eq!(event["text_output"], text);
            let token = json!({"id": id, "text": token, "logprob": -0.5, "special": false});
            assert_eq!(event["details"], json!({ "token": token }));
        }
    }
}
