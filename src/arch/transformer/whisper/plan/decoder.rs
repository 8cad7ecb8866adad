//! Tokens to the logits of the next one.

use candle_core::Result;

use crate::arch::transformer::whisper::config::Config;
use crate::arch::transformer::whisper::plan::State;
use crate::arch::transformer::whisper::plan::block::{CrossAttention, Feed, Room, SelfAttention};
use crate::arch::transformer::whisper::weights;
use crate::compute::kernels::{
    Attention, KeyValues, Level, Norm, Packed, Product, Scratch, attend, gemm,
};
use crate::engine::{Row, RunError, TokenId};

/// Positions that a sequence has room for from the start: most texts are shorter.
const POSITIONS: usize = 64;

/// The decoder's weights, packed.
pub struct Decoder {
    width: usize,
    heads: usize,
    /// The embedding and the head are one.
    tokens: Packed,
    /// [`text_positions`, width].
    positions: Vec<f32>,
    blocks: Vec<Block>,
    norm: Norm,
}

struct Block {
    attention: SelfAttention,
    cross: CrossAttention,
    feed: Feed,
}

impl Decoder {
    pub fn new(from: &weights::Decoder, config: &Config, level: Level) -> Result<Self> {
        let block = |block: &weights::DecoderBlock| {
            Ok(Block {
                attention: SelfAttention::new(&block.attention, level)?,
                cross: CrossAttention::new(&block.cross, level)?,
                feed: Feed::new(&block.feed, level)?,
            })
        };
        let tokens: Vec<f32> = from.tokens.flatten_all()?.to_vec1()?;
        Ok(Self {
            width: config.width,
            heads: config.decoder_heads,
            tokens: Packed::new(&tokens, None, config.vocabulary, config.width).at(level),
            positions: from.positions.flatten_all()?.to_vec1()?,
            blocks: from.blocks.iter().map(block).collect::<Result<_>>()?,
            norm: from.norm.kernel()?,
        })
    }

    /// Keys and values of what is heard, by layer.
    pub fn hear(&self, level: Level, encoded: &[f32]) -> Vec<KeyValues> {
        let rows = encoded.len() / self.width;
        let mut made = vec![0.0; rows * 2 * self.width];
        let layer = |block: &Block| {
            block.cross.key_values(level, encoded, &mut made);
            let mut memory = KeyValues::new(self.heads, self.width / self.heads, rows);
            memory.push(&made, &made[self.width..], 2 * self.width, rows);
            memory
        };
        self.blocks.iter().map(layer).collect()
    }

    /// Nothing read, by layer.
    pub fn begin(&self) -> Vec<KeyValues> {
        let empty = KeyValues::new(self.heads, self.width / self.heads, POSITIONS);
        vec![empty; self.blocks.len()]
    }

    pub fn check(&self, row: &Row<'_, State>) -> std::result::Result<(), RunError> {
        let known = |&token: &TokenId| (token as usize) < self.tokens.n();
        let end = read(row.state) + row.tokens.len();
        if row.tokens.is_empty()
            || end * self.width > self.positions.len()
            || !row.tokens.iter().all(known)
        {
            return Err(RunError("a step's tokens do not fit the network".to_owned()));
        }
        Ok(())
    }

    /// Reads rows that were checked.
    pub fn step(
        &self,
        level: Level,
        rows: &mut [Row<'_, State>],
        scratch: &Scratch,
        logits: &mut Vec<f32>,
    ) {
        let x = self.read(level, rows, scratch, |_, _| {});
        self.logits(level, rows, &x, logits);
    }

    /// What the blocks make of rows that were checked: [tokens, width]. `see` is shown the queries of each layer's
    /// cross-attention, [tokens, width].
    pub fn read(
        &self,
        level: Level,
        rows: &mut [Row<'_, State>],
        scratch: &Scratch,
        mut see: impl FnMut(usize, &[f32]),
    ) -> Vec<f32> {
        let mut room = Room::new(self.embed(rows));
        for (layer, block) in self.blocks.iter().enumerate() {
            block.attention.run(level, &mut room, |qkv, out| {
                self.attend(level, layer, rows, (qkv, out), scratch);
            });
            block.cross.run(level, &mut room, |queries, out| {
                see(layer, queries);
                self.listen(level, layer, rows, (queries, out), scratch);
            });
            block.feed.run(level, &mut room);
        }
        room.x
    }

    /// Tokens and positions of all rows, one after the other.
    fn embed(&self, rows: &[Row<'_, State>]) -> Vec<f32> {
        let mut x = Vec::new();
        for row in rows {
            let first = read(row.state) * self.width;
            let positions = self.positions[first..].chunks_exact(self.width);
            for (&token, position) in row.tokens.iter().zip(positions) {
                let word = self.tokens.weights_of(token as usize);
                x.extend(word.zip(position).map(|(word, position)| word + position));
            }
        }
        x
    }

    /// Each row's queries against all it has read, these tokens included.
    fn attend(
        &self,
        level: Level,
        layer: usize,
        rows: &mut [Row<'_, State>],
        (qkv, out): (&[f32], &mut [f32]),
        scratch: &Scratch,
    ) {
        let (width, stride) = (self.width, 3 * self.width);
        let mut at = 0;
        for row in rows {
            let count = row.tokens.len();
            let queries = &qkv[at * stride..(at + count) * stride];
            let memory = &mut row.state.layers[layer];
            let causal = Some(memory.len() + 1);
            memory.push(&queries[width..], &queries[2 * width..], stride, count);
            let out = &mut out[at * width..(at + count) * width];
            attend(level, Attention { queries, stride, rows: count, memory, causal, out }, scratch);
            at += count;
        }
    }

    /// Each row's queries against what it hears.
    fn listen(
        &self,
        level: Level,
        layer: usize,
        rows: &[Row<'_, State>],
        (queries, out): (&[f32], &mut [f32]),
        scratch: &Scratch,
    ) {
        let stride = self.width;
        let mut at = 0;
        for row in rows {
            let count = row.tokens.len();
            let range = at * stride..(at + count) * stride;
            let (queries, out) = (&queries[range.clone()], &mut out[range]);
            let memory = &row.state.audio.layers[layer];
            let all = Attention { queries, stride, rows: count, memory, causal: None, out };
            attend(level, all, scratch);
            at += count;
        }
    }

    /// After the last token of each row that wants them.
    fn logits(&self, level: Level, rows: &[Row<'_, State>], x: &[f32], logits: &mut Vec<f32>) {
        let mut last = Vec::with_capacity(rows.len() * self.width);
        let mut end = 0;
        for row in rows {
            end += row.tokens.len();
            if row.want_logits {
                last.extend_from_slice(&x[(end - 1) * self.width..end * self.width]);
            }
        }
        let mut normal = vec![0.0; last.len()];
        self.norm.rows(level, &last, &mut normal);
        logits.resize(last.len() / self.width * self.tokens.n(), 0.0);
        gemm(level, &self.tokens, Product::rows(&self.tokens, &normal, logits));
    }
}

/// How many tokens a sequence has read.
fn read(state: &State) -> usize {
    state.layers.first().map_or(0, KeyValues::len)
}
