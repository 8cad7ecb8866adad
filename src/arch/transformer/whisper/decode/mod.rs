//! From what is heard in a window to tokens: its prompt is read, and then its text is searched for. Each attempt
//! has rows of its own in the steps of a loop, and depends on no other.

mod fallback;
mod rules;
mod search;

use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use crate::arch::transformer::whisper::config::Tokens;
use crate::engine::{Row, RunError, Scores, TokenId};

pub use fallback::{Fallback, Verdict};
pub use rules::Rules;
use search::Search;

/// What is asked of a network about the words of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    #[default]
    Transcribe,
    /// Into English.
    Translate,
}

/// What a window's prompt says, and how its text is searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    /// The token of a language; without one, a network that knows several listens for it.
    pub language: Option<TokenId>,
    pub task: Task,
    /// Whether times are said between the words.
    pub timestamps: bool,
    /// 0 searches for the likeliest text; above, each token is drawn.
    pub temperature: f32,
    /// Hypotheses that are followed at temperature 0; 1 is greedy.
    pub beams: usize,
}

/// What was made of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Without the prompt and the end.
    pub tokens: Vec<TokenId>,
    /// Of each token.
    pub log_probabilities: Vec<f32>,
    /// Mean over the tokens and the end.
    pub log_probability: f32,
    /// The probability that nobody speaks.
    pub no_speech: f32,
    /// The one that was asked for or heard, where the network knows several.
    pub language: Option<TokenId>,
}

impl Decoded {
    /// Some of the tokens, each with its log-probability.
    pub fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (&TokenId, &f32)> {
        let tokens = self.tokens.iter().zip(&self.log_probabilities);
        tokens.skip(range.start).take(range.len())
    }
}

/// One window that is decoded in one manner.
pub struct Attempt<S> {
    manner: Manner,
    stage: Stage<S>,
}

enum Stage<S> {
    Prompt(Prompt<S>),
    Search(Search<S>),
    /// Nothing comes after it.
    Over,
}

/// A prompt that is being read. What its start token tells is needed for those after it.
struct Prompt<S> {
    state: S,
    tokens: Vec<TokenId>,
    /// Tokens that are read.
    read: usize,
    no_speech: f32,
    language: Option<TokenId>,
}

impl<S: Clone> Attempt<S> {
    /// Of a window with the state before any token; `before` is read first.
    pub fn new(state: S, manner: Manner, before: &[TokenId], tokens: &Tokens) -> Self {
        let language = manner.language;
        let tokens = before.iter().copied().chain([tokens.start]).collect();
        let prompt = Prompt { state, tokens, read: 0, no_speech: 0.0, language };
        Self { manner, stage: Stage::Prompt(prompt) }
    }

    /// What the network is to read next.
    pub fn rows<'a>(&'a mut self, rows: &mut Vec<Row<'a, S>>) {
        match &mut self.stage {
            Stage::Prompt(Prompt { state, tokens, read, .. }) => {
                rows.push(Row { state, tokens: &tokens[*read..], want_logits: true });
            }
            Stage::Search(search) => search.rows(rows),
            Stage::Over => {}
        }
    }

    /// Takes the logits after those rows; what was made of the window, at its end. `positions` are the decoder's.
    ///
    /// # Errors
    /// When a logit is +∞ or not a number.
    pub fn take(
        &mut self,
        mut scores: Scores<'_>,
        tokens: &Tokens,
        positions: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Decoded>, RunError> {
        let rules = Rules::new(tokens, self.manner.timestamps);
        let search = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Prompt(mut prompt) => {
                let none = || RunError("a prompt has no logits".to_owned());
                let logits = scores.next().ok_or_else(none)?;
                if prompt.goes_on(logits, &self.manner, tokens)? {
                    self.stage = Stage::Prompt(prompt);
                    return Ok(None);
                }
                let mut search = prompt.search(self.manner, positions);
                search.advance(std::iter::once(logits), &rules, rng)?;
                search
            }
            Stage::Search(mut search) => {
                search.advance(scores, &rules, rng)?;
                search
            }
            Stage::Over => return Ok(None),
        };
        if search.is_over() {
            return Ok(Some(search.finish()));
        }
        self.stage = Stage::Search(search);
        Ok(None)
    }
}

impl<S: Clone> Prompt<S> {
    /// Takes the logits after what is read; whether there is more of it. The start token tells whether anybody
    /// speaks, and which language.
    fn goes_on(
        &mut self,
        logits: &[f32],
        manner: &Manner,
        tokens: &Tokens,
    ) -> Result<bool, RunError> {
        if self.read == 0 {
            self.no_speech = rules::log_probability(logits, tokens.no_speech)?.exp();
            self.language = self.language.or_else(|| heard_language(tokens, logits));
            self.read = self.tokens.len();
            self.tokens.extend(rest_of_prompt(tokens, manner, self.language));
            return Ok(self.read < self.tokens.len());
        }
        Ok(false)
    }

    fn search(self, manner: Manner, positions: usize) -> Search<S> {
        // As the reference: half of the positions are the text's, whatever the prompt takes.
        let limit = (positions / 2).min(positions.saturating_sub(self.tokens.len()));
        Search::new(self.state, manner, limit, self.no_speech, self.language)
    }
}

/// What comes after the start: the language and the task, where the network knows several, and whether
/// times are left out.
pub fn rest_of_prompt(
    tokens: &Tokens,
    manner: &Manner,
    language: Option<TokenId>,
) -> impl Iterator<Item = TokenId> {
    let told = tokens.multilingual.as_ref().map(|told| match manner.task {
        Task::Transcribe => told.transcribe,
        Task::Translate => told.translate,
    });
    let without = (!manner.timestamps).then_some(tokens.no_timestamps);
    language.filter(|_| told.is_some()).into_iter().chain(told).chain(without)
}

/// The likeliest language, where the network knows several.
fn heard_language(tokens: &Tokens, logits: &[f32]) -> Option<TokenId> {
    let languages = tokens.multilingual.as_ref()?.languages.values().copied();
    let score = |token: TokenId| logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    languages.max_by(|&a, &b| score(a).total_cmp(&score(b)))
}
