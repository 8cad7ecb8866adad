//! A recipe and its text, read and checked: everything that is known before the first step.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::arch::gru::config::{Config, Preprocessing, Tokens};
use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::vocabulary::{Unknown, Vocabulary};
use crate::arch::{TrainError, TrainJob, section};
use crate::dataset::text::{self, Part, Paths, Shares, Text};
use crate::dataset::{BadSamples, DataError, Store};
use crate::domain::MediaLimits;
use crate::engine::TokenId;

/// `[data]` of a recipe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The text, in UTF-8: a file, a directory of `.txt` files, or a list of such.
    pub path: Paths,
    /// The share of each file's bytes, at the end, that is measured on and not learned from.
    #[serde(default = "twentieth")]
    pub held_out: f64,
    /// The share of each file's bytes, before those, that is measured on after each epoch.
    #[serde(default)]
    validation: f64,
    /// A tokenizer.json, when `preprocessing.tokens` is `tokenizer`.
    tokenizer: Option<PathBuf>,
}

/// The share that is held out when nobody says.
fn twentieth() -> f64 {
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
    pub train: Store<TokenId>,
    /// Empty when none is held out.
    pub validation: Store<TokenId>,
    pub held_out: Store<TokenId>,
    /// Steps that gradients flow back through.
    pub sequence: usize,
    /// What was left out, one line each.
    pub left_out: Vec<String>,
}

impl Plan {
    /// Reads what the job's recipe names, or its data in the place of the recipe's text.
    ///
    /// # Errors
    /// [`TrainError`] naming the key or the file that is of no use.
    pub fn read(job: &TrainJob<'_>) -> Result<Self, TrainError> {
        let recipe = &job.recipe;
        let config = Config::read(&recipe.architecture.config)?;
        let preprocessing = Preprocessing::read(&recipe.preprocessing)?;
        let data: Data = section("data", &recipe.data)?;
        let Options { sequence } = section("fit.options", &recipe.fit.options)?;
        if !(1..=SEQUENCE_MAX).contains(&sequence) {
            let text = format!("fit.options.sequence is {sequence}: expected 1 to {SEQUENCE_MAX}");
            return Err(TrainError::Data(text));
        }
        let mut bad = BadSamples::new(job.on_bad_sample);
        let text = data.text(job.data.as_ref(), &mut bad)?;
        let bytes = vocabulary_bytes(preprocessing.tokens, &data, &text)?;
        let vocabulary = Vocabulary::read(preprocessing.tokens, &bytes)?;
        let rows = config.rows(vocabulary.size())?;
        let [train, validation, held_out] = [&text.train, &text.validation, &text.held_out]
            .map(|part| encode(&vocabulary, part, &mut bad));
        let (train, validation, held_out) = (train?, validation?, held_out?);
        if held_out.len() < 2 {
            return Err(too_little());
        }
        if data.validation > 0.0 && validation.len() < 2 {
            let text = "the validation part has less than two tokens: raise data.validation";
            return Err(TrainError::Data(text.to_owned()));
        }
        let media = MediaLimits::default();
        let language = TextLanguage::new(vocabulary, rows, &preprocessing, &media)?;
        let vocabulary_file = (preprocessing.tokens.file(), bytes);
        let left_out = bad.left_out();
        Ok(Self {
            text,
            config,
            language,
            vocabulary_file,
            rows,
            train,
            validation,
            held_out,
            sequence,
            left_out,
        })
    }

    /// What is measured on after each epoch.
    pub fn watched(&self) -> &Store<TokenId> {
        if self.validation.is_empty() { &self.held_out } else { &self.validation }
    }
}

impl Data {
    /// Reads the text, or the one at `path` in its place.
    ///
    /// # Errors
    /// [`DataError`] naming the file or the key that is of no use.
    pub fn text(&self, path: Option<&PathBuf>, bad: &mut BadSamples) -> Result<Text, DataError> {
        let paths = path.map_or_else(|| self.path.clone(), |path| Paths::One(path.clone()));
        let shares = Shares { validation: self.validation, held_out: self.held_out };
        text::read(&paths, shares, bad)
    }

    /// Where the text lies, in words.
    pub fn place(&self, path: Option<&PathBuf>) -> String {
        match (path, &self.path) {
            (Some(path), _) | (None, Paths::One(path)) => path.display().to_string(),
            (None, Paths::Several(paths)) => format!("{} texts", paths.len()),
        }
    }

    /// Of a text that no recipe names.
    pub fn at(path: PathBuf) -> Self {
        Self { path: Paths::One(path), held_out: twentieth(), validation: 0.0, tokenizer: None }
    }
}

fn vocabulary_bytes(tokens: Tokens, data: &Data, text: &Text) -> Result<Vec<u8>, TrainError> {
    let failed =
        |error: &dyn std::fmt::Display, what: &str| TrainError::Data(format!("{what}: {error}"));
    match (tokens, &data.tokenizer) {
        // Of the whole text, so that the parts held out can be measured.
        (Tokens::Characters, None) => {
            let mut distinct = BTreeSet::new();
            for chunk in [&text.train, &text.validation, &text.held_out]
                .iter()
                .flat_map(|part| part.chunks())
            {
                distinct.extend(chunk?.1.chars());
            }
            Vocabulary::characters_of(&distinct).map_err(|e| failed(&e, "vocabulary"))
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

/// The tokens of a text to learn from or to measure on. A line with a character that the vocabulary lacks
/// is a bad sample.
///
/// # Errors
/// [`DataError::Sample`] with the file, line and column of the first such character.
pub fn encode(
    vocabulary: &Vocabulary,
    part: &Part,
    bad: &mut BadSamples,
) -> Result<Store<TokenId>, DataError> {
    let mut tokens = Store::default();
    for chunk in part.chunks() {
        let (start, text) = chunk?;
        match vocabulary.encode(&text) {
            Ok(encoded) => {
                tokens.push(&encoded)?;
            }
            Err(Unknown::Character(..)) => {
                by_lines(vocabulary, (part, start, &text), bad, &mut tokens)?;
            }
            Err(Unknown::Somewhere) => {
                let reason = "the tokenizer cannot read the text that begins here".to_owned();
                return Err(DataError::Sample { place: part.place(start), reason });
            }
        }
    }
    Ok(tokens)
}

/// The tokens of a chunk of a part, which begins at a byte of it.
fn by_lines(
    vocabulary: &Vocabulary,
    (part, mut start, text): (&Part, usize, &str),
    bad: &mut BadSamples,
    tokens: &mut Store<TokenId>,
) -> Result<(), DataError> {
    for line in text.split_inclusive('\n') {
        let encoded =
            vocabulary.encode(line).map_err(|unknown| lacking(unknown, part, start, line));
        tokens.push(&bad.admit(encoded)?.unwrap_or_default())?;
        start += line.len();
    }
    Ok(())
}

/// The refusal of a line that begins at byte `start` of the part.
fn lacking(unknown: Unknown, part: &Part, start: usize, line: &str) -> DataError {
    let Unknown::Character(c, before) = unknown else {
        let reason = "the tokenizer cannot read the line".to_owned();
        return DataError::Sample { place: part.place(start), reason };
    };
    let byte = line.char_indices().nth(before).map_or(0, |(byte, _)| byte);
    DataError::Sample {
        place: part.place(start + byte),
        reason: format!("the vocabulary lacks {c:?}"),
    }
}

/// The refusal of a held-out part that nothing can be measured on.
pub fn too_little() -> TrainError {
    TrainError::Data("the held-out part has less than two tokens: raise data.held_out".to_owned())
}
