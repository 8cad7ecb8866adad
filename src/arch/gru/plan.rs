//! A recipe and its text, read and checked: everything that is known before the first step.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::arch::gru::config::{Config, Preprocessing, Tokens};
use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::vocabulary::{Unknown, Vocabulary};
use crate::arch::{Recipe, TrainError, section};
use crate::dataset::text::{self, Text};
use crate::domain::MediaLimits;
use crate::engine::TokenId;

/// `[data]` of a recipe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The text: one file in UTF-8.
    pub path: PathBuf,
    /// The share of its bytes, at the end, that is measured on and not learned from.
    #[serde(default = "twentieth")]
    pub held_out: f64,
    /// A tokenizer.json, when `preprocessing.tokens` is `tokenizer`.
    tokenizer: Option<PathBuf>,
}

/// The share that is held out when nobody says.
pub fn twentieth() -> f64 {
    0.05
}

/// `[fit.options]` of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Steps that gradients flow back through.
    sequence: usize,
}

/// Gradients walk the steps' graph by recursion, so its depth is bounded.
const SEQUENCE_MAX: usize = 1024;

/// What a training run works on.
pub struct Plan {
    pub text: Text,
    pub config: Config,
    pub language: TextLanguage,
    /// The vocabulary's name and bytes in the package.
    pub vocabulary_file: (&'static str, Vec<u8>),
    /// Rows of the embedding.
    pub rows: usize,
    pub train: Vec<TokenId>,
    pub held_out: Vec<TokenId>,
    /// Steps that gradients flow back through.
    pub sequence: usize,
}

impl Plan {
    /// Reads what `recipe` names; `path` takes the place of its text.
    ///
    /// # Errors
    /// [`TrainError`] naming the key or the file that is of no use.
    pub fn read(recipe: &Recipe, path: Option<&Path>) -> Result<Self, TrainError> {
        let config = Config::read(&recipe.architecture.config)?;
        let preprocessing = Preprocessing::read(&recipe.preprocessing)?;
        let data: Data = section("data", &recipe.data)?;
        let Options { sequence } = section("fit.options", &recipe.fit.options)?;
        if !(1..=SEQUENCE_MAX).contains(&sequence) {
            let text = format!("fit.options.sequence is {sequence}: expected 1 to {SEQUENCE_MAX}");
            return Err(TrainError::Data(text));
        }
        let text =
            text::read(path.unwrap_or(&data.path), data.held_out).map_err(TrainError::Data)?;
        let bytes = vocabulary_bytes(preprocessing.tokens, &data, &text)?;
        let vocabulary = Vocabulary::read(preprocessing.tokens, &bytes)?;
        let rows = config.rows(vocabulary.size())?;
        let train = encode(&vocabulary, &text.train)?;
        let held_out = encode(&vocabulary, &text.held_out)?;
        if held_out.len() < 2 {
            return Err(too_little());
        }
        let media = MediaLimits::default();
        let language = TextLanguage::new(vocabulary, rows, &preprocessing, &media)?;
        let vocabulary_file = (preprocessing.tokens.file(), bytes);
        Ok(Self { text, config, language, vocabulary_file, rows, train, held_out, sequence })
    }
}

fn vocabulary_bytes(tokens: Tokens, data: &Data, text: &Text) -> Result<Vec<u8>, TrainError> {
    let failed =
        |error: &dyn std::fmt::Display, what: &str| TrainError::Data(format!("{what}: {error}"));
    match (tokens, &data.tokenizer) {
        // Of the whole text, so that the held-out part can be measured.
        (Tokens::Characters, None) => {
            Vocabulary::characters_of(&[text.train.as_str(), &text.held_out].concat())
                .map_err(|e| failed(&e, "vocabulary"))
        }
        (Tokens::Tokenizer, Some(path)) => {
            fs::read(path).map_err(|e| failed(&e, &path.display().to_string()))
        }
        _ => Err(TrainError::Data(
            "data.tokenizer belongs with preprocessing.tokens = \"tokenizer\", and only there"
                .to_owned(),
        )),
    }
}

/// The tokens of a text to learn from or to measure on.
///
/// # Errors
/// [`TrainError::Data`] with the first character that the vocabulary lacks.
pub fn encode(vocabulary: &Vocabulary, text: &str) -> Result<Vec<TokenId>, TrainError> {
    vocabulary.encode(text).map_err(|unknown| {
        TrainError::Data(match unknown {
            Unknown::Character(c, at) => {
                format!("the vocabulary lacks {c:?}, character {} of the text", at + 1)
            }
            Unknown::Somewhere => "the tokenizer cannot read the text".to_owned(),
        })
    })
}

/// The refusal of a held-out part that nothing can be measured on.
pub fn too_little() -> TrainError {
    TrainError::Data("the held-out part has less than two tokens: raise data.held_out".to_owned())
}
