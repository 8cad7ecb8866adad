//! Texts that go on from prompts.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::domain::task::TEXT_GENERATION;
use crate::domain::{Finish, Kind, MediaLimits, ParamValue, Payload, Problem};
use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::openai::document::{self, Document, Named};
use crate::http::openai::generation::{self, Form, Wanted, Written};
use crate::http::openai::logprobs::Listed;
use crate::http::openai::sampling::{Sampling, TEXTS_MAX};
use crate::http::openai::{fields, prompts};
use crate::http::parse::{Reader, fault};
use crate::http::ticket::Ticket;

/// Tokens that are generated when the caller does not say.
const MAX_TOKENS_DEFAULT: usize = 16;
const LOGPROBS_MAX: u32 = 5;

/// Completes prompts.
pub async fn complete(
    State(app): State<Arc<App>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    request: Request,
) -> Result<Response, Failure> {
    let call = Call::begin(app, ticket, request.headers())?;
    call.within(answer(call.clone(), request)).await
}

async fn answer(call: Call, request: Request) -> Result<Response, Failure> {
    let Document { asked, share: _share } = document::read(&call, request, read).await?;
    let model = asked.named.model(&call, TEXT_GENERATION)?;
    Ok(generation::answer::<Completion>(call, model, asked).await?)
}

/// The keys that only this endpoint has.
#[derive(Default)]
struct Own {
    named: Option<Named>,
    prompts: Option<Payload>,
    max_tokens: Option<u32>,
    best_of: Option<u32>,
    logprobs: Option<u32>,
    echo: bool,
}

/// Reads a body.
pub fn read(body: &[u8], limits: &MediaLimits) -> Result<Wanted, Problem> {
    let (mut own, mut sampling) = (Own::default(), Sampling::default());
    fields::body(body, |reader, key, at| {
        if sampling.member(reader, key, at)? { Ok(()) } else { own.member(reader, key, at, limits) }
    })?;
    own.finish(sampling, limits)
}

impl Own {
    fn member(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        at: &str,
        limits: &MediaLimits,
    ) -> Result<(), Problem> {
        match key {
            "model" => self.named = Some(Named::read(reader, at)?),
            "prompt" => self.prompts = Some(prompts::read(reader, at, limits)?),
            "max_tokens" => self.max_tokens = Some(fields::integer(reader, at, 0, u32::MAX)?),
            "best_of" => self.best_of = Some(fields::integer(reader, at, 1, TEXTS_MAX)?),
            "logprobs" => self.logprobs = Some(fields::integer(reader, at, 0, LOGPROBS_MAX)?),
            "echo" => self.echo = fields::flag(reader, at)?,
            "suffix" => {
                let hint = "a model here goes on from a text and fills no gap: leave it out";
                return Err(fields::refused(at, key, hint));
            }
            _ => return Err(fields::unknown(at, key)),
        }
        Ok(())
    }

    fn finish(self, mut sampling: Sampling, limits: &MediaLimits) -> Result<Wanted, Problem> {
        let named = fields::required(self.named, "/model", "GET /v1/models lists the models")?;
        let prompts = fields::required(self.prompts, "/prompt", "the text to go on from")?;
        sampling.finish()?;
        let n = sampling.n.unwrap_or(1);
        let best_of = self.best_of.unwrap_or(n);
        check_best_of(best_of, n, sampling.stream)?;
        let at = if self.best_of.is_some() { "/best_of" } else { "/n" };
        sampling.put_integer("n", best_of, at);
        let default = MAX_TOKENS_DEFAULT.min(limits.generated_tokens_max);
        let most = self.max_tokens.or(u32::try_from(default).ok()).unwrap_or(1);
        sampling.put_integer("max_tokens", most, "/max_tokens");
        if self.echo {
            sampling.put("echo", ParamValue::Bool(true), "/echo");
        }
        // The best of several are found by their probabilities.
        if let Some(most) = self.logprobs.or((best_of > n).then_some(0)) {
            sampling.put_integer("logprobs", most, "/logprobs");
        }
        let (n, best_of) = (n as usize, best_of as usize);
        Ok(Wanted { named, prompts, sampling, n, best_of, logprobs: self.logprobs.is_some() })
    }
}

fn check_best_of(best_of: u32, n: u32, stream: bool) -> Result<(), Problem> {
    const AT: &str = "/best_of";
    if best_of < n {
        let expected = format!("at least n, which is {n}");
        return Err(fault(AT, &expected, best_of.to_string(), "raise it, or lower n"));
    }
    if best_of > n && stream {
        let expected = format!("n, which is {n}, beside stream: true");
        let hint = "which text is best is known only at the end: leave out one of the two";
        return Err(Problem::fault(Kind::Unsupported, AT, expected, best_of.to_string(), hint));
    }
    Ok(())
}

/// The form of these answers.
struct Completion;

#[derive(Serialize)]
struct Choice {
    text: String,
    index: usize,
    logprobs: Option<Listed>,
    finish_reason: Option<Finish>,
}

impl Form for Completion {
    type Choice = Choice;
    const PREFIX: &'static str = "cmpl";
    const OBJECT: &'static str = "text_completion";
    const CHUNK: &'static str = "text_completion";

    fn whole(text: Written) -> Choice {
        let Written { index, text, tokens, finish } = text;
        Choice { text, index, logprobs: tokens.map(Listed::new), finish_reason: finish }
    }

    fn part(text: Written) -> Choice {
        Self::whole(text)
    }
}
