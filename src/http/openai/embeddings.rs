//! Texts to vectors.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::domain::task::TEXT_EMBEDDING;
use crate::domain::{Answer, Card, MediaLimits, Outcome, Params, Payload, Problem};
use crate::engine::Reply;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::openai::document::{self, Document, Named};
use crate::http::openai::{fields, prompts, sampling};
use crate::http::parse::{Reader, fault};
use crate::http::ticket::Ticket;
use crate::http::{App, answer};

/// How far from 1 the length of a normalised vector may be.
const UNIT_TOLERANCE: f64 = 1e-3;

/// Embeds texts.
pub async fn embed(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), request)).await
}

async fn answer(mut call: Call, request: Request) -> Result<Response, Failure> {
    let Document { asked, share: _share } = document::read(&call, request, read).await?;
    let Wanted { named, input, base64, dimensions } = asked;
    let model = named.model(&call, TEXT_EMBEDDING)?;
    check_dimensions(dimensions, &model.card)?;
    let Reply::Whole(answer) = call.predict(&model, input, Params::default()).await? else {
        return Err(answer::unusable().into());
    };
    let timings = answer.timings;
    let body = body(&named.said, answer, base64, dimensions)?;
    Ok(answer::whole(answer::text(&body)?, timings, &model.card))
}

/// What a body asks for.
pub struct Wanted {
    named: Named,
    pub input: Payload,
    pub base64: bool,
    pub dimensions: Option<usize>,
}

#[derive(Default)]
struct Keys {
    named: Option<Named>,
    input: Option<Payload>,
    base64: bool,
    dimensions: Option<usize>,
}

/// Reads a body.
pub fn read(body: &[u8], limits: &MediaLimits) -> Result<Wanted, Problem> {
    let mut keys = Keys::default();
    fields::body(body, |reader, key, at| keys.member(reader, key, at, limits))?;
    let Keys { named, input, base64, dimensions } = keys;
    let named = fields::required(named, "/model", "GET /v1/models lists the models")?;
    let input = fields::required(input, "/input", "the text to embed")?;
    Ok(Wanted { named, input, base64, dimensions })
}

impl Keys {
    fn member(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        at: &str,
        limits: &MediaLimits,
    ) -> Result<(), Problem> {
        match key {
            "model" => self.named = Some(Named::read(reader, at)?),
            "input" => self.input = Some(prompts::read(reader, at, limits)?),
            "encoding_format" => {
                self.base64 = fields::choice(reader, at, &["float", "base64"])? == "base64";
            }
            "dimensions" => {
                self.dimensions = Some(fields::integer(reader, at, 1, u32::MAX)? as usize);
            }
            "user" => sampling::user(reader, at)?,
            _ => return Err(fields::unknown(at, key)),
        }
        Ok(())
    }
}

/// No more values than the model gives.
fn check_dimensions(dimensions: Option<usize>, card: &Card) -> Result<(), Problem> {
    let size = card.outputs.first().and_then(|output| output.shape.last());
    let size = size.and_then(|&size| usize::try_from(size).ok());
    match (dimensions, size) {
        (Some(wanted), Some(size)) if wanted > size => {
            let expected = format!("an integer from 1 to {size}, which {} gives", card.name);
            Err(fault("/dimensions", &expected, wanted.to_string(), "leave it out to get all"))
        }
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Encoded,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Encoded {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Default, Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

fn body(
    model: &str,
    answer: Answer,
    base64: bool,
    dimensions: Option<usize>,
) -> Result<Body<'_>, Problem> {
    let mut usage = Usage::default();
    let mut data = Vec::with_capacity(answer.outcomes.len());
    for (index, outcome) in answer.outcomes.into_iter().enumerate() {
        let Outcome::Embedding { embedding, tokens } = outcome else {
            return Err(answer::unusable());
        };
        usage.prompt_tokens += tokens;
        let vector = shortened(embedding, dimensions);
        let embedding =
            if base64 { Encoded::Base64(encode(&vector)) } else { Encoded::Numbers(vector) };
        data.push(Entry { object: "embedding", index, embedding });
    }
    usage.total_tokens = usage.prompt_tokens;
    Ok(Body { object: "list", data, model, usage })
}

/// The first values; of length 1 again where all of them were.
pub fn shortened(mut vector: Vec<f32>, dimensions: Option<usize>) -> Vec<f32> {
    let Some(dimensions) = dimensions.filter(|&dimensions| dimensions < vector.len()) else {
        return vector;
    };
    let normalised = (length(&vector) - 1.0).abs() < UNIT_TOLERANCE;
    vector.truncate(dimensions);
    let length = length(&vector);
    if normalised && length > 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "back to what it was")]
        for value in &mut vector {
            *value = (f64::from(*value) / length) as f32;
        }
    }
    vector
}

fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// 32-bit floats, lowest byte first.
pub fn encode(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
