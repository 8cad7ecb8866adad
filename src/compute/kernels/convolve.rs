//! Convolutions over pictures whose pixels lie one after the other, channels innermost (NHWC), in a
//! buffer that holds its padding already.

use super::Level;
use super::activation::Activation;
use super::dispatch;
use super::gemm::Packed;
use super::lanes::{Lanes, WIDTH};
use super::tile::{Rows, Walk, walk};

/// Sizes of one convolution, per axis rows then columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Of the padded input.
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
}

impl Geometry {
    /// Whether the last window ends within the input.
    pub(super) fn fits(&self) -> bool {
        (0..2).all(|axis| {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            (self.output[axis] - 1) * self.stride[axis] + reach <= self.input[axis]
        })
    }
}

/// A convolution without groups: weights packed from `[out, rows, columns, in]`.
///
/// `input` is one picture `[rows, columns, channels]`, `out` is `[rows, columns, out]`.
///
/// # Panics
/// When a slice is too short for the geometry.
pub fn convolve(
    level: Level,
    weights: &Packed,
    geometry: &Geometry,
    input: &[f32],
    out: &mut [f32],
    activation: Activation,
) {
    let [rows, columns] = geometry.kernel;
    let channels = weights.k() / (rows * columns);
    let [_, width] = geometry.input;
    let m = geometry.output[0] * geometry.output[1];
    assert!(geometry.fits() && channels * rows * columns == weights.k(), "the geometry fits");
    assert!(input.len() >= geometry.input[0] * width * channels, "a whole picture comes in");
    assert!(out.len() >= m * weights.n(), "a whole picture goes out");
    // Without dilation the columns of a window are one run.
    let (runs, run): (Vec<usize>, usize) = if geometry.dilation[1] == 1 {
        let line = |row| row * geometry.dilation[0] * width * channels;
        ((0..rows).map(line).collect(), columns * channels)
    } else {
        let place = |tap| {
            let (row, column) = (tap / columns, tap % columns);
            (row * geometry.dilation[0] * width + column * geometry.dilation[1]) * channels
        };
        ((0..rows * columns).map(place).collect(), channels)
    };
    let pass = Walk {
        panels: weights.panels(),
        input: input.as_ptr(),
        rows: Rows {
            width: geometry.output[1],
            height: geometry.output[0],
            pixel: geometry.stride[1] * channels,
            line: geometry.stride[0] * width * channels,
            picture: 0,
        },
        runs: &runs,
        run,
        m,
        out: out.as_mut_ptr(),
        out_stride: weights.n(),
        places: None,
        residual: None,
        activation,
    };
    // SAFETY: every window of the geometry lies within the input, every pixel within `out`.
    unsafe { walk(level, &pass) };
}

/// Weights of a convolution with one filter a channel: `[rows · columns][channels]`, padded to whole
/// lanes, with the bias.
#[derive(Debug, Clone)]
pub struct Depthwise {
    channels: usize,
    padded: usize,
    taps: Vec<f32>,
    bias: Vec<f32>,
}

impl Depthwise {
    /// Packs `weights`, `[channels, rows · columns]`.
    ///
    /// # Panics
    /// When `weights` or `bias` do not hold as many values.
    #[must_use]
    pub fn new(weights: &[f32], bias: &[f32], taps: usize) -> Self {
        let channels = bias.len();
        assert_eq!(weights.len(), channels * taps, "weights are [channels, taps]");
        let padded = channels.next_multiple_of(WIDTH);
        let mut packed = vec![0.0; taps * padded];
        for channel in 0..channels {
            for tap in 0..taps {
                packed[tap * padded + channel] = weights[channel * taps + tap];
            }
        }
        let mut all = vec![0.0; padded];
        all[..channels].copy_from_slice(bias);
        Self { channels, padded, taps: packed, bias: all }
    }

    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }
}

/// One filter a channel, over one picture `[rows, columns, channels]`.
///
/// # Panics
/// When a slice is too short for the geometry.
pub fn depthwise(
    level: Level,
    weights: &Depthwise,
    geometry: &Geometry,
    input: &[f32],
    out: &mut [f32],
    activation: Activation,
) {
    let pixels = |[rows, columns]: [usize; 2]| rows * columns;
    assert!(geometry.fits(), "the geometry fits");
    assert_eq!(weights.taps.len(), pixels(geometry.kernel) * weights.padded, "one tap a place");
    assert!(input.len() >= pixels(geometry.input) * weights.channels, "a whole picture comes in");
    assert!(out.len() >= pixels(geometry.output) * weights.channels, "a whole picture goes out");
    let pass =
        &Pass { weights, geometry, input: input.as_ptr(), out: out.as_mut_ptr(), activation };
    // SAFETY: as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, filters(pass: &Pass<'_>)) };
}

struct Pass<'a> {
    weights: &'a Depthwise,
    geometry: &'a Geometry,
    input: *const f32,
    out: *mut f32,
    activation: Activation,
}

#[inline(always)]
unsafe fn filters<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &Pass<'_>) {
    let Geometry { output: [height, width], .. } = *pass.geometry;
    for y in 0..height {
        for channel in (0..pass.weights.channels).step_by(WIDTH) {
            let mut x = 0;
            // SAFETY: every x below `width` is a pixel. Seven divides the widths of most networks.
            unsafe {
                while x + 7 <= width {
                    pixels::<V, 7>(pass, y, x, channel);
                    x += 7;
                }
                while x + 2 <= width {
                    pixels::<V, 2>(pass, y, x, channel);
                    x += 2;
                }
                if x < width {
                    pixels::<V, 1>(pass, y, x, channel);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn pixels<V: Lanes, const X: usize>(pass: &Pass<'_>, y: usize, x: usize, channel: usize) {
    let Pass { weights, geometry, activation, .. } = pass;
    let Depthwise { channels, padded, taps, bias } = weights;
    let Geometry { kernel, stride, dilation, input: [_, width], output } = *geometry;
    let part = (channels - channel).min(WIDTH);
    let whole = part == WIDTH;
    // SAFETY: the caller's; lanes beyond `channels` are masked.
    unsafe {
        let mut sums = [V::load(bias.as_ptr().add(channel)); X];
        let corner = pass.input.add((y * stride[0] * width + x * stride[1]) * channels + channel);
        let step = stride[1] * channels;
        let mut tap = taps.as_ptr().add(channel);
        for row in 0..kernel[0] {
            for column in 0..kernel[1] {
                let place = (row * dilation[0] * width + column * dilation[1]) * channels;
                let from = corner.add(place);
                let weight = V::load(tap);
                tap = tap.wrapping_add(*padded);
                for (i, sum) in sums.iter_mut().enumerate() {
                    let at = from.add(i * step);
                    let value = if whole { V::load(at) } else { V::load_part(at, part) };
                    *sum = value.fma(weight, *sum);
                }
            }
        }
        let out = pass.out.add((y * output[1] + x) * channels + channel);
        for (i, sum) in sums.iter().enumerate() {
            let value = activation.apply(*sum);
            if whole {
                value.store(out.add(i * channels));
            } else {
                value.store_part(out.add(i * channels), part);
            }
        }
    }
}
