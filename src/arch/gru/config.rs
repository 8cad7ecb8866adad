//! What the manifest says of a recurrent text generator.
//!
//! The tensors of `weights.safetensors` (F32, F16 or BF16), with G = 3 for `gru` and 4 for `lstm`:
//!
//! | name | shape |
//! | --- | --- |
//! | `embedding.weight` | [vocabulary, embedding] |
//! | `rnn.weight_ih_l0` | [G × hidden, embedding] |
//! | `rnn.weight_ih_l1`, … | [G × hidden, hidden] |
//! | `rnn.weight_hh_l0`, … | [G × hidden, hidden] |
//! | `rnn.bias_ih_l0`, `rnn.bias_hh_l0`, … | [G × hidden] |
//! | `head.weight` | [vocabulary, hidden] |
//! | `head.bias` | [vocabulary] |
//!
//! So the `state_dict` of a PyTorch module whose attributes are `embedding = nn.Embedding(…)`,
//! `rnn = nn.GRU(…)` or `nn.LSTM(…)`, and `head = nn.Linear(…)` fits as it is.

use serde::{Deserialize, Serialize};

use crate::arch::{OpenError, section};
use crate::compute::layers::Cell;

/// `[architecture.config]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub cell: Cell,
    #[serde(default = "one")]
    pub layers: usize,
    /// Values that a layer remembers of a sequence.
    pub hidden: usize,
    /// Values that stand for a token.
    pub embedding: usize,
    /// Rows of the embedding. Left out, as many as the vocabulary has tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<usize>,
    /// The share of each layer's outputs that training zeroes.
    #[serde(default)]
    pub dropout: f32,
}

fn one() -> usize {
    1
}

/// Layers above this are a mistake, and every size stays far from overflow.
const LAYERS_MAX: usize = 16;
const WIDTH_MAX: usize = 1 << 16;

impl Config {
    /// Reads and checks the table.
    ///
    /// # Errors
    /// [`OpenError::Config`] naming the key and the values it may have.
    pub fn read(table: &toml::Table) -> Result<Self, OpenError> {
        let config: Self = section("architecture.config", table)?;
        let sizes = [
            ("layers", config.layers, LAYERS_MAX),
            ("hidden", config.hidden, WIDTH_MAX),
            ("embedding", config.embedding, WIDTH_MAX),
            ("vocabulary", config.vocabulary.unwrap_or(1), 1 << 20),
        ];
        for (key, got, most) in sizes {
            if !(1..=most).contains(&got) {
                return Err(refuse(format!("{key} is {got}: expected 1 to {most}")));
            }
        }
        if !(0.0..1.0).contains(&config.dropout) {
            let reason = format!("dropout is {}: expected 0 or more and below 1", config.dropout);
            return Err(refuse(reason));
        }
        Ok(config)
    }

    /// Rows of the embedding, for a vocabulary of `tokens`. It may be larger than the vocabulary, as
    /// padded embeddings are, but not smaller.
    ///
    /// # Errors
    /// [`OpenError::Config`] when it is smaller.
    pub fn rows(&self, tokens: usize) -> Result<usize, OpenError> {
        let rows = self.vocabulary.unwrap_or(tokens);
        if rows < tokens {
            return Err(refuse(format!("vocabulary is {rows}: its file has {tokens} tokens")));
        }
        Ok(rows)
    }
}

fn refuse(reason: String) -> OpenError {
    OpenError::Config { section: "architecture.config", reason }
}

/// What the vocabulary's entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// Single characters: `vocabulary.json`, a list of texts of one character each, by id.
    Characters,
    /// `tokenizer.json`, as Hugging Face's tokenizers write it.
    Tokenizer,
}

/// `[preprocessing]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    pub tokens: Tokens,
    /// The token (or character) after which a text is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl Preprocessing {
    /// # Errors
    /// [`OpenError::Config`] naming the key that is unknown, missing or of a wrong type.
    pub fn read(table: &toml::Table) -> Result<Self, OpenError> {
        section("preprocessing", table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, OpenError> {
        Config::read(&toml::from_str(text).unwrap())
    }

    #[test]
    fn every_wrong_size_is_named() {
        let good = "cell = \"gru\"\nhidden = 8\nembedding = 4\n";
        assert_eq!(read(good).unwrap().layers, 1);
        for (extra, word) in [
            ("layers = 0", "layers"),
            ("layers = 17", "layers"),
            ("vocabulary = 0", "vocabulary"),
            ("dropout = 1.0", "dropout"),
            ("dropout = nan", "dropout"),
            ("colour = 1", "colour"),
        ] {
            let error = read(&format!("{good}{extra}")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(read("cell = \"elman\"\nhidden = 8\nembedding = 4").is_err());
    }

    #[test]
    fn an_embedding_may_be_padded_and_not_cut() {
        let mut config = read("cell = \"lstm\"\nhidden = 8\nembedding = 4").unwrap();
        assert_eq!(config.rows(63).unwrap(), 63);
        config.vocabulary = Some(64);
        assert_eq!(config.rows(63).unwrap(), 64);
        assert!(config.rows(65).is_err());
    }
}
