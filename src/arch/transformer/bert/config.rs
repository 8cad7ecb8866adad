//! A BERT encoder's hyperparameters, as the manifest holds them.
//!
//! The tensors of `weights.safetensors` (F32, F16 or BF16), for each layer `N`:
//!
//! | name | shape |
//! | --- | --- |
//! | `embeddings.word_embeddings.weight` | [vocabulary, width] |
//! | `embeddings.position_embeddings.weight` | [`positions_max`, width] |
//! | `embeddings.token_type_embeddings.weight` | [`token_types`, width] |
//! | `embeddings.LayerNorm.weight`, `….bias` | [width] |
//! | `encoder.layer.N.attention.self.query.weight`, `…key…`, `…value…` | [width, width] |
//! | `encoder.layer.N.attention.self.query.bias`, `…key…`, `…value…` | [width] |
//! | `encoder.layer.N.attention.output.dense.weight`, `….bias` | [width, width], [width] |
//! | `encoder.layer.N.attention.output.LayerNorm.weight`, `….bias` | [width] |
//! | `encoder.layer.N.intermediate.dense.weight`, `….bias` | [hidden, width], [hidden] |
//! | `encoder.layer.N.output.dense.weight`, `….bias` | [width, hidden], [width] |
//! | `encoder.layer.N.output.LayerNorm.weight`, `….bias` | [width] |
//!
//! These are the names of Hugging Face's `BertModel`.

use serde::{Deserialize, Serialize};

use crate::arch::{OpenError, section};
use crate::compute::layers::Activation;

/// `[architecture.config]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub kind: Kind,
    /// Rows of the table of tokens.
    pub vocabulary: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Width of the feed-forward parts.
    pub hidden: usize,
    /// Rows of the table of positions.
    pub positions_max: usize,
    /// Tokens that a text may have at most, those that frame it included; without it, one a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
    /// Rows of the table of token types; every token is of the first.
    pub token_types: usize,
    /// Added to a variance before its root is taken.
    pub layer_norm_eps: f64,
    pub activation: Activation,
    pub pooling: Pooling,
    /// Whether an embedding is scaled to length 1.
    pub normalise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Bert,
}

/// How a text's positions become one embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean of all, those of the framing tokens included.
    Mean,
    /// The first, which is that of `[CLS]`.
    Cls,
}

impl Config {
    /// Reads and checks the table.
    ///
    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be.
    pub fn read(table: &toml::Table) -> Result<Self, OpenError> {
        let config: Self = section("architecture.config", table)?;
        config.check()?;
        Ok(config)
    }

    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be.
    pub fn check(&self) -> Result<(), OpenError> {
        let divides = self.heads > 0 && self.width.is_multiple_of(self.heads);
        let checks = [
            ((1..=1 << 20).contains(&self.vocabulary), "vocabulary: expected 1 to 1048576"),
            ((1..=4096).contains(&self.width), "width: expected 1 to 4096"),
            ((1..=64).contains(&self.layers), "layers: expected 1 to 64"),
            (divides, "heads: expected a divisor of width"),
            ((1..=16_384).contains(&self.hidden), "hidden: expected 1 to 16384"),
            ((1..=8192).contains(&self.positions_max), "positions_max: expected 1 to 8192"),
            (
                (1..=self.positions_max).contains(&self.tokens_max()),
                "tokens_max: expected 1 to positions_max",
            ),
            ((1..=64).contains(&self.token_types), "token_types: expected 1 to 64"),
            (
                self.layer_norm_eps > 1e-30 && self.layer_norm_eps < 1.0,
                "layer_norm_eps: expected 1e-30 to 1",
            ),
        ];
        match checks.iter().find(|(good, _)| !good) {
            None => Ok(()),
            Some((_, fault)) => Err(OpenError::Config {
                section: "architecture.config",
                reason: (*fault).to_owned(),
            }),
        }
    }
}

impl Config {
    /// Tokens that a text may have at most.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.tokens_max.unwrap_or(self.positions_max)
    }

    /// [`Config::layer_norm_eps`] as the arithmetic takes it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in the range of f32")]
    pub fn epsilon(&self) -> f32 {
        self.layer_norm_eps as f32
    }
}

#[cfg(test)]
impl Config {
    /// Two layers of two heads, over 12 tokens.
    pub fn tiny() -> Self {
        Self {
            kind: Kind::Bert,
            vocabulary: 12,
            width: 24,
            layers: 2,
            heads: 2,
            hidden: 40,
            positions_max: 20,
            tokens_max: None,
            token_types: 2,
            layer_norm_eps: 1e-12,
            activation: Activation::Gelu,
            pooling: Pooling::Mean,
            normalise: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_be_is_refused_by_its_key() {
        let good = toml::Table::try_from(Config::tiny()).unwrap();
        assert_eq!(Config::read(&good).unwrap(), Config::tiny());
        let refused = |key: &str, value: toml::Value| {
            let mut table = good.clone();
            table.insert(key.to_owned(), value);
            Config::read(&table).unwrap_err().to_string()
        };
        let zero = || toml::Value::Integer(0);
        for key in ["vocabulary", "width", "layers", "heads", "hidden", "positions_max"] {
            assert!(refused(key, zero()).contains(key), "{key}");
        }
        for (key, value) in [
            ("heads", 5.into()),
            ("tokens_max", 0.into()),
            ("tokens_max", 21.into()),
            ("token_types", 65.into()),
            ("layer_norm_eps", f64::NAN.into()),
            ("pooling", "max".into()),
            ("dropout", 0.1.into()),
        ] {
            assert!(refused(key, value).contains(key), "{key}");
        }
    }
}
