//! Convolutions: each output pixel is a row of a matrix product whose floats lie in runs, one a tap.

use super::Level;
use super::activation::Activation;
use super::frame::Frame;
use super::gemm::Packed;
use super::lanes::WIDTH;
use super::tile::{Addend, Run, Strides, Target, Walk, walk};

/// How windows move over a picture, rows then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the picture at which the first window begins.
    pub padding: [usize; 2],
}

impl Geometry {
    /// 1x1, one step at a time.
    pub const POINT: Self =
        Self { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], padding: [0, 0] };

    /// Whether the windows of every line of `to` lie within the lines of `from` and their border. Whether
    /// there are such lines is known when a band runs.
    pub(super) fn fits(&self, from: &Frame, to: &Frame) -> bool {
        let reach = (self.kernel[1] - 1) * self.dilation[1] + 1;
        let end = (to.size[1] - 1) * self.stride[1] + reach;
        self.padding[1] <= from.before[1] && end <= self.padding[1] + from.size[1] + from.after[1]
    }

    /// Lines of input that `lines` lines of output read.
    #[must_use]
    pub fn reads(&self, lines: usize) -> usize {
        (lines - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1
    }
}

/// Some lines of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// The input's line where the first window begins, counted from the first inside the border.
    pub top: isize,
    /// The first line of the output.
    pub to: usize,
    pub lines: usize,
}

impl Band {
    /// Whether `to` has these lines.
    pub(super) fn fits(&self, to: &Frame) -> bool {
        self.lines > 0 && self.to.checked_add(self.lines).is_some_and(|end| end <= to.size[0])
    }

    /// All lines of `to`.
    #[must_use]
    pub fn whole(geometry: &Geometry, to: &Frame) -> Self {
        Self { top: -geometry.padding[0].cast_signed(), to: 0, lines: to.size[0] }
    }
}

/// Weights of one convolution and where its input and output lie.
#[derive(Debug, Clone)]
pub struct Convolution {
    weights: Packed,
    runs: Vec<Run>,
    /// From pixel to pixel of the output, in floats of the input.
    from: Strides,
    /// Floats in a line of the input, and from its start to the first window.
    line: usize,
    origin: usize,
    /// Lines of border above the input, and floats in all.
    above: usize,
    reach: usize,
    to: Frame,
    activation: Activation,
}

/// `[out, in, rows, columns]` as PyTorch keeps them, with what the weights of each output are multiplied by,
/// and its bias.
#[derive(Clone, Copy)]
pub struct Filters<'a> {
    pub weights: &'a [f32],
    pub scale: &'a [f32],
    pub bias: &'a [f32],
}

impl Filters<'_> {
    /// # Panics
    /// When there is not one scale, one bias and `inputs` weights for each output.
    pub(super) fn check(&self, outputs: usize, inputs: usize) {
        assert!(self.scale.len() == outputs, "a scale per output");
        assert!(self.bias.len() == outputs, "a bias per output");
        assert!(self.weights.len() == inputs * outputs, "weights for every input and output");
    }
}

impl Convolution {
    /// Over a picture in blocks.
    ///
    /// # Panics
    /// When the weights have another size, or a window leaves the frame.
    #[must_use]
    pub fn new(
        filters: Filters<'_>,
        geometry: &Geometry,
        (from, to): (Frame, Frame),
        activation: Activation,
    ) -> Self {
        assert!(geometry.fits(&from, &to), "every window lies within the frame");
        let [_, columns] = geometry.kernel;
        let taps = geometry.kernel[0] * columns;
        let mut order = Vec::new();
        let mut runs = Vec::new();
        for tap in 0..taps {
            let [row, column] = [tap / columns, tap % columns];
            let place =
                row * geometry.dilation[0] * from.line() + column * geometry.dilation[1] * WIDTH;
            for block in 0..from.blocks() {
                let count = from.channels_of(block);
                runs.push(Run { offset: block * from.plane() + place, count });
                order.extend((0..count).map(|c| (block * WIDTH + c) * taps + tap));
            }
        }
        Self {
            weights: Packed::of(filters, order.len(), &order.iter().copied()),
            runs,
            from: from.strides(geometry.stride),
            line: from.line(),
            origin: (from.before[1] - geometry.padding[1]) * WIDTH,
            above: from.before[0],
            reach: from.len(),
            to,
            activation,
        }
    }

