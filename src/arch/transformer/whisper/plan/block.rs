//! The parts that both sides are made of.

use candle_core::Result;

use crate::arch::transformer::whisper::weights;
use crate::compute::kernels::{Activation, Level, Norm, Packed, Product, gemm};
use crate::compute::layers::Linear;

/// Self-attention: queries, keys and values of a row come from one product, one after the other.
pub struct SelfAttention {
    norm: Norm,
    qkv: Packed,
    out: Packed,
}

/// Cross-attention. Keys and values of what is heard are computed once a window.
pub struct CrossAttention {
    norm: Norm,
    query: Packed,
    key_value: Packed,
    out: Packed,
}

/// Two linear layers with a GELU between them.
pub struct Feed {
    norm: Norm,
    up: Packed,
    down: Packed,
}

/// Buffers of one pass, each as long as its last use needed.
#[derive(Default)]
pub struct Room {
    /// [rows, width]: what the blocks hand on.
    pub x: Vec<f32>,
    /// [rows, width]: what attention mixed.
    mixed: Vec<f32>,
    normal: Vec<f32>,
    wide: Vec<f32>,
    next: Vec<f32>,
}

impl Room {
    pub fn new(x: Vec<f32>) -> Self {
        Self { x, ..Self::default() }
    }

    /// Gives x normalised and projected to `mix`, which fills the rows that are projected and added to x.
    fn attend(
        &mut self,
        level: Level,
        (norm, project, out): (&Norm, &Packed, &Packed),
        mix: impl FnOnce(&[f32], &mut [f32]),
    ) {
        let mut mixed = std::mem::take(&mut self.mixed);
        mixed.resize(self.x.len(), 0.0);
        mix(self.project(level, norm, project, Activation::None), &mut mixed);
        self.add(level, out, &mixed);
        self.mixed = mixed;
    }

    /// Adds what `weights` make of `rows` to x.
    fn add(&mut self, level: Level, weights: &Packed, rows: &[f32]) {
        self.next.resize(self.x.len(), 0.0);
        let product = Product::rows(weights, rows, &mut self.next);
        gemm(level, weights, Product { residual: Some(&self.x), ..product });
        std::mem::swap(&mut self.x, &mut self.next);
    }

    /// What `weights` make of x normalised: [rows, n].
    fn project(
        &mut self,
        level: Level,
        norm: &Norm,
        weights: &Packed,
        activation: Activation,
    ) -> &[f32] {
        self.normal.resize(self.x.len(), 0.0);
        norm.rows(level, &self.x, &mut self.normal);
        self.wide.resize(self.x.len() / weights.k() * weights.n(), 0.0);
        let product = Product::rows(weights, &self.normal, &mut self.wide);
        gemm(level, weights, Product { activation, ..product });
        &self.wide
    }
}

impl SelfAttention {
    pub fn new(from: &weights::Attention, level: Level) -> Result<Self> {
        Ok(Self {
            norm: from.norm.kernel()?,
            qkv: Linear::join(&[&from.query, &from.key, &from.value])?.pack(level)?,
            out: from.out.pack(level)?,
        })
    }

    /// Attends by `mix`, which is given the rows [rows, 3 · width] and fills the mixed ones.
    pub fn run(&self, level: Level, room: &mut Room, mix: impl FnOnce(&[f32], &mut [f32])) {
        room.attend(level, (&self.norm, &self.qkv, &self.out), mix);
    }
}

impl CrossAttention {
    pub fn new(from: &weights::Attention, level: Level) -> Result<Self> {
        Ok(Self {
            norm: from.norm.kernel()?,
            query: from.query.pack(level)?,
            key_value: Linear::join(&[&from.key, &from.value])?.pack(level)?,
            out: from.out.pack(level)?,
        })
    }

    /// Keys and values of encoded positions, into `made`: [positions, 2 · width].
    pub fn key_values(&self, level: Level, encoded: &[f32], made: &mut [f32]) {
        gemm(level, &self.key_value, Product::rows(&self.key_value, encoded, made));
    }

    /// Attends by `mix`, which is given the queries [rows, width] and fills the mixed rows.
    pub fn run(&self, level: Level, room: &mut Room, mix: impl FnOnce(&[f32], &mut [f32])) {
        room.attend(level, (&self.norm, &self.query, &self.out), mix);
    }
}

impl Feed {
    pub fn new(from: &weights::Feed, level: Level) -> Result<Self> {
        let norm = from.norm.kernel()?;
        Ok(Self { norm, up: from.up.pack(level)?, down: from.down.pack(level)? })
    }

    pub fn run(&self, level: Level, room: &mut Room) {
        room.project(level, &self.norm, &self.up, Activation::Gelu);
        let wide = std::mem::take(&mut room.wide);
        room.add(level, &self.down, &wide);
        room.wide = wide;
    }
}
