//! What a caller may ask of a generation.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::domain::{Params, Problem};

/// Seeds stay below 2^53, so that they survive JSON readers that know only doubles.
const SEED_MAX: u64 = (1 << 53) - 1;

/// Tokens that are generated when the caller does not say.
const MAX_TOKENS_DEFAULT: u64 = 64;

/// Stop texts, and bytes in one: each is looked for after every token.
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;

/// The parameters of one generation, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the most probable token each time.
    pub temperature: f64,
    /// Keeps the k most probable tokens.
    pub top_k: Option<usize>,
    /// Keeps the fewest tokens whose probabilities reach this sum (Holtzman et al. 2020).
    pub top_p: f64,
    /// Keeps tokens of at least this fraction of the best one's probability.
    pub min_p: f64,
    /// Above 1 makes tokens less likely that occurred before (Keskar et al. 2019).
    pub repetition_penalty: f64,
    /// Texts that end the generation; they are not part of the answer.
    pub stop: Vec<String>,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Whether the text is sent as it comes.
    pub stream: bool,
}

impl Options {
    /// # Errors
    /// [`Problem`] with every parameter that is unknown or out of range.
    pub fn read(params: &Params, max_tokens_limit: usize) -> Result<Self, Problem> {
        let mut reader = params.reader();
        let options = Self {
            max_tokens: to_usize(
                reader
                    .integer("max_tokens", 1..=max_tokens_limit as u64)
                    .unwrap_or(MAX_TOKENS_DEFAULT.min(max_tokens_limit as u64)),
            ),
            temperature: reader.number("temperature", 0.0..=10.0).unwrap_or(1.0),
            top_k: reader.integer("top_k", 1..=1_000_000).map(to_usize),
            top_p: reader.number("top_p", 0.0..=1.0).unwrap_or(1.0),
            min_p: reader.number("min_p", 0.0..=1.0).unwrap_or(0.0),
            repetition_penalty: reader.number("repetition_penalty", 0.1..=10.0).unwrap_or(1.0),
            stop: reader.texts("stop", STOPS_MAX, STOP_BYTES_MAX).unwrap_or_default(),
            seed: reader.integer("seed", 0..=SEED_MAX).unwrap_or_else(any_seed),
            stream: reader.flag("stream").unwrap_or(false),
        };
        reader.finish()?;
        Ok(options)
    }
}

/// The standard library seeds each of these states from the system's randomness.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() & SEED_MAX
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
