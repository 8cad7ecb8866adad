//! An encoder's block on a CPU: attention and feed-forward with their weights packed once, at load. The
//! rows of a batch lie one after the other, each at its own length, so that none is padded.

use candle_core::Result;
use serde::Deserialize;

use crate::compute::kernels::{
    self, Activation, KeyValues, Level, Norm, Packed, Product, Scratch, attend, gemm,
};
use crate::compute::layers::{Attention, LayerNorm, Linear};

/// Where a block normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormPlace {
    /// Before attention and feed-forward; the network then has a norm after its last block (Xiong et al.
    /// 2020).
    #[default]
    Pre,
    /// After the sum of each with its input (Vaswani et al. 2017).
    Post,
}

/// The layers of a block, as the graph has them.
pub struct Layers<'a> {
    pub attention: &'a Attention,
    pub attention_norm: &'a LayerNorm,
    pub up: &'a Linear,
    pub down: &'a Linear,
    pub norm: &'a LayerNorm,
    pub activation: Activation,
}

/// A block ready to run.
pub struct Block {
    place: NormPlace,
    qkv: Packed,
    out: Packed,
    attention_norm: Norm,
    up: Packed,
    activation: Activation,
    down: Packed,
    norm: Norm,
}

/// Buffers that were used and can be used again.
pub struct Buffers {
    /// What blocks read and write, and what lies between their halves: [positions, width].
    pub x: Vec<f32>,
    pub y: Vec<f32>,
    /// Queries, keys and values, and the feed-forward part's inside.
    wide: Vec<f32>,
    memory: KeyValues,
    scratch: Scratch,
}

impl Buffers {
    pub fn new(width: usize, heads: usize) -> Self {
        Self {
            x: Vec::new(),
            y: Vec::new(),
            wide: Vec::new(),
            memory: KeyValues::new(heads, width / heads, 0),
            scratch: Scratch::default(),
        }
    }
}

impl Block {
    /// # Errors
    /// When the parameters cannot be copied from their device.
    pub fn new(layers: &Layers<'_>, place: NormPlace, level: Level) -> Result<Self> {
        Ok(Self {
            place,
            qkv: layers.attention.qkv().pack(level)?,
            out: layers.attention.out().pack(level)?,
            attention_norm: layers.attention_norm.kernel()?,
            up: layers.up.pack(level)?,
            activation: layers.activation,
            down: layers.down.pack(level)?,
            norm: layers.norm.kernel()?,
        })
    }

    /// Takes rows of `lengths` positions through the block, from `x` to `x`; `y` is as long.
    pub fn run(&self, level: Level, lengths: impl Iterator<Item = usize>, buffers: &mut Buffers) {
        let positions = buffers.x.len() / self.out.n();
        match self.place {
            NormPlace::Post => {
                self.mix(level, lengths, buffers);
                let Buffers { x, y, wide, .. } = buffers;
                wide.resize(x.len(), 0.0);
                times(level, &self.out, y, wide, Some(x), Activation::None);
                self.attention_norm.rows(level, wide, x);
                wide.resize(positions * self.up.n(), 0.0);
                times(level, &self.up, x, wide, None, self.activation);
                times(level, &self.down, wide, y, Some(x), Activation::None);
                self.norm.rows(level, y, x);
            }
            NormPlace::Pre => {
                // What is mixed is a normal form of x; x itself is added at the end of each half.
                let mut kept = std::mem::take(&mut buffers.x);
                buffers.x.resize(kept.len(), 0.0);
                self.attention_norm.rows(level, &kept, &mut buffers.x);
                self.mix(level, lengths, buffers);
                let Buffers { x, y, wide, .. } = buffers;
                times(level, &self.out, y, x, Some(&kept), Activation::None);
                self.norm.rows(level, x, &mut kept);
                wide.resize(positions * self.up.n(), 0.0);
                times(level, &self.up, &kept, wide, None, self.activation);
                times(level, &self.down, wide, y, Some(x), Activation::None);
                std::mem::swap(x, y);
            }
        }
    }

    /// Attention of each row's positions to each other, from `x` to `y`, before the output layer.
    fn mix(&self, level: Level, lengths: impl Iterator<Item = usize>, buffers: &mut Buffers) {
        let Buffers { x, y, wide, memory, scratch } = buffers;
        let width = self.out.k();
        wide.resize(3 * x.len(), 0.0);
        times(level, &self.qkv, x, wide, None, Activation::None);
        let mut first = 0;
        for length in lengths {
            let qkv = &wide[3 * width * first..];
            memory.clear();
            memory.push(&qkv[width..], &qkv[2 * width..], 3 * width, length);
            let attention = kernels::Attention {
                queries: qkv,
                stride: 3 * width,
                rows: length,
                memory,
                causal: None,
                out: &mut y[first * width..(first + length) * width],
            };
            attend(level, attention, scratch);
            first += length;
        }
    }
}

/// activation(a · weights + bias + residual), row by row.
pub fn times(
    level: Level,
    weights: &Packed,
    a: &[f32],
    out: &mut [f32],
    residual: Option<&[f32]>,
    activation: Activation,
) {
    let product = Product { residual, activation, ..Product::rows(weights, a, out) };
    gemm(level, weights, product);
}
