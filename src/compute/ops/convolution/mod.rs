//! A convolution as three products over lines of a picture: of its outputs, of the gradient by its
//! weights and of the gradient by its input.

mod by_weights;
mod spread;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use self::spread::Spread;
use super::{made, values};
use crate::compute::Values;
use crate::compute::kernels::{Level, Lined, Places, Start, add_rows, best, lined};
use crate::compute::layers::{ConvolutionSize, Placement};

/// Arguments are x [N, input, H, W], weights [output, input / groups, rows, columns] and a bias `[output]`.
pub struct Convolve {
    size: ConvolutionSize,
    at: Placement,
}

impl Convolve {
    /// `at` is where the window lies on x.
    pub fn new(size: ConvolutionSize, at: Placement) -> Self {
        Self { size, at }
    }
}

impl CustomOp3 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, channels, rows, columns) = x_layout.shape().dims4()?;
        let ConvolutionSize { input, output, .. } = self.size;
        if channels != input || [rows, columns] != self.at.input || bias_layout.dims() != [output] {
            bail!("convolve: {:?} on a picture of {:?}", self.size, x_layout.dims());
        }
        let pass = Pass::new(self);
        let [out_rows, out_columns] = self.at.output;
        let mut out = vec![0.0; n * output * out_rows * out_columns];
        let weights =
            Weights { values: values(weight, weight_layout)?, bias: values(bias, bias_layout)? };
        pass.forward(&weights, values(x, x_layout)?, &mut out);
        Ok(made(out, (n, output, out_rows, out_columns)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let pass = Pass::new(self);
        let gradient = Values::of(gradient)?;
        let tensor = |values: Vec<f32>, of: &Tensor| {
            Tensor::from_vec(values, of.shape(), x.device()).map(Some)
        };
        let of_x = if x.track_op() {
            tensor(pass.by_input(&Values::of(weight)?, &gradient), x)?
        } else {
            None
        };
        let of_weight = tensor(pass.by_weights(&Values::of(x)?, &gradient), weight)?;
        let of_bias = if bias.track_op() { tensor(pass.by_bias(&gradient), bias)? } else { None };
        Ok((of_x, of_weight, of_bias))
    }
}

struct Weights<'a> {
    values: &'a [f32],
    bias: &'a [f32],
}

/// What all pictures of a batch share.
struct Pass {
    level: Level,
    size: ConvolutionSize,
    at: Placement,
    spread: Spread,
    /// Channels in and out of a group.
    inputs: usize,
    outputs: usize,
    /// Weights of an output.
    depth: usize,
    /// Where each weight's tap begins in a group of channels.
    lines: Places,
}

impl Pass {
    fn new(operation: &Convolve) -> Self {
        let Convolve { size, at } = *operation;
        let spread = Spread::new(&size.window, at);
        let (inputs, outputs) = (size.input / size.groups, size.output / size.groups);
        let lines = spread.lines(inputs);
        Self { level: best(), size, at, inputs, outputs, depth: lines.len(), lines, spread }
    }

    /// Values of a picture, of its spread form and of its outputs.
    fn picture(&self) -> usize {
        self.size.input * self.at.input[0] * self.at.input[1]
    }

    fn spread_len(&self) -> usize {
        self.size.input * self.spread.channel()
    }

    fn plane(&self) -> usize {
        self.at.output[0] * self.at.output[1]
    }

    /// Calls `with` with each picture in its spread form and the same picture's part of `beside`.
    fn pictures(&self, x: &[f32], mut with: impl FnMut(&[f32], usize)) {
        let mut room = vec![0.0; if self.spread.is_plain() { 0 } else { self.spread_len() }];
        for (index, picture) in x.chunks_exact(self.picture()).enumerate() {
            if self.spread.is_plain() {
                with(picture, index);
            } else {
                self.spread.fill(picture, &mut room);
                with(&room, index);
            }
        }
    }

