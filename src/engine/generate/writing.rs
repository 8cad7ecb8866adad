//! One text on its way: from its prompt to the token that ends it.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{Finish, Fragment, Outcome};
use crate::engine::generate::caller::{Caller, Ended, Pace, What};
use crate::engine::generate::options::Options;
use crate::engine::generate::sampler::Sampler;
use crate::engine::generate::scores::Scores;
use crate::engine::generate::steps::Member;
use crate::engine::generate::text::TextStream;
use crate::engine::{self, Language, Row, RunError, Sequence, TokenId};

/// What a text goes on from.
#[derive(Clone)]
pub struct Prompt {
    /// Never empty.
    pub tokens: Arc<[TokenId]>,
    /// Its text, where the answer begins with it.
    pub echo: String,
}

/// Tokens, and bytes of text, that there is room for from the start: few texts are longer.
const ROOM: usize = 256;

/// One generation.
pub struct Writing<S, L> {
    caller: Caller<Outcome>,
    language: Arc<L>,
    state: S,
    prompt: Arc<[TokenId]>,
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
    /// Where they are asked for.
    scores: Option<Box<Scores>>,
    /// The prompt's text, while its tokens are scored too: one a step then.
    echo: Option<Box<TextStream>>,
    first: Option<Instant>,
    /// Why it ended.
    finish: Finish,
}

impl<S, L: Language> Writing<S, L> {
    pub fn new(
        caller: Caller<Outcome>,
        language: Arc<L>,
        state: S,
        prompt: Prompt,
        options: &Options,
        seed: u64,
    ) -> Self {
        let mut sampler = Sampler::new(options, seed);
        sampler.read(&prompt.tokens);
        let scores = options.logprobs.map(|most| Box::new(Scores::new(most)));
        let echo = (options.echo && scores.is_some()).then(|| TextStream::new(Vec::new(), 0));
        let room = options.max_tokens.min(ROOM);
        let mut writing = Self {
            caller,
            language,
            state,
            prompt: prompt.tokens,
            read: 0,
            last: [0],
            sampler,
            text: TextStream::new(options.stop.clone(), room),
            whole: String::with_capacity(room),
            max_tokens: options.max_tokens,
            seed,
            streams: options.stream,
            scores,
            echo: echo.map(Box::new),
            first: None,
            finish: Finish::Length,
        };
        if writing.echo.is_some() {
            writing.heard(0, None);
        } else if !prompt.echo.is_empty() {
            writing.whole = prompt.echo;
            writing.show(0, false);
        }
        writing
    }

    /// A token of the prompt, whose text and score the caller wants.
    fn heard(&mut self, at: usize, logits: Option<&[f32]>) {
        let (token, last) = (self.prompt[at], at + 1 == self.prompt.len());
        let Some(echo) = &mut self.echo else { return };
        if let Some(scores) = &mut self.scores {
            scores.add(token, self.whole.len() + echo.held(), logits, &*self.language);
        }
        let shown = self.whole.len();
        echo.push(token, &*self.language, &mut self.whole);
        if last {
            echo.finish(&*self.language, &mut self.whole);
        }
        self.show(shown, last);
    }

    fn push(&mut self, token: TokenId, logits: &[f32]) -> bool {
        if self.language.end() == Some(token) {
            self.show_rest();
            return self.end(Finish::Stop);
        }
        self.sampler.wrote(token);
        self.last = [token];
        if let Some(scores) = &mut self.scores {
            let begin = self.whole.len() + self.text.held();
            scores.add(token, begin, Some(logits), &*self.language);
        }
        let shown = self.whole.len();
        let stopped = self.text.push(token, &*self.language, &mut self.whole);
        self.show(shown, false);
        if stopped {
            return self.end(Finish::Stop);
        }
        if self.text.len() >= self.max_tokens {
            self.show_rest();
            return self.end(Finish::Length);
        }
        true
    }

    /// Shows what the whole has more than its first `from` bytes.
    fn show(&mut self, from: usize, last: bool) {
        let shown = self.scores.as_mut().map(|scores| scores.show(&self.whole, last));
        // Where nobody reads along, nobody is woken.
        if !self.streams {
            return;
        }
        let (text, tokens) = (&self.whole[from..], shown.unwrap_or_default());
        if !text.is_empty() || !tokens.is_empty() {
            let (text, tokens) = (text.to_owned(), tokens.to_vec());
            self.caller.tell(What::Text(Fragment { index: self.caller.index, text, tokens }));
        }
    }

    fn show_rest(&mut self) {
        let shown = self.whole.len();
        self.text.finish(&*self.language, &mut self.whole);
        self.show(shown, true);
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
            tokens: self.scores.map(|scores| scores.finish()).unwrap_or_default(),
            finish_reason: self.finish,
            prompt_tokens: self.prompt.len(),
            completion_tokens: tokens,
            seed: self.seed,
        };
        let pace = self.first.map(|first| Pace { first, last, tokens });
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
        let most = if self.echo.is_some() { most.min(1) } else { most };
        let (tokens, want_logits) = match unread.get(..most) {
            _ if unread.is_empty() => (&self.last[..], true),
            None | Some([]) => return,
            Some(chunk) => (chunk, self.echo.is_some() || chunk.len() == unread.len()),
        };
        self.read += most.min(unread.len());
        rows.push(Row { state: &mut self.state, tokens, want_logits });
    }

    fn take(&mut self, mut scores: engine::Scores<'_>) -> Result<bool, RunError> {
        let unusable = || RunError("the network gave no usable probabilities".to_owned());
        let logits = scores.next().ok_or_else(unusable)?;
        if self.unread() > 0 {
            self.heard(self.read, Some(logits));
            return Ok(true);
        }
        if self.max_tokens == 0 {
            return Ok(self.end(Finish::Length));
        }
        self.first = self.first.or_else(|| Some(Instant::now()));
        let token = self.sampler.next(logits).ok_or_else(unusable)?;
        Ok(self.push(token, logits))
    }
}

impl<S: Send + 'static, L: Language> Member for Writing<S, L> {
    type Output = Outcome;

    fn caller(&self) -> &Caller<Outcome> {
        &self.caller
    }
}
