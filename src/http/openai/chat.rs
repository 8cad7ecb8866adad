//! Replies to messages. The models here know texts and no roles: the messages' contents, one a line, are the
//! prompt, and the reply is how it goes on.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::domain::task::TEXT_GENERATION;
use crate::domain::{Finish, MediaLimits, Payload, Problem};
use crate::http::App;
use crate::http::call::Call;
use crate::http::error::Failure;
use crate::http::openai::document::{self, Document, Named};
use crate::http::openai::fields;
use crate::http::openai::generation::{self, Form, Wanted, Written};
use crate::http::openai::logprobs::Nested;
use crate::http::openai::sampling::Sampling;
use crate::http::parse::{self, Next, Reader, fault};
use crate::http::ticket::Ticket;

/// Tokens that are generated when the caller does not say.
const MAX_TOKENS_DEFAULT: usize = 512;
const TOP_LOGPROBS_MAX: u32 = 20;
const ROLES: [&str; 4] = ["developer", "system", "user", "assistant"];
const MESSAGES: &str = "/messages";

/// Goes on from a conversation.
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
    Ok(generation::answer::<Chat>(call, model, asked).await?)
}

/// The keys that only this endpoint has.
#[derive(Default)]
struct Own {
    named: Option<Named>,
    prompt: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    logprobs: bool,
    top_logprobs: Option<u32>,
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
            "messages" => self.prompt = Some(messages(reader, limits)?),
            "max_tokens" => self.max_tokens = Some(fields::integer(reader, at, 1, u32::MAX)?),
            "max_completion_tokens" => {
                self.max_completion_tokens = Some(fields::integer(reader, at, 1, u32::MAX)?);
            }
            "logprobs" => self.logprobs = fields::flag(reader, at)?,
            "top_logprobs" => {
                self.top_logprobs = Some(fields::integer(reader, at, 0, TOP_LOGPROBS_MAX)?);
            }
            "tool_choice" if reader.next()? == Next::String => {
                fields::choice(reader, at, &["none"])?;
            }
            "response_format" => response_format(reader, at)?,
            "modalities" => modalities(reader, at)?,
            "tools" | "tool_choice" | "functions" | "function_call" | "parallel_tool_calls" => {
                let hint = "no model here calls tools: leave it out";
                return Err(fields::refused(at, key, hint));
            }
            "audio" => {
                return Err(fields::refused(at, key, "replies are text alone: leave it out"));
            }
            _ => return Err(fields::unknown(at, key)),
        }
        Ok(())
    }

    fn finish(self, mut sampling: Sampling, limits: &MediaLimits) -> Result<Wanted, Problem> {
        let (most, at) = self.most_tokens(limits)?;
        let named = fields::required(self.named, "/model", "GET /v1/models lists the models")?;
        let prompt = fields::required(self.prompt, MESSAGES, "a list of messages")?;
        let prompts = Payload::single(parse::text(prompt, MESSAGES, limits)?, MESSAGES);
        sampling.finish()?;
        let n = sampling.n.unwrap_or(1);
        sampling.put_integer("n", n, "/n");
        sampling.put_integer("max_tokens", most, at);
        match self.top_logprobs {
            Some(_) if !self.logprobs => {
                let expected = "top_logprobs only beside logprobs: true";
                return Err(fault("/top_logprobs", expected, "no logprobs", "add logprobs: true"));
            }
            most if self.logprobs => {
                let at = if most.is_some() { "/top_logprobs" } else { "/logprobs" };
                sampling.put_integer("logprobs", most.unwrap_or(0), at);
            }
            _ => {}
        }
        let n = n as usize;
        Ok(Wanted { named, prompts, sampling, n, best_of: n, logprobs: self.logprobs })
    }

    /// The older and the newer name of one limit.
    fn most_tokens(&self, limits: &MediaLimits) -> Result<(u32, &'static str), Problem> {
        const AT: &str = "/max_completion_tokens";
        match (self.max_tokens, self.max_completion_tokens) {
            (Some(old), Some(new)) if old != new => {
                let expected = format!("{old}, which max_tokens says");
                Err(fault(AT, &expected, new.to_string(), "leave out max_tokens"))
            }
            (_, Some(most)) => Ok((most, AT)),
            (Some(most), None) => Ok((most, "/max_tokens")),
            (None, None) => {
                let most = MAX_TOKENS_DEFAULT.min(limits.generated_tokens_max);
                Ok((u32::try_from(most).unwrap_or(1), AT))
            }
        }
    }
}

