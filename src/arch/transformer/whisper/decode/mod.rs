//! From what is heard in windows to tokens: a search per window, all of them stepped together.

mod fallback;
mod rules;
mod search;

use rand_chacha::ChaCha8Rng;

use crate::arch::transformer::whisper::config::{Config, Tokens};
use crate::arch::transformer::whisper::speech::{Row, Speech};
use crate::engine::{Logits, RunError, TokenId};

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

/// One window to be decoded.
pub struct Attempt<'a, A> {
    pub audio: &'a A,
    pub manner: Manner,
    pub rng: &'a mut ChaCha8Rng,
}

/// What was made of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Without the prompt and the end.
    pub tokens: Vec<TokenId>,
    /// Mean over the tokens and the end.
    pub log_probability: f32,
    /// The probability that nobody speaks.
    pub no_speech: f32,
    /// The one that was asked for or heard, where the network knows several.
    pub language: Option<TokenId>,
}

/// Decodes windows, in order. A window's tokens depend on no other window.
///
/// # Errors
/// When the network fails or answers with what is not a number.
pub fn decode<S: Speech>(
    speech: &S,
    config: &Config,
    tokens: &Tokens,
    attempts: &mut [Attempt<'_, S::Audio>],
) -> Result<Vec<Decoded>, RunError> {
    let mut begun = begin(speech, tokens, attempts)?;
    let mut searches: Vec<Search<S::Cache>> = Vec::with_capacity(begun.len());
    for (begun, attempt) in begun.drain(..).zip(attempts.iter_mut()) {
        let Begun { cache, logits, prompt, no_speech, language } = begun;
        let rules = Rules::new(tokens, attempt.manner.timestamps);
        // As the reference: half of the positions are the text's, whatever the prompt takes.
        let limit = (config.text_positions / 2).min(config.text_positions - prompt);
        let mut search = Search::new(cache, attempt.manner, limit, no_speech, language);
        search.advance(vec![logits], &rules, attempt.rng)?;
        searches.push(search);
    }
    while step(speech, tokens, &mut searches, attempts)? {}
    Ok(searches.into_iter().map(Search::finish).collect())
}

/// A window whose prompt has been read.
struct Begun<C> {
    cache: C,
    /// After the prompt.
    logits: Logits,
    /// Tokens in the prompt.
    prompt: usize,
    no_speech: f32,
    language: Option<TokenId>,
}

/// Reads the prompts: the first token tells whether anybody speaks and which language.
fn begin<S: Speech>(
    speech: &S,
    tokens: &Tokens,
    attempts: &[Attempt<'_, S::Audio>],
) -> Result<Vec<Begun<S::Cache>>, RunError> {
    let mut caches: Vec<S::Cache> = attempts.iter().map(|_| speech.begin()).collect();
    let start = [tokens.start];
    let mut rows: Vec<_> = attempts
        .iter()
        .zip(&mut caches)
        .map(|(attempt, cache)| Row { audio: attempt.audio, cache, tokens: &start })
        .collect();
    let first = speech.step(&mut rows)?;
    let mut begun = Vec::with_capacity(attempts.len());
    for ((attempt, cache), logits) in attempts.iter().zip(caches).zip(first) {
        let no_speech = rules::log_probability(&logits, tokens.no_speech)?.exp();
        let language = attempt.manner.language.or_else(|| heard_language(tokens, &logits));
        begun.push(Begun { cache, logits, prompt: 1, no_speech, language });
    }
    finish_prompts(speech, tokens, attempts, &mut begun)?;
    Ok(begun)
}

fn finish_prompts<S: Speech>(
    speech: &S,
    tokens: &Tokens,
    attempts: &[Attempt<'_, S::Audio>],
    begun: &mut [Begun<S::Cache>],
) -> Result<(), RunError> {
    let rests: Vec<Vec<TokenId>> = attempts
        .iter()
        .zip(begun.iter())
        .map(|(attempt, begun)| rest_of_prompt(tokens, &attempt.manner, begun.language))
        .collect();
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for ((attempt, begun), rest) in attempts.iter().zip(begun).zip(&rests) {
        if !rest.is_empty() {
            begun.prompt += rest.len();
            rows.push(Row { audio: attempt.audio, cache: &mut begun.cache, tokens: rest });
            places.push(&mut begun.logits);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    for (place, logits) in places.into_iter().zip(speech.step(&mut rows)?) {
        *place = logits;
    }
    Ok(())
}

/// What comes after the start: the language and the task, where the network knows several, and whether
/// times are left out.
fn rest_of_prompt(tokens: &Tokens, manner: &Manner, language: Option<TokenId>) -> Vec<TokenId> {
    let told = tokens.multilingual.as_ref().map(|told| match manner.task {
        Task::Transcribe => told.transcribe,
        Task::Translate => told.translate,
    });
    let without = (!manner.timestamps).then_some(tokens.no_timestamps);
    language.filter(|_| told.is_some()).into_iter().chain(told).chain(without).collect()
}

/// The likeliest language, where the network knows several.
fn heard_language(tokens: &Tokens, logits: &[f32]) -> Option<TokenId> {
    let languages = tokens.multilingual.as_ref()?.languages.values().copied();
    let score = |token: TokenId| logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    languages.max_by(|&a, &b| score(a).total_cmp(&score(b)))
}

/// Gives every hypothesis that is not at its end one more token. `false` when all are.
fn step<S: Speech>(
    speech: &S,
    tokens: &Tokens,
    searches: &mut [Search<S::Cache>],
    attempts: &mut [Attempt<'_, S::Audio>],
) -> Result<bool, RunError> {
    let mut rows = Vec::new();
    let mut counts = Vec::with_capacity(searches.len());
    for (search, attempt) in searches.iter_mut().zip(attempts.iter()) {
        let before = rows.len();
        rows.extend(search.rows(attempt.audio));
        counts.push(rows.len() - before);
    }
    if rows.is_empty() {
        return Ok(false);
    }
    let mut logits = speech.step(&mut rows)?.into_iter();
    for ((search, attempt), count) in searches.iter_mut().zip(attempts).zip(counts) {
        if count > 0 {
            let rules = Rules::new(tokens, attempt.manner.timestamps);
            search.advance(logits.by_ref().take(count).collect(), &rules, attempt.rng)?;
        }
    }
    Ok(true)
}
