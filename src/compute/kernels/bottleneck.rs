//! The inverted bottleneck (Sandler et al. 2018), some lines at a time: the wide picture between its
//! convolutions is many times larger than what goes in and out, and a part of it stays in the cache.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::buffer::Buffer;
use super::convolve::{Band, Convolution, Geometry};
use super::depthwise::Depthwise;
use super::frame::Frame;
use super::lanes::WIDTH;
use super::{Level, team};

/// Bytes of the wide pictures that are kept at once: a common L2 holds them beside what is read.
const BAND_BYTES: usize = 640 << 10;

/// Expand, depthwise, project, with what follows each.
pub struct Bottleneck {
    /// Without it, the depthwise convolution reads the input.
    pub expand: Option<Convolution>,
    pub depthwise: Depthwise,
    pub project: Convolution,
    /// Of the depthwise convolution.
    pub geometry: Geometry,
    /// Lines of the output at once.
    pub lines: usize,
    /// Lines of the picture that the depthwise convolution reads.
    pub height: usize,
    /// What the depthwise convolution reads and writes: a band of the wide pictures.
    pub wide: Frame,
    pub filtered: Frame,
}

/// Room for a band of each wide picture.
#[derive(Default)]
struct Bands {
    wide: Buffer,
    filtered: Buffer,
}

/// Room that bottlenecks use one after the other, so that it stays in the cache; a set for each thread.
#[derive(Default)]
pub struct Spare(Mutex<Vec<Bands>>);

impl Spare {
    fn pop(&self) -> Bands {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn push(&self, bands: Bands) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bands);
    }
}

/// A picture's place and its values.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    pub frame: &'a Frame,
    pub data: &'a [f32],
}

/// One call, whose lines several threads may make.
struct Pass<'a> {
    level: Level,
    input: Picture<'a>,
    residual: Option<(&'a Frame, &'a [f32])>,
    out: *mut f32,
    spare: &'a Spare,
}

// SAFETY: what it points to is written at lines of each thread's own.
unsafe impl Sync for Pass<'_> {}

impl Bottleneck {
    /// How many lines of the output are made at once, when a line of each wide picture has so many floats, and the
    /// pointwise convolutions so many weights.
    pub fn lines(
        geometry: &Geometry,
        height: usize,
        [wide, filtered]: [usize; 2],
        weights: usize,
    ) -> usize {
        let floats = |lines: usize| geometry.reads(lines) * wide + lines * filtered;
        // All of a small picture with many channels: its weights would leave the cache, and be read again for
        // each band.
        if floats(height) <= 2 * weights {
            return height;
        }
        let fits = |&lines: &usize| 4 * floats(lines) <= BAND_BYTES;
        let most = (1..=height).take_while(fits).last().unwrap_or(1);
        // Bands of about the same height.
        height.div_ceil(height.div_ceil(most))
    }

    /// All lines of the output.
    ///
    /// # Panics
    /// When a slice is too short for its frame.
    pub fn run(
        &self,
        level: Level,
        input: Picture<'_>,
        residual: Option<Picture<'_>>,
        out: &mut [f32],
        spare: &Spare,
    ) {
        let to = self.project.to();
        assert!(out.len() >= to.len(), "a whole picture goes out");
        let residual = residual.map(|picture| (picture.frame, picture.data));
        let pass = &Pass { level, input, residual, out: out.as_mut_ptr(), spare };
        let (height, threads) = (to.size[0], team::threads());
        if threads == 1 || !self.shares_lines(height, threads) {
            // SAFETY: `out` has room, and nobody else has it.
            return unsafe { self.part(pass, 0..height) };
        }
        let line = |piece: usize| height * piece / threads;
        // SAFETY: as above; no two pieces have a line in common.
        team::each(threads, &|piece| unsafe { self.part(pass, line(piece)..line(piece + 1)) });
    }

