//! The encoder on a CPU: the graph's layers with their weights packed once, at load. The texts of a
//! batch lie one after the other, each at its own length, so that none is padded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::Result;

use crate::arch::transformer::bert::config::{Config, Pooling};
use crate::arch::transformer::bert::net::{self, Encoder, LENGTH_MIN};
use crate::arch::transformer::block::{Block, Buffers, Layers, NormPlace};
use crate::compute::kernels::{Level, Norm};
use crate::engine::{RunError, TokenId};

/// Tokens that go through a block together: enough that its weights are read for many of them, and few
/// enough that what lies between two layers stays in the cache.
const TOKENS_AT_ONCE: usize = 256;

/// An encoder ready to run, shared by all threads.
pub struct Plan {
    level: Level,
    config: Config,
    /// [vocabulary, width].
    words: Vec<f32>,
    /// [positions, width], with the first token type's row added.
    positions: Vec<f32>,
    norm: Norm,
    blocks: Vec<Block>,
    /// One set of buffers per thread that has run it.
    idle: Mutex<Vec<Buffers>>,
}

impl Plan {
    /// # Errors
    /// When the graph's tensors cannot be copied.
    pub fn new(encoder: &Encoder, level: Level) -> Result<Self> {
        Ok(Self {
            level,
            config: encoder.config.clone(),
            words: encoder.words.flatten_all()?.to_vec1()?,
            positions: encoder.positions.flatten_all()?.to_vec1()?,
            norm: encoder.norm.kernel()?,
            blocks: encoder
                .blocks
                .iter()
                .map(|block| packed(block, level))
                .collect::<Result<_>>()?,
            idle: Mutex::default(),
        })
    }

    /// One embedding a row of tokens. A row's embedding is the same bits in every batch.
    ///
    /// # Errors
    /// When a row has more tokens than there are positions, or one that is not in the vocabulary.
    pub fn embed(&self, rows: &[&[TokenId]]) -> std::result::Result<Vec<Vec<f32>>, RunError> {
        let mut buffers =
            self.idle().pop().unwrap_or_else(|| Buffers::new(self.config.width, self.config.heads));
        let mut embeddings = Vec::with_capacity(rows.len());
        let mut left = rows;
        while !left.is_empty() {
            let (rows, rest) = left.split_at(fitting(left));
            self.embed_together(rows, &mut buffers, &mut embeddings)?;
            left = rest;
        }
        self.idle().push(buffers);
        Ok(embeddings)
    }

    fn embed_together(
        &self,
        rows: &[&[TokenId]],
        buffers: &mut Buffers,
        embeddings: &mut Vec<Vec<f32>>,
    ) -> std::result::Result<(), RunError> {
        self.look_up(rows, &mut buffers.y)?;
        buffers.x.resize(buffers.y.len(), 0.0);
        self.norm.rows(self.level, &buffers.y, &mut buffers.x);
        for block in &self.blocks {
            block.run(self.level, rows.iter().map(|row| row.len()), buffers);
        }
        let mut x = buffers.x.as_slice();
        for row in rows {
            let (own, rest) = x.split_at(row.len() * self.config.width);
            embeddings.push(self.pool(own));
            x = rest;
        }
        Ok(())
    }

    /// The sum of each token's and its position's row.
    fn look_up(
        &self,
        rows: &[&[TokenId]],
        sums: &mut Vec<f32>,
    ) -> std::result::Result<(), RunError> {
        let width = self.config.width;
        sums.clear();
        for row in rows {
            if row.len() > self.config.positions_max {
                return Err(RunError(format!("a row of {} tokens", row.len())));
            }
            for (&token, position) in row.iter().zip(self.positions.chunks_exact(width)) {
                let start = token as usize * width;
                let word = self.words.get(start..start + width);
                let word = word.ok_or_else(|| RunError(format!("no token {token} is known")))?;
                sums.extend(word.iter().zip(position).map(|(word, position)| word + position));
            }
        }
        Ok(())
    }

