//! Convolutions and pools over frames, whole and in bands.

use proptest::prelude::*;

use super::{POISON, levels, near, values};
use crate::compute::kernels::*;

/// One random case: what a window sees is named by `at`, which is `None` outside the picture.
struct Case {
    geometry: Geometry,
    from: Frame,
    to: Frame,
    /// `[channel][row][column]`.
    picture: Vec<f32>,
    seed: u64,
}

impl Case {
    fn at(&self, channel: usize, out: [usize; 2], tap: [usize; 2]) -> Option<f64> {
        let place: [Option<usize>; 2] = std::array::from_fn(|axis| {
            let at =
                out[axis] * self.geometry.stride[axis] + tap[axis] * self.geometry.dilation[axis];
            at.checked_sub(self.geometry.padding[axis]).filter(|&at| at < self.from.size[axis])
        });
        let [row, column] = [place[0]?, place[1]?];
        let [rows, columns] = self.from.size;
        Some(self.picture[(channel * rows + row) * columns + column].into())
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> + Clone {
        let [rows, columns] = self.geometry.kernel;
        (0..rows * columns).map(move |tap| [tap / columns, tap % columns])
    }

    /// The picture in blocks, within its border of zeros.
    fn blocks(&self) -> Vec<f32> {
        let mut data = vec![0.0; self.from.len()];
        let [rows, columns] = self.from.size;
        for (i, &value) in self.picture.iter().enumerate() {
            let (channel, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
            let place = self.from.at(row.cast_signed(), column.cast_signed());
            data[channel / 16 * self.from.plane() + place + channel % 16] = value;
        }
        data
    }

    fn planes(&self) -> Vec<f32> {
        let (width, size) = (self.from.line() / 16, self.from.plane() / 16);
        let mut data = vec![0.0; self.from.channels * size];
        let [rows, columns] = self.from.size;
        for (i, &value) in self.picture.iter().enumerate() {
            let (channel, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
            let place = (row + self.from.before[0]) * width + column + self.from.before[1];
            data[channel * size + place] = value;
        }
        data
    }

    /// What a poisoned output must hold: `one(channel, out)` inside, poison in the border.
    fn check(&self, got: &[f32], one: impl Fn(usize, [usize; 2]) -> f64) {
        let to = &self.to;
        for channel in 0..to.channels {
            let block = &got[channel / 16 * to.plane()..][..to.plane()];
            for row in 0..to.size[0] {
                for column in 0..to.size[1] {
                    let at = to.at(row.cast_signed(), column.cast_signed()) + channel % 16;
                    near(&block[at..=at], &[one(channel, [row, column])], 1e-5);
                }
            }
        }
        let inside = to.blocks() * to.size[0] * to.size[1] * 16;
        assert_eq!(got.iter().filter(|value| value.is_nan()).count(), to.len() - inside);
    }

    /// In two bands, from where each begins.
    fn bands(&self) -> [Band; 2] {
        let height = self.to.size[0];
        let cut = height.div_ceil(2);
        [0..cut, cut..height].map(|lines| Band {
            top: (lines.start * self.geometry.stride[0]).cast_signed()
                - self.geometry.padding[0].cast_signed(),
            to: lines.start,
            lines: lines.len(),
        })
    }
}

fn convolutions(case: &Case, filters: usize) {
    let (taps, inputs) = (case.taps().count(), case.from.channels);
    let to = Frame { channels: filters, ..case.to };
    let case = &Case { to, picture: case.picture.clone(), ..*case };
    let weights = values(filters * inputs * taps, case.seed + 1);
    let (scale, bias) = (values(filters, case.seed + 5), values(filters, case.seed + 2));
    let residual = values(to.len(), case.seed + 3);
    let one = |filter: usize, out: [usize; 2]| {
        let term =
            |channel: usize| case.taps().enumerate().map(move |(tap, place)| (channel, tap, place));
        let sum: f64 = (0..inputs)
            .flat_map(term)
            .map(|(channel, tap, place)| {
                let weight = weights[(filter * inputs + channel) * taps + tap] * scale[filter];
                case.at(channel, out, place).unwrap_or(0.0) * f64::from(weight)
            })
            .sum();
        let at = filter / 16 * to.plane() + filter % 16;
        let place = to.at(out[0].cast_signed(), out[1].cast_signed());
        (sum + f64::from(bias[filter]) + f64::from(residual[at + place])).max(0.0)
    };
    let filters = Filters { weights: &weights, scale: &scale, bias: &bias };
    let frames = (case.from, to);
    let mut ways =
        vec![(Convolution::new(filters, &case.geometry, frames, Activation::Relu), case.blocks())];
    if case.geometry.dilation[1] == 1 {
        let planar = Convolution::planar(filters, &case.geometry, frames, Activation::Relu);
        ways.push((planar, case.planes()));
    }
    if Narrow::takes(&case.geometry, filters.bias.len()) {
        narrow(case, filters);
    }
    for level in levels() {
        for (convolution, input) in &ways {
            let mut convolution = convolution.clone();
            if level == Level::Amx {
                convolution = convolution.into_digits();
            }
            let mut out = vec![POISON; to.len()];
            for band in case.bands().into_iter().filter(|band| band.lines > 0) {
                convolution.run(level, band, input, &mut out, Some((&to, &residual)));
            }
            case.check(&out, one);
        }
    }
}

/// Without the residual, which it does not take, and for all lines at once.
fn narrow(case: &Case, filters: Filters<'_>) {
    let (taps, inputs) = (case.taps().count(), case.from.channels);
    let one = |filter: usize, out: [usize; 2]| {
        let term =
            |channel: usize| case.taps().enumerate().map(move |(tap, place)| (channel, tap, place));
        let sum: f64 = (0..inputs)
            .flat_map(term)
            .map(|(channel, tap, place)| {
                let weight = filters.weights[(filter * inputs + channel) * taps + tap];
                let weight = weight * filters.scale[filter];
                case.at(channel, out, place).unwrap_or(0.0) * f64::from(weight)
            })
            .sum();
        (sum + f64::from(filters.bias[filter])).max(0.0)
    };
    let narrow = Narrow::new(filters, &case.geometry, (case.from, case.to), Activation::Relu);
    let mut planes = case.planes();
    planes.extend([POISON; 32]);
    for level in levels() {
        let mut out = vec![POISON; case.to.len()];
        narrow.run(level, &planes, &mut out);
        let to = &case.to;
        for row in 0..to.size[0] {
            for column in 0..to.size[1] {
                let at = to.at(row.cast_signed(), column.cast_signed());
                let expected: Vec<f64> = (0..to.channels).map(|c| one(c, [row, column])).collect();
                near(&out[at..at + to.channels], &expected, 1e-5);
            }
        }
        let written = to.size[0] * to.size[1] * 16;
        assert_eq!(out.iter().filter(|value| value.is_nan()).count(), to.len() - written);
    }
}

fn filters_per_channel(case: &Case) {
    let (taps, channels) = (case.taps().count(), case.to.channels);
    let weights = values(channels * taps, case.seed + 1);
    let (scale, bias) = (values(channels, case.seed + 5), values(channels, case.seed + 2));
    let one = |channel: usize, out: [usize; 2]| {
        let term = |(tap, place)| {
            let weight = weights[channel * taps + tap] * scale[channel];
            case.at(channel, out, place).unwrap_or(0.0) * f64::from(weight)
        };
        let sum: f64 = case.taps().enumerate().map(term).sum();
        (sum + f64::from(bias[channel])).clamp(0.0, 6.0)
    };
    let filters = Filters { weights: &weights, scale: &scale, bias: &bias };
    let depthwise =
        Depthwise::new(filters, &case.geometry, (case.from, case.to), Activation::Relu6);
    for level in levels() {
        let mut out = vec![POISON; case.to.len()];
        for band in case.bands().into_iter().filter(|band| band.lines > 0) {
            depthwise.run(level, band, &case.blocks(), &mut out);
        }
        case.check(&out, one);
    }
}

fn pools(case: &Case) {
    for kind in [Pool::Maximum, Pool::Average] {
        let one = |channel: usize, out: [usize; 2]| {
            let seen = case.taps().filter_map(|tap| case.at(channel, out, tap));
            match kind {
                Pool::Maximum => seen.fold(f64::NEG_INFINITY, f64::max),
                #[expect(clippy::cast_precision_loss, reason = "a window is small")]
                Pool::Average => seen.clone().sum::<f64>() / seen.count().max(1) as f64,
            }
        };
        let pooling = Pooling { kind, geometry: case.geometry, from: case.from, to: case.to };
        for level in levels() {
            let mut out = vec![POISON; case.to.len()];
            pooling.run(level, &case.blocks(), &mut out);
            case.check(&out, one);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn windows_agree_with_the_definition(
        output in (1_usize..9, 1_usize..20), kernel in (1_usize..4, 1_usize..4),
        stride in (1_usize..3, 1_usize..3), dilation in (1_usize..3, 1_usize..3),
        padding in (0_usize..3, 0_usize..3), channels in (1_usize..40, 1_usize..40),
        seed in 1_u64..1000,
    ) {
        let (kernel, stride) = ([kernel.0, kernel.1], [stride.0, stride.1]);
        let (dilation, output) = ([dilation.0, dilation.1], [output.0, output.1]);
        let padding: [usize; 2] =
            std::array::from_fn(|axis| [padding.0, padding.1][axis].min(kernel[axis] - 1));
        // As large a picture as the windows reach, but for what lies below and to the right of it.
        let after: [usize; 2] = std::array::from_fn(|axis| usize::from(kernel[axis] > 1));
        let size: [usize; 2] = std::array::from_fn(|axis| {
            let reach = (output[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
            reach.saturating_sub(padding[axis] + after[axis]).max(1)
        });
        // A border larger than what is needed, as another reader of the picture may ask for.
        let wide: [usize; 2] = std::array::from_fn(|axis| padding[axis] + axis);
        let from = Frame { channels: channels.0, size, before: wide, after: [after[0] + 3, after[1] + 3] };
        let to = Frame { channels: channels.0, size: output, before: [1, 0], after: [0, 2] };
        let picture = values(channels.0 * size[0] * size[1], seed);
        let geometry = Geometry { kernel, stride, dilation, padding };
        let case = Case { geometry, from, to, picture, seed };
        convolutions(&case, channels.1);
        filters_per_channel(&case);
        pools(&case);
    }
}

#[test]
fn a_mean_is_over_the_picture_and_not_its_border() {
    let frame = Frame { channels: 19, size: [3, 5], before: [1, 2], after: [0, 1] };
    let mut data = vec![7.0; frame.len()];
    for block in 0..2 {
        for row in 0..3 {
            let start = block * frame.plane() + frame.at(row, 0);
            data[start..start + 5 * 16].copy_from_slice(&values(80, 5));
        }
    }
    for level in levels() {
        let mut out = [POISON; 19];
        mean(level, &frame, &data, &mut out);
        for (channel, &got) in out.iter().enumerate() {
            let five = values(80, 5).into_iter().skip(channel % 16).step_by(16);
            let expected = five.map(f64::from).sum::<f64>() / 5.0;
            near(&[got], &[expected], 1e-6);
        }
    }
}
