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

/// A buffer that is written once, from its start to its end: each page of a large one is new memory, and to
/// fill it with zeros first would be half the work.
pub(super) struct Lines(Vec<Line>);

impl Lines {
    pub fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    pub fn extend(&mut self, lines: impl Iterator<Item = [f32; WIDTH]>) {
        self.0.extend(lines.map(Line));
    }
}

impl From<Lines> for Buffer {
    fn from(Lines(lines): Lines) -> Self {
        Self { count: lines.len() * WIDTH, lines }
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