    /// Whether threads do best to make lines of their own, and not to share each operation: the tallest part, with
    /// what it expands of its neighbours' lines, is at most a third above its share.
    fn shares_lines(&self, height: usize, threads: usize) -> bool {
        let twice = self.geometry.reads(1).saturating_sub(self.geometry.stride[0]);
        let tallest = height.div_ceil(threads) + twice.div_ceil(2) * (threads - 1).min(2);
        3 * threads * tallest <= 4 * height
    }

    /// Some lines, band by band.
    ///
    /// # Safety
    /// `out` must have room for all lines, and nobody else may use these.
    unsafe fn part(&self, pass: &Pass<'_>, own: Range<usize>) {
        let &Pass { level, input, residual, out, spare } = pass;
        let mut bands = self.bands(spare);
        let Bands { wide, filtered } = &mut bands;
        let mut ready = Lines::default();
        for to in own.clone().step_by(self.lines) {
            let lines = self.lines.min(own.end - to);
            let top = (to * self.geometry.stride[0]).cast_signed()
                - self.geometry.padding[0].cast_signed();
            let here = Band { top: 0, to: 0, lines };
            match &self.expand {
                None => self.depthwise.run(level, Band { top, ..here }, input.data, filtered),
                Some(expand) => {
                    let moved = ready.moved(top, &self.wide, wide);
                    ready = self.fill(moved, lines, wide, |band, wide| {
                        expand.run(level, band, input.data, wide, None);
                    });
                    self.depthwise.run(level, here, wide, filtered);
                }
            }
            // SAFETY: the caller's.
            unsafe {
                self.project.write(level, Band { to, ..here }, filtered, out, residual);
            }
        }
        spare.push(bands);
    }

    /// Room whose border is zero, whoever has used it before.
    fn bands(&self, spare: &Spare) -> Bands {
        let mut bands = spare.pop();
        bands.filtered.resize(self.filtered.len());
        if self.expand.is_some() {
            bands.wide.resize(self.wide.len());
            let (left, line) = (self.wide.before[1] * WIDTH, self.wide.line());
            let right = line - self.wide.after[1] * WIDTH;
            for line in bands.wide.chunks_exact_mut(line) {
                line[..left].fill(0.0);
                line[right..].fill(0.0);
            }
        }
        bands
    }

    /// Brings the band's lines up to what `lines` lines of output read.
    fn fill(
        &self,
        ready: Lines,
        lines: usize,
        wide: &mut [f32],
        mut expand: impl FnMut(Band, &mut [f32]),
    ) -> Lines {
        let end = self.geometry.reads(lines);
        let mut line = ready.count;
        while line < end {
            let at = ready.top + line.cast_signed();
            let left = self.height.cast_signed() - at;
            if at < 0 || left <= 0 {
                clear(&self.wide, wide, line);
                line += 1;
            } else {
                let count = (end - line).min(left.unsigned_abs());
                expand(Band { top: at, to: line, lines: count }, wide);
                line += count;
            }
        }
        Lines { top: ready.top, count: end }
    }
}

/// Which lines of the wide picture the band holds, from the line `top` on.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    top: isize,
    count: usize,
}

impl Lines {
    /// Moves the lines that are read again to where `top` is the first.
    fn moved(self, top: isize, frame: &Frame, data: &mut [f32]) -> Self {
        let by = (top - self.top).max(0).unsigned_abs();
        let count = self.count.saturating_sub(by);
        let line = frame.line();
        if count == 0 {
            return Self { top, count };
        }
        for block in data.chunks_exact_mut(frame.plane()) {
            block.copy_within(by * line..(by + count) * line, 0);
        }
        Self { top, count }
    }
}

/// A line outside the picture is zero.
fn clear(frame: &Frame, data: &mut [f32], line: usize) {
    for block in data.chunks_exact_mut(frame.plane()) {
        block[line * frame.line()..(line + 1) * frame.line()].fill(0.0);
    }
}
