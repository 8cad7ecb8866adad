//! Floats that begin at the start of a cache line: a vector of sixteen then never lies across two.

use std::ops::{Deref, DerefMut};

use super::lanes::WIDTH;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; WIDTH]);

/// A vector of floats in whole cache lines.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    count: usize,
}

impl Buffer {
    /// `count` zeros.
    #[must_use]
    pub fn zeros(count: usize) -> Self {
        Self { lines: vec![Line([0.0; WIDTH]); count.div_ceil(WIDTH)], count }
    }

    /// Changes the number of values; new ones may be anything that was there before.
    pub fn resize(&mut self, count: usize) {
        self.lines.resize(count.div_ceil(WIDTH), Line([0.0; WIDTH]));
        self.count = count;
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines hold at least `count` floats, one after the other.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.count) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.count) }
    }
}
