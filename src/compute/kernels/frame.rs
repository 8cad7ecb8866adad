//! Where a picture lies in memory.

use super::lanes::WIDTH;
use super::tile::Strides;

/// A picture in blocks of sixteen channels, `[block][line][pixel][16]`, with a border of zeros around
/// each plane: what reads a window never asks whether it is outside. Lines of a block lie close together,
/// whatever the number of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    pub channels: usize,
    /// Rows and columns inside the border.
    pub size: [usize; 2],
    /// Border above and to the left.
    pub before: [usize; 2],
    /// Border below and to the right.
    pub after: [usize; 2],
}

impl Frame {
    /// A picture without a border.
    #[must_use]
    pub fn bare(channels: usize, size: [usize; 2]) -> Self {
        Self { channels, size, before: [0, 0], after: [0, 0] }
    }

    #[must_use]
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(WIDTH)
    }

    /// Floats from one line to the next.
    #[must_use]
    pub fn line(&self) -> usize {
        (self.before[1] + self.size[1] + self.after[1]) * WIDTH
    }

    /// Floats from one block to the next.
    #[must_use]
    pub fn plane(&self) -> usize {
        (self.before[0] + self.size[0] + self.after[0]) * self.line()
    }

    /// Floats in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// As [`Frame::len`], or `None` where it is more than `most`.
    #[must_use]
    pub fn len_within(&self, most: usize) -> Option<usize> {
        let sum = |axis: usize| {
            self.before[axis].checked_add(self.size[axis])?.checked_add(self.after[axis])
        };
        let pixels = sum(0)?.checked_mul(sum(1)?)?;
        let len = pixels.checked_mul(self.blocks())?.checked_mul(WIDTH)?;
        (len <= most).then_some(len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the first block's pixel at `row` and `column` begins; both may lie in the border.
    /// What lies outside has no meaning.
    #[must_use]
    pub fn at(&self, row: isize, column: isize) -> usize {
        let place = |axis: usize, at: isize| self.before[axis].wrapping_add_signed(at);
        place(0, row) * self.line() + place(1, column) * WIDTH
    }

    pub(super) fn strides(&self, step: [usize; 2]) -> Strides {
        Strides { pixel: step[1] * WIDTH, line: step[0] * self.line() }
    }

    /// Channels of a block that are there.
    #[must_use]
    pub fn channels_of(&self, block: usize) -> usize {
        (self.channels - block * WIDTH).min(WIDTH)
    }
}
