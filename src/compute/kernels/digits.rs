//! Panels for a level that multiplies bytes.

use super::buffer::Buffer;
use super::lanes::WIDTH;
use super::tile::Panels;

/// Panels `[n / 16][k][16]` as digits of a byte. They take three quarters of the room that floats do, where k is a
/// multiple of 64.
#[derive(Debug, Clone)]
pub(super) struct Digits {
    tiles: Buffer,
    /// What each column is scaled back by.
    back: Buffer,
}

impl Digits {
    /// The longest columns: sums of more products of bytes might not fit 32 bits.
    pub const LONGEST: usize = 1 << 15;

    /// `None` where this processor does not multiply bytes, and for columns that are empty or too long.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), expect(unused_variables))]
    pub fn new(panels: &[f32], k: usize) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if (1..=Self::LONGEST).contains(&k) && super::is_available(super::Level::Amx) {
            // SAFETY: it is there.
            let (tiles, back) = unsafe { super::amx::split(panels, k) };
            return Some(Self { tiles, back });
        }
        None
    }

    /// One value of a column.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), expect(unused_variables))]
    pub fn value(&self, depth: usize, column: usize) -> f32 {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let blocks = self.tiles.len() / self.back.len();
            let panel = &self.tiles[column / WIDTH * blocks * WIDTH..][..blocks * WIDTH];
            super::amx::value(panel, depth, column % WIDTH, self.back[column])
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        unreachable!("digits are made where they can be multiplied")
    }

    /// All of them, or one of several equal parts: `k` values of `n` columns.
    pub fn panels(&self, (part, parts): (usize, usize), (n, k): (usize, usize)) -> Panels {
        let (tiles, columns) = (self.tiles.len() / parts, self.back.len() / parts);
        Panels {
            data: self.tiles[part * tiles..].as_ptr(),
            stride: tiles / (columns / WIDTH).max(1),
            bias: None,
            digits: Some(self.back[part * columns..].as_ptr()),
            k,
            n,
        }
    }
}
