//! The way of a generation, whatever its answer looks like.

use std::sync::Arc;

use axum::response::Response;
use serde::Serialize;

use crate::domain::{Answer, Finish, Fragment, Outcome, Payload, Piece, Problem, ScoredToken};
use crate::engine::Reply;
use crate::http::answer;
use crate::http::call::Call;
use crate::http::openai::document::Named;
use crate::http::openai::sampling::Sampling;
use crate::http::openai::shape::{Body, Head, Spent, Usage};
use crate::http::stream::{self, Told};
use crate::registry::Model;

/// What is asked of the engine, and how much of it is shown.
pub struct Wanted {
    pub named: Named,
    pub prompts: Payload,
    pub sampling: Sampling,
    /// Texts of each prompt that are shown.
    pub n: usize,
    /// Texts of each prompt that are generated: the likeliest are shown.
    pub best_of: usize,
    /// Whether probabilities are shown.
    pub logprobs: bool,
}

/// One text.
#[derive(Default)]
pub struct Written {
    pub index: usize,
    pub text: String,
    /// Where they are shown.
    pub tokens: Option<Vec<ScoredToken>>,
    /// None while it goes on.
    pub finish: Option<Finish>,
}

/// How an endpoint shows its texts.
pub trait Form: Send + 'static {
    type Choice: Serialize;
    /// What the ids of its answers begin with.
    const PREFIX: &'static str;
    const OBJECT: &'static str;
    /// The same of a stream's events.
    const CHUNK: &'static str;

    fn whole(text: Written) -> Self::Choice;
    fn part(text: Written) -> Self::Choice;

    /// What comes before a text's first piece.
    fn begin(_index: usize) -> Option<Self::Choice> {
        None
    }
}

/// Answers a request whose model is found.
///
/// # Errors
/// As [`Call::predict`].
pub async fn answer<F: Form>(
    mut call: Call,
    model: Arc<Model>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let Wanted { named, prompts, sampling, n, best_of, logprobs } = wanted;
    let texts = prompts.items.len() * n;
    let (stream, include_usage) = (sampling.stream, sampling.include_usage);
    let object = if stream { F::CHUNK } else { F::OBJECT };
    let head = Head::new(F::PREFIX, object, &call.ticket.id, &named.said, &model.card);
    match call.predict(&model, prompts, sampling.params).await? {
        Reply::Whole(answer) => {
            let timings = answer.timings;
            let chosen = Chosen::new(answer, n, best_of)?;
            let choices = chosen.texts.into_iter().map(|text| F::whole(text.with(logprobs)));
            let (choices, usage) = (choices.collect(), Spent::Known(chosen.usage));
            let json = answer::text(&Body { head: &head, choices, usage })?;
            Ok(answer::whole(json, timings, &model.card))
        }
        Reply::Stream(pieces) => {
            let mut chunks = Chunks::<F> { head, logprobs, include_usage, texts, n, form: F::part };
            let mut events = chunks.begin()?;
            let told = move |piece| chunks.tell(piece, std::mem::take(&mut events));
            stream::respond(pieces, call.into_stream(model), told).await
        }
    }
}

impl Written {
    /// With the probabilities where they are shown, and without them where they only served to choose.
    fn with(self, logprobs: bool) -> Self {
        Self { tokens: self.tokens.filter(|_| logprobs), ..self }
    }
}

/// The texts of an answer that are shown, and what all of them took.
pub struct Chosen {
    pub texts: Vec<Written>,
    pub usage: Usage,
}