    /// A row's positions to its embedding.
    #[expect(clippy::cast_precision_loss, reason = "a row has at most 8192 tokens")]
    fn pool(&self, row: &[f32]) -> Vec<f32> {
        let width = self.config.width;
        let mut embedding = row[..width].to_vec();
        if self.config.pooling == Pooling::Mean {
            for position in row.chunks_exact(width).skip(1) {
                embedding.iter_mut().zip(position).for_each(|(sum, value)| *sum += value);
            }
            let share = 1.0 / (row.len() / width) as f32;
            scale(&mut embedding, share);
        }
        if self.config.normalise {
            let length = embedding.iter().map(|value| value * value).sum::<f32>().sqrt();
            scale(&mut embedding, 1.0 / length.max(LENGTH_MIN));
        }
        embedding
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Buffers>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scale(values: &mut [f32], by: f32) {
    for value in values {
        *value *= by;
    }
}

/// How many rows, from the first on, go through the blocks together: at least one.
fn fitting(rows: &[&[TokenId]]) -> usize {
    let mut tokens = 0;
    let fits = |row: &&&[TokenId]| {
        tokens += row.len();
        tokens <= TOKENS_AT_ONCE
    };
    rows.iter().take_while(fits).count().max(1)
}

fn packed(block: &net::Block, level: Level) -> Result<Block> {
    let net::Block { attention, attention_norm, up, down, norm, activation } = block;
    let activation = activation.kernel();
    let layers = &Layers { attention, attention_norm, up, down, norm, activation };
    Block::new(layers, NormPlace::Post, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::kernels::{best, is_available};
    use crate::compute::layers::Activation as Layer;
    use crate::compute::{Device, Trainable};
    use proptest::prelude::*;

    fn encoder(config: &Config) -> Encoder {
        Encoder::new(&mut Trainable::new(9, &Device::Cpu), config, &Device::Cpu).unwrap()
    }

    /// Tokens that depend on `seed`.
    fn tokens(seed: usize, count: usize, vocabulary: usize) -> Vec<TokenId> {
        (0..count)
            .map(|i| TokenId::try_from((seed * 7 + i * i + 3 * i) % vocabulary).unwrap())
            .collect()
    }

    fn slices(rows: &[Vec<TokenId>]) -> Vec<&[TokenId]> {
        rows.iter().map(Vec::as_slice).collect()
    }

    fn configs() -> impl Strategy<Value = Config> {
        let sizes = (1_usize..4, 1_usize..20, 1_usize..3, 1_usize..50);
        let pooling = prop_oneof![Just(Pooling::Mean), Just(Pooling::Cls)];
        let activation = prop_oneof![Just(Layer::Gelu), Just(Layer::Relu), Just(Layer::Silu)];
        (sizes, pooling, activation, any::<bool>()).prop_map(
            |((heads, depth, layers, hidden), pooling, activation, normalise)| Config {
                width: heads * depth,
                heads,
                layers,
                hidden,
                pooling,
                activation,
                normalise,
                layer_norm_eps: 1e-6,
                ..Config::tiny()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_answers_as_the_graph_at_every_level(
            config in configs(),
            lengths in prop::collection::vec(1_usize..=20, 1..5),
        ) {
            let encoder = encoder(&config);
            let rows: Vec<_> =
                lengths.iter().enumerate().map(|(seed, &n)| tokens(seed, n, 12)).collect();
            let expected = encoder.embed(&slices(&rows)).unwrap();
            for level in Level::ALL.into_iter().filter(|&level| is_available(level)) {
                let got = Plan::new(&encoder, level).unwrap().embed(&slices(&rows)).unwrap();
                for (expected, got) in expected.iter().zip(&got) {
                    // Normalised rows of a size about 1 are pooled: their sum may be next to nothing, its error is not.
                    let largest = expected.iter().fold(0.1_f32, |most, v| most.max(v.abs()));
                    for (e, g) in expected.iter().zip(got) {
                        prop_assert!((e - g).abs() <= 1e-5 * largest, "{level:?} {e} {g}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_bits_alone_and_among_31_others() {
        let config = Config { positions_max: 130, ..Config::tiny() };
        let encoder = encoder(&config);
        for level in Level::ALL.into_iter().filter(|&level| is_available(level)) {
            let plan = Plan::new(&encoder, level).unwrap();
            // Some go through the blocks together, and one alone has more tokens than half of a pass.
            let rows: Vec<_> = (0..32).map(|i| tokens(i, 1 + i * 37 % 130, 12)).collect();
            let together = plan.embed(&slices(&rows)).unwrap();
            for (row, among) in rows.iter().zip(&together) {
                let alone = plan.embed(&[row.as_slice()]).unwrap().remove(0);
                let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone), bits(among), "{level:?}, {} tokens", row.len());
            }
        }
    }

    #[test]
    fn rows_go_together_while_they_fit() {
        let rows: Vec<_> = [200, 56, 1, 300, 2].iter().map(|&n| tokens(0, n, 12)).collect();
        let rows = slices(&rows);
        let counts = [fitting(&rows), fitting(&rows[2..]), fitting(&rows[3..])];
        assert_eq!(counts, [2, 1, 1]);
    }

    #[test]
    fn too_long_a_row_and_an_unknown_token_are_errors() {
        let plan = Plan::new(&encoder(&Config::tiny()), best()).unwrap();
        assert!(plan.embed(&[&[1; 21]]).is_err());
        assert!(plan.embed(&[&[12]]).is_err());
        assert!(plan.embed(&[]).unwrap().is_empty());
    }
}
