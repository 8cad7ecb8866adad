//! Each operation against candle's own graph in f64, which the layers use for all but f32, and against finite
//! differences of that.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::compute::fit::cross_entropy;
use crate::compute::layers::{
    Activation, Cell, Convolution, ConvolutionSize, LayerState, Linear, MaxPool, Mode, Padding,
    RecurrentLayer, Sequence, Window,
};
use crate::compute::{Init, Parameters, WeightError};

/// Makes each tensor a variable, with values that depend on its name.
struct Variables {
    dtype: DType,
    all: BTreeMap<String, Var>,
    /// A variable that is moved along a direction.
    moved: Option<(String, Vec<f64>)>,
}

impl Parameters for Variables {
    fn get(&mut self, name: &str, shape: &[usize], _: Init) -> Result<Tensor, WeightError> {
        let mut values = waves(shape.iter().product(), name.len());
        if let Some((_, by)) = self.moved.as_ref().filter(|(moved, _)| moved == name) {
            values.iter_mut().zip(by).for_each(|(value, by)| *value += by);
        }
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let var = Var::from_tensor(&tensor.to_dtype(self.dtype).unwrap()).unwrap();
        self.all.insert(name.to_owned(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn buffer(&mut self, _: &str, _: &[usize], _: f32) -> Result<Tensor, WeightError> {
        unreachable!("these layers have no buffers")
    }
}

/// Values in ±0.7 that f32 holds exactly.
fn waves(count: usize, seed: usize) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small")]
    let wave = |i: usize| f64::from(((i * 7 + seed * 13) as f64 * 0.37).sin() as f32) * 0.7;
    (0..count).map(wave).collect()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

type Run<'a> = &'a dyn Fn(&mut Variables) -> Tensor;

/// Every output by another factor, and squared.
fn loss(y: &Tensor) -> Tensor {
    let factors = Tensor::from_vec(waves(y.elem_count(), 5), y.shape(), y.device()).unwrap();
    let factors = factors.to_dtype(y.dtype()).unwrap();
    (y.sqr().unwrap() + (y * factors).unwrap()).unwrap().sum_all().unwrap()
}

fn evaluate(dtype: DType, moved: Option<(String, Vec<f64>)>, run: Run<'_>) -> (Variables, Tensor) {
    let mut variables = Variables { dtype, all: BTreeMap::new(), moved };
    let y = run(&mut variables);
    (variables, y)
}

fn near(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let most = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * most, "{what}: {got}, expected {expected}");
    }
}

/// Holds `run` in f32 to the same in f64: outputs, gradients, and the loss along each gradient.
fn check(run: Run<'_>) {
    let (single, y) = evaluate(DType::F32, None, run);
    let (double, expected) = evaluate(DType::F64, None, run);
    near("the output", &numbers(&y), &numbers(&expected), 1e-5);
    let gradients = loss(&y).backward().unwrap();
    let wanted = loss(&expected).backward().unwrap();
    for (name, var) in &single.all {
        let got = numbers(gradients.get(var).unwrap());
        near(name, &got, &numbers(wanted.get(&double.all[name]).unwrap()), 1e-4);

        let step = 1e-5 / dot(&got, &got).sqrt().max(1e-3);
        let at = |sign: f64| {
            let by = got.iter().map(|value| value * step * sign).collect();
            let (_, y) = evaluate(DType::F64, Some((name.clone(), by)), run);
            loss(&y).to_scalar::<f64>().unwrap()
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
        near(&format!("{name} by differences"), &[dot(&got, &got)], &[slope], 2e-4);
    }
}

fn x(variables: &mut Variables, shape: &[usize]) -> Tensor {
    variables.get("x", shape, Init::Constant(0.0)).unwrap()
}

fn training() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

fn convolve(shape: [usize; 4], size: ConvolutionSize) {
    check(&|variables| {
        let layer = Convolution::new(variables, "convolution", size).unwrap();
        let x = x(variables, &shape);
        layer.forward(&x, &Mode::Training(&mut training())).unwrap()
    });
}

#[test]
fn a_convolution_of_every_kind() {
    let explicit = |rows, columns| Padding::Explicit([rows, columns]);
    for (groups, kernel, stride, dilation, padding) in [
        (1, [3, 3], [1, 1], [1, 1], explicit(1, 1)),
        (1, [5, 5], [1, 1], [1, 1], explicit(0, 0)),
        (2, [3, 3], [2, 2], [1, 1], explicit(0, 0)),
        (4, [3, 3], [1, 1], [1, 1], Padding::Same),
        (4, [3, 3], [2, 2], [1, 1], Padding::Same),
        (1, [3, 3], [3, 2], [2, 2], explicit(2, 2)),
        (2, [2, 3], [2, 1], [1, 2], explicit(1, 2)),
        (1, [5, 1], [1, 2], [1, 1], Padding::Same),
        (1, [1, 1], [1, 1], [1, 1], explicit(0, 0)),
        (1, [1, 1], [2, 2], [1, 1], explicit(0, 0)),
    ] {
        let window = Window { kernel, stride, dilation, padding };
        for (output, bias) in [(8, true), (20, false)] {
            let size = ConvolutionSize { input: 4, output, groups, window, bias };
            convolve([3, 4, 7, 6], size);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_convolution_of_any_size(
        n in 1_usize..4, input in 1_usize..4, output in 1_usize..20,
        rows in 5_usize..12, columns in 5_usize..24, kernel in 1_usize..5, pad in 0_usize..3,
        stride in 1_usize..3,
    ) {
        let padding = Padding::Explicit([pad, pad]);
        let window =
            Window { kernel: [kernel, kernel + 1], stride: [stride; 2], dilation: [1, 1], padding };
        let size = ConvolutionSize { input, output, groups: 1, window, bias: true };
        convolve([n, input, rows, columns], size);
    }

    #[test]
    fn a_linear_layer_of_any_size(
        rows in 1_usize..40, input in 1_usize..70, output in 1_usize..40, bias: bool,
    ) {
        check(&|variables| {
            let layer = Linear::new(variables, "linear", [input, output], bias).unwrap();
            layer.forward(&x(variables, &[rows, input])).unwrap()
        });
    }

    #[test]
    fn a_window_of_recurrent_steps(
        lstm: bool, layers in 1_usize..3, steps in 1_usize..9, rows in 1_usize..15,
        hidden in 1_usize..36,
    ) {
        let cell = if lstm { Cell::Lstm } else { Cell::Gru };
        let sizes = [layers, steps, rows, hidden];
        check(&|variables| recur(variables, cell, sizes).0);
        let states = |variables: &mut Variables| Tensor::stack(&recur(variables, cell, sizes).1, 0).unwrap();
        let [got, expected] = [DType::F32, DType::F64]
            .map(|dtype| numbers(&evaluate(dtype, None, &states).1));
        near("the state", &got, &expected, 1e-5);
    }
}

/// Layers over a table of 5 rows, read in some order, from a state that is not zero; the outputs of all steps, and
/// the states after the last one.
fn recur(
    variables: &mut Variables,
    cell: Cell,
    [layers, steps, rows, hidden]: [usize; 4],
) -> (Tensor, Vec<Tensor>) {
    let mut last = Vec::new();
    let mut tokens = Some((0..steps * rows).map(|i| u32::try_from(i * i % 5).unwrap()).collect());
    let mut y = x(variables, &[5, 3]);
    for index in 0..layers {
        let input = y.dim(1).unwrap();
        let layer = RecurrentLayer::new(variables, "rnn", index, cell, [input, hidden]).unwrap();
        let state = |seed| {
            let values = waves(rows * hidden, seed + index);
            let state = Tensor::from_vec(values, (rows, hidden), &Device::Cpu).unwrap();
            state.to_dtype(variables.dtype).unwrap()
        };
        let lstm = (cell == Cell::Lstm).then(|| state(50));
        let state = LayerState { hidden: state(40), cell: lstm };
        let projected = layer.project(&y).unwrap();
        let sequence = Sequence { steps, tokens: tokens.take() };
        let after;
        (y, after) = if layer.has_window() {
            layer.window(&projected, sequence, &state).unwrap()
        } else {
            step_by_step(&layer, &projected, &sequence, state)
        };
        last.extend([Some(after.hidden), after.cell].into_iter().flatten());
    }
    (y, last)
}

fn step_by_step(
    layer: &RecurrentLayer,
    projected: &Tensor,
    sequence: &Sequence,
    mut state: LayerState,
) -> (Tensor, LayerState) {
    let layer = layer.fold().unwrap();
    let rows = state.hidden.dim(0).unwrap();
    let in_order: Vec<u32> = (0..u32::try_from(sequence.steps * rows).unwrap()).collect();
    let outputs = sequence.tokens.as_ref().unwrap_or(&in_order).chunks(rows).map(|tokens| {
        let tokens = Tensor::new(tokens, &Device::Cpu).unwrap();
        state = layer.step(&projected.index_select(&tokens, 0).unwrap(), &state).unwrap();
        state.hidden.clone()
    });
    let outputs: Vec<Tensor> = outputs.collect();
    (Tensor::cat(&outputs, 0).unwrap(), state)
}

#[test]
fn long_windows_keep_their_digits() {
    for cell in [Cell::Gru, Cell::Lstm] {
        check(&|variables| recur(variables, cell, [1, 70, 5, 20]).0);
    }
}

#[test]
fn a_maximum_of_every_kind_after_a_relu() {
    for (kernel, stride, padding) in [
        ([2, 2], [2, 2], Padding::Explicit([0, 0])),
        ([3, 3], [2, 2], Padding::Explicit([1, 1])),
        ([3, 2], [1, 3], Padding::Same),
    ] {
        for [rows, columns] in [[7, 9], [6, 4]] {
            check(&|variables| {
                let x = x(variables, &[2, 3, rows, columns]);
                let x = Activation::Relu.forward(&(x + 0.1).unwrap()).unwrap();
                let pool = MaxPool(Window { kernel, stride, dilation: [1, 1], padding });
                pool.forward(&x, &Mode::Training(&mut training())).unwrap()
            });
        }
    }
}

#[test]
fn the_loss_of_logits_with_and_without_smoothing() {
    for smoothing in [0.0, 0.1] {
        for (rows, classes) in [(1, 2), (9, 63), (40, 10)] {
            check(&|variables| {
                let logits = (x(variables, &[rows, classes]) * 20.0).unwrap();
                let targets: Vec<u32> =
                    (0..rows).map(|row| u32::try_from(row * 3 % classes).unwrap()).collect();
                let targets = Tensor::new(targets, &Device::Cpu).unwrap();
                cross_entropy(&logits, &targets, smoothing).unwrap()
            });
        }
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let targets = Tensor::new(&[0_u32, 3], &Device::Cpu).unwrap();
    assert!(cross_entropy(&zeros(&[2, 3]), &targets, 0.0).is_err());
    assert!(cross_entropy(&zeros(&[1, 4]), &targets, 0.0).is_err());

    let mut variables = Variables { dtype: DType::F32, all: BTreeMap::new(), moved: None };
    let layer = RecurrentLayer::new(&mut variables, "rnn", 0, Cell::Gru, [3, 4]).unwrap();
    let state = layer.fold().unwrap().zeros(2).unwrap();
    let window = |inputs: &[usize], tokens: Option<Vec<u32>>| {
        layer.window(&zeros(inputs), Sequence { steps: 2, tokens }, &state)
    };
    assert!(window(&[4, 12], None).is_ok());
    assert!(window(&[3, 12], None).is_err());
    assert!(window(&[4, 16], None).is_err());
    assert!(window(&[4, 12], Some(vec![0, 1, 2, 4])).is_err());
    assert!(window(&[4, 12], Some(vec![0, 1])).is_err());
}
