//! The inverted bottleneck (Sandler et al. 2018), some lines at a time: the wide picture between its
//! convolutions is many times larger than what goes in and out, and a part of it stays in the cache.

use crate::compute::kernels::{Band, Convolution, Depthwise, Frame, Geometry, Level};

/// Bytes of the wide pictures that are kept at once: about half of a common L2.
const BAND_BYTES: usize = 512 << 10;

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

/// A picture's place and its values.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    pub frame: &'a Frame,
    pub data: &'a [f32],
}

impl Bottleneck {
    /// How many lines of the output are made at once, when a line of each wide picture has so many floats.
    pub fn lines(geometry: &Geometry, height: usize, [wide, filtered]: [usize; 2]) -> usize {
        let bytes = |lines: usize| 4 * (geometry.reads(lines) * wide + lines * filtered);
        let most = (1..=height).take_while(|&lines| bytes(lines) <= BAND_BYTES).last().unwrap_or(1);
        // Bands of about the same height.
        height.div_ceil(height.div_ceil(most))
    }

    /// All lines of the output. `wide` and `filtered` are room for a band; the border of `wide` is zero.
    pub fn run(
        &self,
        level: Level,
        input: Picture<'_>,
        residual: Option<Picture<'_>>,
        out: &mut [f32],
        [wide, filtered]: [&mut [f32]; 2],
    ) {
        let height = self.project.to().size[0];
        let added = residual.map(|picture| (picture.frame, picture.data));
        let mut ready = Lines::default();
        for to in (0..height).step_by(self.lines) {
            let lines = self.lines.min(height - to);
            let top = (to * self.geometry.stride[0]).cast_signed()
                - self.geometry.padding[0].cast_signed();
            let here = Band { top: 0, to: 0, lines };
            match &self.expand {
                None => self.depthwise.run(level, Band { top, ..here }, input.data, filtered),
                Some(expand) => {
                    ready =
                        self.fill(ready.moved(top, &self.wide, wide), lines, wide, |band, wide| {
                            expand.run(level, band, input.data, wide, None);
                        });
                    self.depthwise.run(level, here, wide, filtered);
                }
            }
            self.project.run(level, Band { to, ..here }, filtered, out, added);
        }
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