impl Chosen {
    /// Of every `best_of` texts, the `n` of the highest mean log-probability, best first; all in their order
    /// where none is left out.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::domain::Kind::Internal) when the answer is not one of texts.
    pub fn new(answer: Answer, n: usize, best_of: usize) -> Result<Self, Problem> {
        let mut chosen = Self { texts: Vec::new(), usage: Usage::default() };
        let mut rivals: Vec<(f64, Written)> = Vec::new();
        for (at, outcome) in answer.outcomes.into_iter().enumerate() {
            let Outcome::Generated {
                text,
                tokens,
                finish_reason,
                prompt_tokens,
                completion_tokens,
                ..
            } = outcome
            else {
                return Err(answer::unusable());
            };
            // A prompt is read once, however many texts go on from it.
            chosen.usage.prompt_tokens +=
                if at.is_multiple_of(best_of) { prompt_tokens } else { 0 };
            chosen.usage.completion_tokens += completion_tokens;
            let merit = if n < best_of { mean(&tokens, completion_tokens) } else { 0.0 };
            let (tokens, finish) = (Some(tokens), Some(finish_reason));
            rivals.push((merit, Written { index: 0, text, tokens, finish }));
            if rivals.len() == best_of {
                rivals.sort_by(|a, b| b.0.total_cmp(&a.0));
                chosen.texts.extend(rivals.drain(..).take(n).map(|(_, text)| text));
            }
        }
        chosen.usage.total_tokens = chosen.usage.prompt_tokens + chosen.usage.completion_tokens;
        for (index, text) in chosen.texts.iter_mut().enumerate() {
            text.index = index;
        }
        Ok(chosen)
    }
}

/// The mean log-probability of what was generated: of the last tokens, where an echo is before them. A text without
/// a token is behind all others.
fn mean(tokens: &[ScoredToken], generated: usize) -> f64 {
    let own = &tokens[tokens.len().saturating_sub(generated)..];
    let sum: f64 = own.iter().filter_map(|scored| scored.token.logprob).sum();
    #[expect(clippy::cast_precision_loss, reason = "some thousand tokens")]
    let count = own.len() as f64;
    if own.is_empty() { f64::NEG_INFINITY } else { sum / count }
}

/// The events of a stream.
struct Chunks<F: Form> {
    head: Head,
    logprobs: bool,
    include_usage: bool,
    /// Of all prompts.
    texts: usize,
    /// Of each.
    n: usize,
    form: fn(Written) -> F::Choice,
}

impl<F: Form> Chunks<F> {
    fn event(&self, choice: F::Choice) -> Result<String, Problem> {
        self.body(vec![choice], if self.include_usage { Spent::Later } else { Spent::Unasked })
    }

    fn body(&self, choices: Vec<F::Choice>, usage: Spent) -> Result<String, Problem> {
        answer::text(&Body { head: &self.head, choices, usage })
    }
}

impl<F: Form> Chunks<F> {
    /// What comes before the first piece.
    fn begin(&self) -> Result<Vec<String>, Problem> {
        (0..self.texts).filter_map(F::begin).map(|choice| self.event(choice)).collect()
    }

    /// A piece, behind what comes before it.
    fn tell(&mut self, piece: Piece, mut events: Vec<String>) -> Result<Told, Problem> {
        match piece {
            Piece::Text(Fragment { index, text, tokens }) => {
                let tokens = self.logprobs.then_some(tokens);
                events.push(self.event((self.form)(Written {
                    index,
                    text,
                    tokens,
                    finish: None,
                }))?);
                Ok(Told::Events(events))
            }
            Piece::End(answer) => {
                let timings = answer.timings;
                self.end(answer, &mut events)?;
                Ok(Told::Last(events, timings))
            }
        }
    }

    fn end(&self, answer: Answer, events: &mut Vec<String>) -> Result<(), Problem> {
        let Chosen { texts, usage } = Chosen::new(answer, self.n, self.n)?;
        for Written { index, finish, .. } in texts {
            events.push(self.event((self.form)(Written {
                index,
                finish,
                ..Written::default()
            }))?);
        }
        if self.include_usage {
            events.push(self.body(Vec::new(), Spent::Known(usage))?);
        }
        events.push("[DONE]".to_owned());
        Ok(())
    }
}
