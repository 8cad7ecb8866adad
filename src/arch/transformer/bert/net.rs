//! The network as a graph of tensors: what a layer means. The path on a GPU, and what the plan is
//! tested against.

use candle_core::{Device, Result, Tensor};

use crate::arch::transformer::bert::config::{Config, Pooling};
use crate::compute::layers::{Activation, Attention, AttentionConfig, LayerNorm, Linear};
use crate::compute::{Init, Parameters, WeightError};
use crate::engine::TokenId;

/// Below this a vector's length is taken for this, so that none is divided by 0.
pub const LENGTH_MIN: f32 = 1e-12;

/// BERT's encoder (Devlin et al. 2018): embeddings and blocks that normalise after each sum.
pub struct Encoder {
    pub config: Config,
    device: Device,
    /// [vocabulary, width].
    pub words: Tensor,
    /// [positions, width], with the first token type's row added.
    pub positions: Tensor,
    pub norm: LayerNorm,
    pub blocks: Vec<Block>,
}

/// Attention and feed-forward, each added to its input and then normalised.
pub struct Block {
    pub attention: Attention,
    pub attention_norm: LayerNorm,
    pub up: Linear,
    pub down: Linear,
    pub norm: LayerNorm,
    pub activation: Activation,
}

impl Encoder {
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        config: &Config,
        device: &Device,
    ) -> std::result::Result<Self, WeightError> {
        let (width, eps) = (config.width, config.epsilon());
        let mut table = |name: &str, rows| {
            let name = format!("embeddings.{name}_embeddings.weight");
            parameters.get(&name, &[rows, width], Init::Normal(0.02))
        };
        let words = table("word", config.vocabulary)?;
        let positions = table("position", config.positions_max)?;
        let types = table("token_type", config.token_types)?;
        let summed = types.narrow(0, 0, 1).and_then(|first| positions.broadcast_add(&first));
        Ok(Self {
            device: device.clone(),
            words,
            positions: summed.map_err(|error| WeightError::Device {
                name: "embeddings.position_embeddings.weight".to_owned(),
                reason: error.to_string(),
            })?,
            norm: LayerNorm::with_epsilon(parameters, "embeddings.LayerNorm", width, eps)?,
            blocks: (0..config.layers)
                .map(|layer| Block::new(parameters, &format!("encoder.layer.{layer}"), config))
                .collect::<std::result::Result<_, _>>()?,
            config: config.clone(),
        })
    }

    /// Whether its tensors are in host memory.
    #[must_use]
    pub fn is_on_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    /// One embedding a row of tokens. Rows are padded to the longest, and none sees its padding.
    ///
    /// # Errors
    /// When a row is longer than the table of positions, or the arithmetic fails.
    pub fn embed(&self, rows: &[&[TokenId]]) -> Result<Vec<Vec<f32>>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let mut x = self.embeddings(rows, time)?;
        for block in &self.blocks {
            x = block.forward(&x, &lengths)?;
        }
        let pooled = self.pool(&x.reshape((rows.len(), time, ()))?, &lengths)?;
        let scaled = if self.config.normalise {
            let length = pooled.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(f64::from(LENGTH_MIN))?;
            pooled.broadcast_div(&length)?
        } else {
            pooled
        };
        scaled.to_vec2()
    }

    /// [batch · time, width].
    fn embeddings(&self, rows: &[&[TokenId]], time: usize) -> Result<Tensor> {
        let padded = |row: &&[TokenId]| {
            row.iter().copied().chain(std::iter::repeat(0)).take(time).collect::<Vec<_>>()
        };
        let ids: Vec<TokenId> = rows.iter().flat_map(padded).collect();
        let ids = Tensor::from_vec(ids, rows.len() * time, &self.device)?;
        let words = self.words.index_select(&ids, 0)?.reshape((rows.len(), time, ()))?;
        let x = words.broadcast_add(&self.positions.narrow(0, 0, time)?)?;
        self.norm.forward(&x.reshape((rows.len() * time, ()))?)
    }

    /// [batch, time, width] to [batch, width].
    fn pool(&self, x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let (batch, time, _) = x.dims3()?;
        if self.config.pooling == Pooling::Cls {
            return x.narrow(1, 0, 1)?.squeeze(1);
        }
        #[expect(clippy::cast_precision_loss, reason = "a length is at most 8192")]
        let share = |&length: &usize| {
            (0..time).map(move |t| if t < length { 1.0 / length as f32 } else { 0.0 })
        };
        let shares: Vec<f32> = lengths.iter().flat_map(share).collect();
        let shares = Tensor::from_vec(shares, (batch, 1, time), &self.device)?;
        shares.matmul(x)?.squeeze(1)
    }
}