/// The contents of all messages, one a line.
fn messages(reader: &mut Reader<'_>, limits: &MediaLimits) -> Result<String, Problem> {
    if reader.next()? != Next::List {
        return Err(fault(MESSAGES, "a list of messages", reader.shown()?, "put it in brackets"));
    }
    let (mut prompt, mut count) = (String::new(), 0_usize);
    reader.list(|reader| {
        let at = format!("{MESSAGES}/{count}");
        let content = message(reader, &at)?;
        if count > 0 {
            prompt.push('\n');
        }
        prompt.push_str(&content);
        count += 1;
        // No more is kept than a text may have.
        if prompt.len() > limits.text_bytes_max {
            parse::text(std::mem::take(&mut prompt), MESSAGES, limits)?;
        }
        Ok(())
    })?;
    if count == 0 {
        return Err(fault(MESSAGES, "one message or more", "an empty list", "add a message"));
    }
    Ok(prompt)
}

/// The content of one.
fn message(reader: &mut Reader<'_>, at: &str) -> Result<String, Problem> {
    let (mut role, mut content) = (None, None);
    fields::object(reader, at, |reader, key, at| {
        match key {
            "role" => role = Some(fields::choice(reader, at, &ROLES)?),
            "content" => content = Some(self::content(reader, at)?),
            _ => return Err(fields::unknown(at, key)),
        }
        Ok(())
    })?;
    fields::required(role, &format!("{at}/role"), "such as \"user\"")?;
    fields::required(content, &format!("{at}/content"), "a string, or a list of text parts")
}

/// A string, or a list of parts whose texts follow one another.
fn content(reader: &mut Reader<'_>, at: &str) -> Result<String, Problem> {
    match reader.next()? {
        Next::String => fields::text(reader, at),
        Next::List => {
            let (mut text, mut count) = (String::new(), 0_usize);
            reader.list(|reader| {
                text.push_str(&part(reader, &format!("{at}/{count}"))?);
                count += 1;
                Ok(())
            })?;
            Ok(text)
        }
        _ => {
            let expected = "a string, or a list of {\"type\": \"text\", \"text\": …}";
            Err(fault(at, expected, reader.shown()?, "put the text in quotes"))
        }
    }
}

fn part(reader: &mut Reader<'_>, at: &str) -> Result<String, Problem> {
    let (mut kind, mut text) = (None, None);
    fields::object(reader, at, |reader, key, at| {
        match key {
            "type" => kind = Some(fields::choice(reader, at, &["text"])?),
            "text" => text = Some(fields::text(reader, at)?),
            _ => return Err(fields::unknown(at, key)),
        }
        Ok(())
    })?;
    fields::required(kind, &format!("{at}/type"), "\"text\"")?;
    fields::required(text, &format!("{at}/text"), "the text of this part")
}

/// Only `{"type": "text"}`, which changes nothing.
fn response_format(reader: &mut Reader<'_>, at: &str) -> Result<(), Problem> {
    let mut kind = None;
    fields::object(reader, at, |reader, key, at| {
        if key != "type" {
            return Err(fields::unknown(at, key));
        }
        kind = Some(fields::choice(reader, at, &["text"])?);
        Ok(())
    })?;
    fields::required(kind, &format!("{at}/type"), "\"text\"").map(drop)
}

/// Only `["text"]`.
fn modalities(reader: &mut Reader<'_>, at: &str) -> Result<(), Problem> {
    if reader.next()? != Next::List {
        return Err(fault(at, "a list of texts", reader.shown()?, "[\"text\"]"));
    }
    let mut count = 0_usize;
    reader.list(|reader| {
        let place = format!("{at}/{count}");
        count += 1;
        fields::choice(reader, &place, &["text"]).map(drop)
    })
}

/// The form of these answers.
struct Chat;

#[derive(Serialize)]
struct Choice {
    index: usize,
    #[serde(flatten)]
    said: Said,
    logprobs: Option<Nested>,
    finish_reason: Option<Finish>,
}

/// Whole, or what more there is of it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Message { role: &'static str, content: String, refusal: Option<()> },
    Delta(Delta),
}

#[derive(Default, Serialize)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

const ASSISTANT: &str = "assistant";

impl Form for Chat {
    type Choice = Choice;
    const PREFIX: &'static str = "chatcmpl";
    const OBJECT: &'static str = "chat.completion";
    const CHUNK: &'static str = "chat.completion.chunk";

    fn whole(text: Written) -> Choice {
        let Written { index, text, tokens, finish } = text;
        let said = Said::Message { role: ASSISTANT, content: text, refusal: None };
        Choice { index, said, logprobs: tokens.map(Nested::new), finish_reason: finish }
    }

    fn part(text: Written) -> Choice {
        let Written { index, text, tokens, finish } = text;
        let content = finish.is_none().then_some(text);
        let said = Said::Delta(Delta { role: None, content });
        Choice { index, said, logprobs: tokens.map(Nested::new), finish_reason: finish }
    }

    fn begin(index: usize) -> Option<Choice> {
        let said = Said::Delta(Delta { role: Some(ASSISTANT), content: Some(String::new()) });
        Some(Choice { index, said, logprobs: None, finish_reason: None })
    }
}
