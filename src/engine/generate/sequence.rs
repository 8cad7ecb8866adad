//! One sequence on its way: from its prompt to the token that ends it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::domain::{Finish, Kind, Outcome, Problem};
use crate::engine::gather::deadline_passed;
use crate::engine::generate::options::Options;
use crate::engine::generate::sampler::Sampler;
use crate::engine::generate::text::TextStream;
use crate::engine::{Language, Row, TokenId};

/// Prompt tokens that one step reads at most, so that a long prompt does not hold up its neighbours.
const PROMPT_CHUNK: usize = 64;

/// What a sequence tells the request it belongs to.
#[derive(Debug)]
pub struct Event {
    /// Which of the request's items.
    pub index: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// The first step begins.
    Started(Instant),
    Text(String),
    /// `batch_rows`: sequences in the widest step that it was part of.
    Ended {
        outcome: Outcome,
        batch_rows: usize,
        pace: Pace,
    },
    Failed(Problem),
}

/// When the tokens of a sequence came.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub first: Instant,
    pub last: Instant,
    pub tokens: usize,
}

/// One generation.
pub struct Sequence<S> {
    index: usize,
    state: S,
    prompt: Vec<TokenId>,
    /// Tokens of the prompt that are read.
    read: usize,
    last: [TokenId; 1],
    sampler: Sampler,
    text: TextStream,
    whole: String,
    max_tokens: usize,
    seed: u64,
    deadline: Instant,
    started: Option<Instant>,
    /// Its share of the steps that it was part of, by rows.
    work: Duration,
    first: Option<Instant>,
    batch_rows: usize,
    /// Unbounded, but a sequence sends at most `max_tokens` pieces: a slow reader costs that much
    /// memory and holds up nobody.
    events: UnboundedSender<Event>,
}

/// What a request brings for one of its sequences.
pub struct Opening {
    pub index: usize,
    pub prompt: Vec<TokenId>,
    pub deadline: Instant,
    pub events: UnboundedSender<Event>,
}

impl<S> Sequence<S> {
    pub fn new(state: S, opening: Opening, options: &Options) -> Self {
        let Opening { index, prompt, deadline, events } = opening;
        let mut sampler = Sampler::new(options);
        for &token in &prompt {
            sampler.saw(token);
        }
        Self {
            index,
            state,
            prompt,
            read: 0,
            last: [0],
            sampler,
            text: TextStream::new(options.stop.clone()),
            whole: String::new(),
            max_tokens: options.max_tokens,
            seed: options.seed,
            deadline,
            started: None,
            work: Duration::ZERO,
            first: None,
            batch_rows: 0,
            events,
        }
    }

    /// Whether it should leave before the next step; tells a waiter whose deadline has passed.
    pub fn is_dead(&self, now: Instant) -> bool {
        if now >= self.deadline {
            self.tell(What::Failed(deadline_passed()));
            return true;
        }
        self.events.is_closed()
    }

    /// Its part in the next step, of `rows` sequences: a chunk of the prompt, or the last token.
    pub fn row(&mut self, rows: usize) -> Row<'_, S> {
        self.batch_rows = self.batch_rows.max(rows);
        if self.started.is_none() {
            let now = Instant::now();
            self.started = Some(now);
            self.tell(What::Started(now));
        }
        let left = &self.prompt[self.read..];
        if left.is_empty() {
            return Row { state: &mut self.state, tokens: &self.last, want_logits: true };
        }
        let chunk = &left[..left.len().min(PROMPT_CHUNK)];
        self.read += chunk.len();
        let want_logits = chunk.len() == left.len();
        Row { state: &mut self.state, tokens: chunk, want_logits }
    }

    /// Takes the step's logits; `false` when the sequence has ended.
    pub fn take(&mut self, logits: Option<&[f32]>, language: &dyn Language) -> bool {
        let Some(logits) = logits else { return true };
        self.first = self.first.or_else(|| Some(Instant::now()));
        let Some(token) = self.sampler.next(logits) else {
            let detail = "the network gave no usable probabilities";
            self.tell(What::Failed(Problem::new(Kind::Internal, detail)));
            return false;
        };
        if language.end() == Some(token) {
            let rest = self.text.finish(language);
            self.show(rest);
            return self.end(Finish::Stop);
        }
        self.sampler.saw(token);
        self.last = [token];
        let shown = self.text.push(token, language);
        self.show(shown.text);
        if shown.stopped {
            return self.end(Finish::Stop);
        }
        if self.text.len() >= self.max_tokens {
            let rest = self.text.finish(language);
            self.show(rest);
            return self.end(Finish::Length);
        }
        true
    }

    /// Takes its share of a step.
    pub fn worked(&mut self, share: Duration) {
        self.work += share;
    }

    /// What it took of a thread so far, and since when.
    pub fn effort(&self) -> (Duration, Instant) {
        (self.work, self.started.unwrap_or_else(Instant::now))
    }

    pub fn fail(&self, problem: Problem) {
        self.tell(What::Failed(problem));
    }

    fn show(&mut self, text: String) {
        if !text.is_empty() {
            self.whole.push_str(&text);
            self.tell(What::Text(text));
        }
    }

    fn end(&mut self, finish_reason: Finish) -> bool {
        let outcome = Outcome::Generated {
            text: std::mem::take(&mut self.whole),
            finish_reason,
            prompt_tokens: self.prompt.len(),
            completion_tokens: self.text.len(),
            seed: self.seed,
        };
        let last = Instant::now();
        let pace = Pace { first: self.first.unwrap_or(last), last, tokens: self.text.len() };
        self.tell(What::Ended { outcome, batch_rows: self.batch_rows, pace });
        false
    }

    fn tell(&self, what: What) {
        // A receiver that has gone is noticed by `is_dead` before the next step.
        let _ = self.events.send(Event { index: self.index, what });
    }
}