impl Block {
    fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        config: &Config,
    ) -> std::result::Result<Self, WeightError> {
        let &Config { width, heads, hidden, activation, .. } = config;
        let eps = config.epsilon();
        let mut linear = |part: &str, sizes| {
            Linear::new(&mut *parameters, &format!("{name}.{part}"), sizes, true)
        };
        let qkv = [
            linear("attention.self.query", [width, width])?,
            linear("attention.self.key", [width, width])?,
            linear("attention.self.value", [width, width])?,
        ];
        let out = linear("attention.output.dense", [width, width])?;
        let (up, down) = (
            linear("intermediate.dense", [width, hidden])?,
            linear("output.dense", [hidden, width])?,
        );
        let attention = Attention::of_parts(&qkv, out, AttentionConfig { width, heads });
        let mut norm = |part: &str| {
            LayerNorm::with_epsilon(&mut *parameters, &format!("{name}.{part}"), width, eps)
        };
        Ok(Self {
            attention: attention.map_err(|error| WeightError::Device {
                name: format!("{name}.attention.self"),
                reason: error.to_string(),
            })?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up,
            down,
            norm: norm("output.LayerNorm")?,
            activation,
        })
    }

    fn forward(&self, x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let x = self.attention_norm.forward(&(x + self.attention.forward(x, lengths)?)?)?;
        let fed = self.down.forward(&self.activation.forward(&self.up.forward(&x)?)?)?;
        self.norm.forward(&(x + fed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Loader, Trainable};

    #[test]
    fn a_row_is_the_same_alone_and_among_longer_ones() {
        for pooling in [Pooling::Mean, Pooling::Cls] {
            let config = Config { pooling, ..Config::tiny() };
            let mut fresh = Trainable::new(3, &Device::Cpu);
            let encoder = Encoder::new(&mut fresh, &config, &Device::Cpu).unwrap();
            let rows: [&[TokenId]; 3] = [&[1, 5, 2], &[1, 2], &[1, 11, 7, 0, 4, 4, 9, 2]];
            let together = encoder.embed(&rows).unwrap();
            for (row, among) in rows.iter().zip(&together) {
                let alone = &encoder.embed(&[row]).unwrap()[0];
                assert!(alone.iter().zip(among).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?}");
                let length: f32 = alone.iter().map(|v| v * v).sum();
                assert!((length - 1.0).abs() < 1e-5);
            }
            assert_ne!(together[0], together[1]);
        }
    }

    #[test]
    fn too_long_a_row_and_an_unknown_token_are_errors() {
        let config = Config::tiny();
        let mut fresh = Trainable::new(3, &Device::Cpu);
        let encoder = Encoder::new(&mut fresh, &config, &Device::Cpu).unwrap();
        assert!(encoder.embed(&[&[1; 21]]).is_err());
        assert!(encoder.embed(&[&[12]]).is_err());
    }

    #[test]
    fn its_tensors_have_the_names_of_hugging_face() {
        let config = Config { layers: 1, ..Config::tiny() };
        let mut fresh = Trainable::new(3, &Device::Cpu);
        Encoder::new(&mut fresh, &config, &Device::Cpu).unwrap();
        let bytes = fresh.to_safetensors().unwrap();
        let mut loader = Loader::new(&bytes, &Device::Cpu).unwrap();
        let mut take = |name: &str, shape: &[usize]| {
            loader.get(name, shape, Init::Constant(0.0)).unwrap();
        };
        take("embeddings.word_embeddings.weight", &[12, 24]);
        take("embeddings.position_embeddings.weight", &[20, 24]);
        take("embeddings.token_type_embeddings.weight", &[2, 24]);
        let layer = "encoder.layer.0";
        for (name, out, input) in [
            ("attention.self.query", 24, 24),
            ("attention.self.key", 24, 24),
            ("attention.self.value", 24, 24),
            ("attention.output.dense", 24, 24),
            ("intermediate.dense", 40, 24),
            ("output.dense", 24, 40),
        ] {
            take(&format!("{layer}.{name}.weight"), &[out, input]);
            take(&format!("{layer}.{name}.bias"), &[out]);
        }
        for norm in [
            "embeddings.LayerNorm",
            "encoder.layer.0.attention.output.LayerNorm",
            "encoder.layer.0.output.LayerNorm",
        ] {
            take(&format!("{norm}.weight"), &[24]);
            take(&format!("{norm}.bias"), &[24]);
        }
        loader.finish().unwrap();
    }
}
