//! What is done to one picture, step by step.

use crate::compute::kernels::{
    Activation, Depthwise, Geometry, Level, Packed, Pool, Product, activate, convolve, depthwise,
    gemm, pool,
};

/// One step. Sizes are known at load; nothing is decided while a picture runs.
pub(super) enum Step {
    /// A 1x1 convolution: a product over pixels.
    Point {
        weights: Packed,
        pixels: usize,
        activation: Activation,
    },
    Convolve {
        weights: Packed,
        frame: Frame,
        geometry: Geometry,
        activation: Activation,
    },
    Depthwise {
        weights: Depthwise,
        frame: Frame,
        geometry: Geometry,
        activation: Activation,
    },
    Pool {
        kind: Pool,
        frame: Frame,
        geometry: Geometry,
        channels: usize,
    },
    /// The mean of each channel.
    Mean {
        channels: usize,
    },
    Activate(Activation),
    Residual(Residual),
}

/// activation(body(x) + shortcut(x)).
pub(super) struct Residual {
    pub body: Vec<Step>,
    /// Empty where the input is added as it is.
    pub shortcut: Vec<Step>,
    pub activation: Activation,
}

/// A border around a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Rows and columns of the picture inside.
    pub inner: [usize; 2],
    /// Where it begins.
    pub before: [usize; 2],
    /// Rows and columns with the border.
    pub outer: [usize; 2],
    pub channels: usize,
    pub fill: f32,
}

/// Buffers that were used and can be used again.
#[derive(Default)]
pub(super) struct Buffers(Vec<Vec<f32>>);

impl Buffers {
    /// A buffer of `count` values, which may be anything.
    pub fn take(&mut self, count: usize) -> Vec<f32> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.resize(count, 0.0);
        buffer
    }

    pub fn give(&mut self, buffer: Vec<f32>) {
        self.0.push(buffer);
    }
}

/// Takes a picture through the steps.
pub(super) fn run(
    steps: &[Step],
    level: Level,
    mut picture: Vec<f32>,
    buffers: &mut Buffers,
) -> Vec<f32> {
    for step in steps {
        picture = step.run(level, picture, buffers);
    }
    picture
}

impl Step {
    fn run(&self, level: Level, picture: Vec<f32>, buffers: &mut Buffers) -> Vec<f32> {
        match self {
            Self::Point { weights, pixels, activation } => {
                let mut out = buffers.take(pixels * weights.n());
                point(level, weights, &picture, None, *activation, &mut out);
                buffers.give(picture);
                out
            }
            Self::Convolve { weights, frame, geometry, activation } => {
                let picture = frame.put(picture, buffers);
                let mut out = buffers.take(pixels(geometry) * weights.n());
                convolve(level, weights, geometry, &picture, &mut out, *activation);
                buffers.give(picture);
                out
            }
            Self::Depthwise { weights, frame, geometry, activation } => {
                let picture = frame.put(picture, buffers);
                let mut out = buffers.take(pixels(geometry) * weights.channels());
                depthwise(level, weights, geometry, &picture, &mut out, *activation);
                buffers.give(picture);
                out
            }
            Self::Pool { kind, frame, geometry, channels } => {
                let picture = frame.put(picture, buffers);
                let mut out = buffers.take(pixels(geometry) * channels);
                pool(level, *kind, *channels, geometry, &picture, &mut out);
                buffers.give(picture);
                out
            }
            Self::Mean { channels } => {
                let mut out = buffers.take(*channels);
                mean(&picture, &mut out);
                buffers.give(picture);
                out
            }
            Self::Activate(activation) => {
                let mut picture = picture;
                activate(level, &mut picture, *activation);
                picture
            }
            Self::Residual(residual) => residual.run(level, picture, buffers),
        }
    }
}

fn pixels(geometry: &Geometry) -> usize {
    geometry.output[0] * geometry.output[1]
}

fn point(
    level: Level,
    weights: &Packed,
    picture: &[f32],
    residual: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    let product = Product {
        a: picture,
        a_stride: weights.k(),
        m: out.len() / weights.n(),
        out,
        out_stride: weights.n(),
        places: None,
        residual,
        activation,
    };
    gemm(level, weights, product);
}

impl Residual {
    fn run(&self, level: Level, picture: Vec<f32>, buffers: &mut Buffers) -> Vec<f32> {
        let mut start = buffers.take(picture.len());
        start.copy_from_slice(&picture);
        let shortcut = run(&self.shortcut, level, picture, buffers);
        // A last product adds the shortcut while its sums are still in registers.
        let (out, added) = match self.body.split_last() {
            Some((Step::Point { weights, pixels, activation: Activation::None }, first)) => {
                let inner = run(first, level, start, buffers);
                let mut out = buffers.take(pixels * weights.n());
                point(level, weights, &inner, Some(&shortcut), self.activation, &mut out);
                buffers.give(inner);
                (out, true)
            }
            _ => (run(&self.body, level, start, buffers), false),
        };
        let mut out = out;
        if !added {
            out.iter_mut().zip(&shortcut).for_each(|(out, &add)| *out += add);
            activate(level, &mut out, self.activation);
        }
        buffers.give(shortcut);
        out
    }
}

impl Frame {
    /// The picture with its border; without one it stays as it is.
    fn put(&self, picture: Vec<f32>, buffers: &mut Buffers) -> Vec<f32> {
        if self.inner == self.outer {
            return picture;
        }
        let line = self.inner[1] * self.channels;
        let mut framed = buffers.take(self.outer[0] * self.outer[1] * self.channels);
        let left = self.before[1] * self.channels;
        for (row, to) in framed.chunks_exact_mut(self.outer[1] * self.channels).enumerate() {
            let from = row.checked_sub(self.before[0]).filter(|&row| row < self.inner[0]);
            match from {
                Some(row) => {
                    to[..left].fill(self.fill);
                    to[left..left + line].copy_from_slice(&picture[row * line..(row + 1) * line]);
                    to[left + line..].fill(self.fill);
                }
                None => to.fill(self.fill),
            }
        }
        buffers.give(picture);
        framed
    }
}

/// Sums in f64, so that a large picture loses nothing.
fn mean(picture: &[f32], out: &mut [f32]) {
    let channels = out.len();
    let mut sums = vec![0.0_f64; channels];
    for pixel in picture.chunks_exact(channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    #[expect(clippy::cast_precision_loss, reason = "pixels are few")]
    let count = (picture.len() / channels) as f64;
    for (out, sum) in out.iter_mut().zip(sums) {
        #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
        {
            *out = (sum / count) as f32;
        }
    }
}