    fn forward(&self, weights: &Weights<'_>, x: &[f32], out: &mut [f32]) {
        let (run, plane, outputs) = (self.spread.run(), self.plane(), self.outputs);
        let rows = Places::even(outputs, self.depth);
        let mut wide = vec![0.0; outputs * run];
        self.pictures(x, |picture, index| {
            for group in 0..self.size.groups {
                let product = Lined {
                    a: &weights.values[group * outputs * self.depth..],
                    rows: &rows,
                    step: 1,
                    b: &picture[group * self.inputs * self.spread.channel()..],
                    lines: &self.lines,
                    columns: run,
                    start: Start::Rows(&weights.bias[group * outputs..][..outputs]),
                    out: &mut wide,
                    out_stride: run,
                };
                lined(self.level, product);
                let first = (index * self.size.output + group * outputs) * plane;
                let planes = out[first..].chunks_exact_mut(plane);
                for (wide, plane) in wide.chunks_exact(run).zip(planes) {
                    self.narrow(wide, plane);
                }
            }
        });
    }

    /// Leaves out what belongs to no output.
    fn narrow(&self, wide: &[f32], plane: &mut [f32]) {
        let columns = self.at.output[1];
        for (line, to) in wide.chunks(self.spread.line()).zip(plane.chunks_exact_mut(columns)) {
            to.copy_from_slice(&line[..columns]);
        }
    }

    /// The gradient of an output with nothing where there is no output; the gaps hold zeros already.
    fn widen(&self, plane: &[f32], wide: &mut [f32]) {
        let columns = self.at.output[1];
        for (line, from) in wide.chunks_mut(self.spread.line()).zip(plane.chunks_exact(columns)) {
            line[..columns].copy_from_slice(from);
        }
    }

    /// As x: every tap's part goes back to where it came from.
    fn by_input(&self, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
        let (run, plane, outputs) = (self.spread.run(), self.plane(), self.outputs);
        let pictures = gradient.len() / (self.size.output * plane);
        let taps = Places::new(self.spread.taps().to_vec());
        let (rows, lines) = (Places::even(taps.len(), 1), Places::even(outputs, run));
        let mut wide = vec![0.0; outputs * run];
        let mut parts = vec![0.0; taps.len() * run];
        let mut room = vec![0.0; self.spread_len()];
        let mut of_x = vec![0.0; pictures * self.picture()];
        let all = of_x.chunks_exact_mut(self.picture());
        for (of_picture, gradient) in all.zip(gradient.chunks_exact(self.size.output * plane)) {
            room.fill(0.0);
            let groups = gradient.chunks_exact(outputs * plane);
            for (group, gradient) in groups.enumerate() {
                for (plane, wide) in gradient.chunks_exact(plane).zip(wide.chunks_exact_mut(run)) {
                    self.widen(plane, wide);
                }
                for channel in 0..self.inputs {
                    let first = group * outputs * self.depth + channel * taps.len();
                    let product = Lined {
                        a: &weight[first..],
                        rows: &rows,
                        step: self.depth,
                        b: &wide,
                        lines: &lines,
                        columns: run,
                        start: Start::Zero,
                        out: &mut parts,
                        out_stride: run,
                    };
                    lined(self.level, product);
                    let first = (group * self.inputs + channel) * self.spread.channel();
                    add_rows(self.level, &parts, run, &taps, &mut room[first..]);
                }
            }
            self.spread.read(&room, of_picture);
        }
        of_x
    }

    /// `[output]`.
    fn by_bias(&self, gradient: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; self.size.output];
        for picture in gradient.chunks_exact(self.size.output * self.plane()) {
            for (sum, plane) in sums.iter_mut().zip(picture.chunks_exact(self.plane())) {
                *sum += total(plane);
            }
        }
        sums
    }
}

/// The sum of values: several sums side by side are quicker than one.
fn total(values: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += value;
        }
    }
    sums.iter().chain(rest).sum()
}