    /// Over planes of a picture, `[channel][line][pixel]`, whose border is that of `from` (the frame that
    /// the same picture in blocks would have): for the few channels of a network's input.
    ///
    /// # Panics
    /// As [`Convolution::new`], and when the columns are dilated.
    #[must_use]
    pub fn planar(
        filters: Filters<'_>,
        geometry: &Geometry,
        (from, to): (Frame, Frame),
        activation: Activation,
    ) -> Self {
        assert!(geometry.fits(&from, &to), "every window lies within the frame");
        assert!(geometry.dilation[1] == 1, "the columns of a window lie side by side");
        let [rows, columns] = geometry.kernel;
        let (line, plane) = (from.line() / WIDTH, from.plane() / WIDTH);
        let run = |place: usize| {
            let (channel, row) = (place / rows, place % rows);
            Run { offset: channel * plane + row * geometry.dilation[0] * line, count: columns }
        };
        Self {
            weights: Packed::folded(filters, from.channels * rows * columns),
            runs: (0..from.channels * rows).map(run).collect(),
            from: Strides { pixel: geometry.stride[1], line: geometry.stride[0] * line },
            line,
            origin: from.before[1] - geometry.padding[1],
            above: from.before[0],
            reach: from.channels * plane,
            to,
            activation,
        }
    }

    /// With digits for weights, whatever its size.
    #[cfg(test)]
    pub(super) fn into_digits(self) -> Self {
        Self { weights: self.weights.into_digits(), ..self }
    }

    /// With its weights in the form in which this level is fastest.
    #[must_use]
    pub fn at(self, level: Level) -> Self {
        Self { weights: self.weights.at(level), ..self }
    }

    #[must_use]
    pub fn to(&self) -> &Frame {
        &self.to
    }

    /// Some lines of the output; `residual`, which lies as the frame beside it says, is added before the
    /// activation.
    ///
    /// # Panics
    /// When a slice is too short for its frame, or the band leaves one.
    pub fn run(
        &self,
        level: Level,
        band: Band,
        input: &[f32],
        out: &mut [f32],
        residual: Option<(&Frame, &[f32])>,
    ) {
        assert!(out.len() >= self.to.len(), "a whole picture goes out");
        // SAFETY: as asserted, and nobody else has `out`.
        unsafe { self.write(level, band, input, out.as_mut_ptr(), residual) };
    }

    /// As [`Convolution::run`], to a place that others may write other lines of.
    ///
    /// # Safety
    /// `out` must have room for the whole of the output's frame, and nobody else may use the band's lines.
    pub(super) unsafe fn write(
        &self,
        level: Level,
        band: Band,
        input: &[f32],
        out: *mut f32,
        residual: Option<(&Frame, &[f32])>,
    ) {
        let to = &self.to;
        let first = self.above.checked_add_signed(band.top);
        let start = first.map(|line| line * self.line + self.origin);
        let last_run = self.runs.iter().map(|run| run.offset + run.count).max().unwrap_or(0);
        let last = (band.lines - 1) * self.from.line + (to.size[1] - 1) * self.from.pixel;
        assert!(input.len() >= self.reach, "a whole picture comes in");
        assert!(start.is_some_and(|at| at + last + last_run <= self.reach), "the band is there");
        assert!(band.fits(to), "it has a place");
        let strides = to.strides([1, 1]);
        let added = residual.map(|(frame, data)| {
            assert!(data.len() >= frame.len() && frame.size == to.size, "as large a picture");
            assert!(frame.channels == to.channels, "as many channels");
            let at = frame.at(band.to.cast_signed(), 0);
            let data = data[at..].as_ptr();
            Addend { data, strides: frame.strides([1, 1]), panel: frame.plane() }
        });
        let pass = Walk {
            panels: self.weights.panels(),
            input: input[start.unwrap_or(0)..].as_ptr(),
            from: self.from,
            runs: &self.runs,
            m: band.lines * to.size[1],
            width: if self.is_one_line(residual) { band.lines * to.size[1] } else { to.size[1] },
            to: Target {
                data: out.wrapping_add(to.at(band.to.cast_signed(), 0)),
                strides,
                panel: to.plane(),
                whole: true,
            },
            residual: added,
            activation: self.activation,
        };
        // SAFETY: every window of the band lies within the input and every pixel within `out`.
        unsafe { walk(level, &pass) };
    }
}

impl Convolution {
    /// Whether all lines are as good as one, on every side.
    fn is_one_line(&self, residual: Option<(&Frame, &[f32])>) -> bool {
        let width = self.to.size[1];
        let bare = |frame: &Frame| frame.line() == width * WIDTH;
        self.from.line == width * self.from.pixel
            && bare(&self.to)
            && residual.is_none_or(|(frame, _)| bare(frame))
    }
}
