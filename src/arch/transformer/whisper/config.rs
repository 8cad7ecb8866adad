//! A Whisper's hyperparameters and its special tokens, as the manifest holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::OpenError;
use crate::engine::TokenId;
use crate::media::mel::MelConfig;

/// `[architecture.config]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub kind: Kind,
    pub mels: usize,
    pub width: usize,
    pub encoder_layers: usize,
    pub encoder_heads: usize,
    pub decoder_layers: usize,
    pub decoder_heads: usize,
    /// Width of the feed-forward parts.
    pub hidden: usize,
    /// Positions of the encoder; a window has twice as many mel frames.
    pub audio_positions: usize,
    /// Positions of the decoder, the prompt's included.
    pub text_positions: usize,
    pub vocabulary: usize,
    /// Heads of the decoder's cross-attention that listen to the word that is being said; without it, all of the
    /// upper half of its layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment_heads: Option<Vec<Head>>,
}

/// A layer, and a head of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head(pub usize, pub usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Whisper,
}

/// `[preprocessing]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    pub mel: MelConfig,
    pub tokens: Tokens,
}

/// The tokens that are not text. Every token from `end` on is special; every one after `no_timestamps`
/// is a time, 20 ms after the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Begins every prompt.
    pub start: TokenId,
    /// Ends every text.
    pub end: TokenId,
    /// Its probability after `start` is that nobody speaks.
    pub no_speech: TokenId,
    pub no_timestamps: TokenId,
    /// Never said.
    pub suppress: Vec<TokenId>,
    /// Never said first.
    pub suppress_first: Vec<TokenId>,
    /// Without it the network knows English only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multilingual: Option<Multilingual>,
}

/// What a prompt says to a network that knows more languages than English.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multilingual {
    pub transcribe: TokenId,
    /// Into English.
    pub translate: TokenId,
    /// By ISO 639 code.
    pub languages: BTreeMap<String, TokenId>,
}

impl Config {
    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be.
    pub fn check(&self) -> Result<(), OpenError> {
        let divides =
            |heads: usize| (1..=self.width).contains(&heads) && self.width.is_multiple_of(heads);
        let layers = |count: usize| (1..=64).contains(&count);
        let faults = [
            ((1..=256).contains(&self.mels), "mels: expected 1 to 256"),
            ((2..=4096).contains(&self.width), "width: expected 2 to 4096"),
            (layers(self.encoder_layers), "encoder_layers: expected 1 to 64"),
            (layers(self.decoder_layers), "decoder_layers: expected 1 to 64"),
            (divides(self.encoder_heads), "encoder_heads: expected a divisor of width"),
            (divides(self.decoder_heads), "decoder_heads: expected a divisor of width"),
            ((1..=16_384).contains(&self.hidden), "hidden: expected 1 to 16384"),
            ((1..=8192).contains(&self.audio_positions), "audio_positions: expected 1 to 8192"),
            ((8..=8192).contains(&self.text_positions), "text_positions: expected 8 to 8192"),
            ((2..=1 << 20).contains(&self.vocabulary), "vocabulary: expected 2 to 1048576"),
            (
                self.heads().iter().all(|&head| self.has(head)),
                "alignment_heads: expected layers and heads of the decoder",
            ),
        ];
        refuse_first("architecture.config", &faults)
    }

    /// The heads that tell when a word was said.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        let upper = (self.decoder_layers / 2)..self.decoder_layers;
        let all = || upper.flat_map(|layer| (0..self.decoder_heads).map(move |at| Head(layer, at)));
        self.alignment_heads.clone().unwrap_or_else(|| all().collect())
    }

    fn has(&self, Head(layer, at): Head) -> bool {
        layer < self.decoder_layers && at < self.decoder_heads
    }

    /// Mel frames in a window.
    #[must_use]
    pub fn frames(&self) -> usize {
        2 * self.audio_positions
    }
}

impl Preprocessing {
    /// # Errors
    /// [`OpenError::Config`] when the mel cannot be computed or does not fit the network, or a token is
    /// not in its vocabulary.
    pub fn check(&self, config: &Config) -> Result<(), OpenError> {
        self.mel
            .check()
            .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
        let same = self.mel.mels == config.mels;
        let fault = (same, "mels: expected as many as the network's");
        refuse_first("preprocessing.mel", &[fault])?;
        self.tokens.check(config)
    }
}

impl Tokens {
    fn check(&self, config: &Config) -> Result<(), OpenError> {
        let known = |&token: &TokenId| (token as usize) < config.vocabulary;
        let special = [self.start, self.end, self.no_speech, self.no_timestamps];
        let told = self.multilingual.as_ref();
        let languages = told.is_none_or(|told| {
            let mut tokens = [&told.transcribe, &told.translate].into_iter();
            let some = !told.languages.is_empty();
            some && tokens.all(known) && told.languages.values().all(known)
        });
        // Times from 0 to a whole window.
        let times = self.first_time() as usize + config.audio_positions < config.vocabulary;
        let faults = [
            (special.iter().all(known), "start, end, no_speech, no_timestamps: expected tokens"),
            (self.suppress.iter().all(known), "suppress: expected tokens of the vocabulary"),
            (
                self.suppress_first.iter().all(known),
                "suppress_first: expected tokens of the vocabulary",
            ),
            (languages, "multilingual: expected tokens of the vocabulary, and a language"),
            (self.end < self.no_timestamps, "end: expected less than no_timestamps"),
            (times, "no_timestamps: expected audio_positions + 1 tokens after it"),
        ];
        refuse_first("preprocessing.tokens", &faults)
    }

    /// The ISO 639 code of a language's token, where the network knows several.
    #[must_use]
    pub fn language(&self, token: TokenId) -> Option<&str> {
        let mut languages = self.multilingual.as_ref()?.languages.iter();
        languages.find(|&(_, &known)| known == token).map(|(name, _)| name.as_str())
    }

    /// Whether a language has spaces between its words.
    #[must_use]
    pub fn parts_words(&self, language: Option<TokenId>) -> bool {
        const WITHOUT: &[&str] = &["zh", "yue", "ja", "th", "lo", "my"];
        !language.and_then(|token| self.language(token)).is_some_and(|name| WITHOUT.contains(&name))
    }

    /// The token of the time 0.
    #[must_use]
    pub fn first_time(&self) -> TokenId {
        self.no_timestamps.saturating_add(1)
    }
}

/// The first check that does not hold, as an error.
fn refuse_first(section: &'static str, checks: &[(bool, &str)]) -> Result<(), OpenError> {
    match checks.iter().find(|(good, _)| !good) {
        None => Ok(()),
        Some((_, fault)) => Err(OpenError::Config { section, reason: (*fault).to_owned() }),
    }
}
