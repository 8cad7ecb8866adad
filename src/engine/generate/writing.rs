//! One text on its way: from its prompt to the token that ends it.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{Finish, Outcome};
use crate::engine::generate::caller::{Caller, Ended, Pace, What};
use crate::engine::generate::options::Options;
use crate::engine::generate::sampler::Sampler;
use crate::engine::generate::steps::Member;
use crate::engine::generate::text::TextStream;
use crate::engine::{Language, Row, RunError, Scores, Sequence, TokenId};

/// One generation.
pub struct Writing<S, L> {
    caller: Caller<Outcome>,
    language: Arc<L>,
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
    /// Whether its text is sent as it comes.
    streams: bool,
    first: Option<Instant>,
    /// Why it ended.
    finish: Finish,
}

impl<S, L: Language> Writing<S, L> {
    pub fn new(
        caller: Caller<Outcome>,
        language: Arc<L>,
        state: S,
        prompt: Vec<TokenId>,
        options: &Options,
    ) -> Self {
        let mut sampler = Sampler::new(options);
        for &token in &prompt {
            sampler.saw(token);
        }
        Self {
            caller,
            language,
            state,
            prompt,
            read: 0,
            last: [0],
            sampler,
            text: TextStream::new(options.stop.clone()),
            whole: String::new(),
            max_tokens: options.max_tokens,
            seed: options.seed,
            streams: options.stream,
            first: None,
            finish: Finish::Length,
        }
    }

    fn push(&mut self, token: TokenId) -> bool {
        if self.language.end() == Some(token) {
            self.show_rest();
            return self.end(Finish::Stop);
        }
        self.sampler.saw(token);
        self.last = [token];
        let shown = self.text.push(token, &*self.language);
        self.show(shown.text);
        if shown.stopped {
            return self.end(Finish::Stop);
        }
        if self.text.len() >= self.max_tokens {
            self.show_rest();
            return self.end(Finish::Length);
        }
        true
    }

    fn show(&mut self, text: String) {
        self.whole.push_str(&text);
        // Where nobody reads along, nobody is woken.
        if self.streams && !text.is_empty() {
            self.caller.tell(What::Text(text));
        }
    }

    fn show_rest(&mut self) {
        let rest = self.text.finish(&*self.language);
        self.show(rest);
    }

    fn end(&mut self, finish: Finish) -> bool {
        self.finish = finish;
        false
    }

    /// Tells the waiter the whole; `batch_rows`: rows in the widest step that it was part of.
    pub fn finish(self, started: Instant, batch_rows: usize) {
        let (last, tokens) = (Instant::now(), self.text.len());
        let output = Outcome::Generated {
            text: self.whole,
            finish_reason: self.finish,
            prompt_tokens: self.prompt.len(),
            completion_tokens: tokens,
            seed: self.seed,
        };
        let pace = Some(Pace { first: self.first.unwrap_or(last), last, tokens });
        self.caller.tell(What::Ended(Ended { output, started, at: last, batch_rows, pace }));
    }
}

impl<S: Send + 'static, L: Language> Sequence for Writing<S, L> {
    type State = S;

    fn unread(&self) -> usize {
        self.prompt.len() - self.read
    }

    /// A chunk of the prompt, or the last token.
    fn rows<'a>(&'a mut self, most: usize, rows: &mut Vec<Row<'a, S>>) {
        let unread = &self.prompt[self.read..];
        let (tokens, want_logits) = match unread.get(..most) {
            _ if unread.is_empty() => (&self.last[..], true),
            None | Some([]) => return,
            Some(chunk) => (chunk, chunk.len() == unread.len()),
        };
        self.read += most.min(unread.len());
        rows.push(Row { state: &mut self.state, tokens, want_logits });
    }

    fn take(&mut self, mut scores: Scores<'_>) -> Result<bool, RunError> {
        self.first = self.first.or_else(|| Some(Instant::now()));
        let token = scores.next().and_then(|logits| self.sampler.next(logits));
        let unusable = || RunError("the network gave no usable probabilities".to_owned());
        token.map(|token| self.push(token)).ok_or_else(unusable)
    }
}

impl<S: Send + 'static, L: Language> Member for Writing<S, L> {
    type Output = Outcome;

    fn caller(&self) -> &Caller<Outcome> {
        &self.caller
    }
}
