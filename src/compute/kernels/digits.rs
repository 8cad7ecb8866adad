//! Panels for a level that multiplies bytes.

use super::amx;
use super::buffer::Buffer;
use super::lanes::WIDTH;
use super::tile::Panels;

/// Panels `[n / 16][k][16]` as digits of a byte. They take three quarters of the room that floats do, where k is a
/// multiple of 64.
#[derive(Debug, Clone)]
pub(super) struct Digits {
    tiles: Buffer,
    /// What the sums of each column are scaled back by.
    back: Buffer,
}

impl Digits {
    /// The longest columns: sums of more products of bytes might not fit 32 bits.
    pub const LONGEST: usize = 1 << 15;

    /// `None` where this processor does not multiply bytes, and for columns that are empty or too long.
    pub fn new(panels: &[f32], k: usize) -> Option<Self> {
        if !(1..=Self::LONGEST).contains(&k) {
            return None;
        }
        let (tiles, back) = amx::split(panels, k)?;
        Some(Self { tiles, back })
    }

    /// One value of a column.
    pub fn value(&self, depth: usize, column: usize) -> f32 {
        let each = self.tiles.len() / (self.back.len() / WIDTH);
        let panel = &self.tiles[column / WIDTH * each..][..each];
        amx::value(panel, (depth, column % WIDTH), self.back[column])
    }

    /// All of them, or one of several equal parts: `k` values of `n` columns.
    pub fn panels(&self, (part, parts): (usize, usize), (n, k): (usize, usize)) -> Panels {
        let (tiles, columns) = (self.tiles.len() / parts, self.back.len() / parts);
        Panels {
            data: self.tiles[part * tiles..].as_ptr(),
            stride: tiles / (columns / WIDTH).max(1),
            bias: None,
            back: Some(self.back[part * columns..].as_ptr()),
            k,
            n,
        }
    }
}
