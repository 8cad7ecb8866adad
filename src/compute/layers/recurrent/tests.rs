use super::*;
use crate::compute::Trainable;
use candle_core::Device;

/// Tensors by name, as a file would give them.
struct Given(Vec<(&'static str, Vec<f32>)>);

impl Parameters for Given {
    fn get(
        &mut self,
        name: &str,
        shape: &[usize],
        _: Init,
    ) -> std::result::Result<Tensor, WeightError> {
        let (_, values) = self.0.iter().find(|(key, _)| *key == name).unwrap();
        Ok(Tensor::from_slice(values, shape, &Device::Cpu).unwrap())
    }

    fn buffer(&mut self, _: &str, _: &[usize], _: f32) -> std::result::Result<Tensor, WeightError> {
        unreachable!("a recurrent layer has no buffers")
    }
}

/// Every output of the last axis, row by row, for an input of [rows, steps, size].
fn outputs(layer: &RecurrentLayer, input: &Tensor) -> Vec<Vec<Vec<f32>>> {
    let layer = layer.fold().unwrap();
    let (rows, steps, _) = input.dims3().unwrap();
    let mut state = layer.zeros(rows).unwrap();
    let hidden: Vec<Tensor> = (0..steps)
        .map(|step| {
            let input = input.narrow(1, step, 1).unwrap().squeeze(1).unwrap();
            state = layer.step(&layer.project(&input).unwrap(), &state).unwrap();
            state.hidden.clone()
        })
        .collect();
    Tensor::stack(&hidden, 1).unwrap().to_vec3::<f32>().unwrap()
}

fn assert_near(got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-5, "got {got}, expected {expected}");
    }
}

#[test]
fn a_gru_gives_what_pytorch_gives() {
    let given = golden::WEIGHTS.map(|(name, values)| (name, values.to_vec()));
    let layer =
        RecurrentLayer::new(&mut Given(given.to_vec()), "rnn", 0, Cell::Gru, [3, 4]).unwrap();
    let input = Tensor::from_slice(&golden::INPUT, (2, 5, 3), &Device::Cpu).unwrap();
    let expected: Vec<f64> = golden::OUTPUT.iter().map(|v| f64::from(*v)).collect();
    assert_near(&outputs(&layer, &input).concat().concat(), &expected);
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// PyTorch's formulas for one row of an LSTM, in f64.
fn lstm_row(weights: &[Vec<Vec<f32>>; 2], biases: &[Vec<f32>; 2], inputs: &[Vec<f32>]) -> Vec<f64> {
    let size = weights[1][0].len();
    let (mut hidden, mut cell) = (vec![0.0; size], vec![0.0; size]);
    let mut all = Vec::new();
    for input in inputs {
        let before = hidden.clone();
        let gate = |row: usize| -> f64 {
            let dot = |w: &[f32], x: &[f64]| -> f64 {
                w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
            };
            let input: Vec<f64> = input.iter().map(|v| f64::from(*v)).collect();
            dot(&weights[0][row], &input)
                + dot(&weights[1][row], &before)
                + f64::from(biases[0][row])
                + f64::from(biases[1][row])
        };
        for unit in 0..size {
            let (i, f) = (sigmoid(gate(unit)), sigmoid(gate(size + unit)));
            let (g, o) = (gate(2 * size + unit).tanh(), sigmoid(gate(3 * size + unit)));
            cell[unit] = f * cell[unit] + i * g;
            hidden[unit] = o * f64::tanh(cell[unit]);
        }
        all.extend_from_slice(&hidden);
    }
    all
}

#[test]
fn an_lstm_follows_its_formulas() {
    let mut fresh = Trainable::new(5, &Device::Cpu);
    let layer = RecurrentLayer::new(&mut fresh, "rnn", 0, Cell::Lstm, [3, 4]).unwrap();
    let input = fresh.get("input", &[2, 6, 3], Init::Normal(1.0)).unwrap();
    let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
    let weights = [rows(&layer.weight_ih), rows(&layer.weight_hh)];
    let biases = [&layer.bias_ih, &layer.bias_hh].map(|t| t.to_vec1::<f32>().unwrap());
    let got = outputs(&layer, &input);
    for (row, inputs) in input.to_vec3::<f32>().unwrap().iter().enumerate() {
        let expected = lstm_row(&weights, &biases, inputs);
        assert_near(&got[row].concat(), &expected);
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    for (k, m) in [(40, 20), (128, 384), (256, 768), (256, 63)] {
        let weight = Tensor::randn(0_f32, 1.0, (k, m), &Device::Cpu).unwrap();
        let rows = Tensor::randn(0_f32, 1.0, (33, k), &Device::Cpu).unwrap();
        let first = |count: usize| {
            let product = rows_matmul(&rows.narrow(0, 0, count).unwrap(), &weight).unwrap();
            product.to_vec2::<f32>().unwrap().swap_remove(0)
        };
        let alone = first(1);
        for count in [2, 3, 7, 8, 9, 32, 33] {
            assert_eq!(alone, first(count), "{k} to {m} with {count} rows");
        }
    }
}

#[test]
fn gradients_reach_every_parameter() {
    for cell in [Cell::Gru, Cell::Lstm] {
        let mut fresh = Trainable::new(5, &Device::Cpu);
        let layer =
            RecurrentLayer::new(&mut fresh, "rnn", 0, cell, [3, 4]).unwrap().fold().unwrap();
        let input = Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let projected = layer.project(&input).unwrap();
        let first = layer.step(&projected, &layer.zeros(2).unwrap()).unwrap();
        let loss = layer.step(&projected, &first).unwrap().hidden.sqr().unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        for var in fresh.variables() {
            let gradient = gradients.get(&var).unwrap().abs().unwrap().sum_all().unwrap();
            assert!(gradient.to_scalar::<f32>().unwrap() > 0.0, "{cell:?} {:?}", var.dims());
        }
    }
}

/// Made once with PyTorch's `nn.GRU(3, 4, batch_first=True)` and random parameters.
#[expect(clippy::unreadable_literal, reason = "as PyTorch printed them")]
mod golden {
    pub const WEIGHTS: [(&str, &[f32]); 4] = [
        ("rnn.weight_ih_l0", &WEIGHT_IH),
        ("rnn.weight_hh_l0", &WEIGHT_HH),
        ("rnn.bias_ih_l0", &BIAS_IH),
        ("rnn.bias_hh_l0", &BIAS_HH),
    ];
    /// [12, 3].
    const WEIGHT_IH: [f32; 36] = [
        -0.0037434, 0.2682218, -0.4115226, -0.3679695, -0.1925772, 0.1340787, -0.0099066,
        0.3964447, -0.044372, 0.1323063, -0.1511065, -0.0982827, -0.4776742, -0.3311411,
        -0.2061116, 0.0185218, 0.1976676, 0.3000114, -0.3389705, -0.2177314, 0.1816086, 0.415194,
        -0.1029001, 0.3741559, -0.0805917, 0.052907, 0.4527381, -0.4638352, -0.314769, -0.1265826,
        -0.1949, 0.4320004, -0.3240898, -0.2301664, -0.3493202, -0.4682805,
    ];
    /// [12, 4].
    const WEIGHT_HH: [f32; 48] = [
        -0.2918702, 0.429799, 0.2231092, 0.2423363, 0.0262958, -0.2563418, 0.0845923, -0.4668474,
        -0.3612831, -0.257765, 0.315469, 0.2931606, -0.2217475, -0.0180412, 0.3197803, 0.4970666,
        0.1984411, 0.0675464, 0.3352432, -0.2944012, 0.093172, -0.3876528, -0.3465431, -0.2582918,
        0.2262365, 0.2010802, -0.2961763, 0.1510535, 0.274486, -0.0631087, 0.0190908, 0.1158524,
        0.3101883, 0.4800971, -0.3853118, -0.1832349, 0.196505, 0.4142747, 0.4351037, 0.4411784,
        0.0995073, -0.4347913, 0.0459962, -0.3128027, -0.4659771, 0.4442462, 0.3801799, -0.498764,
    ];
    /// [12].
    const BIAS_IH: [f32; 12] = [
        0.093586, -0.08423, -0.0822806, -0.2288784, 0.1922781, -0.2961518, 0.1832957, 0.252854,
        0.3579358, 0.1869556, -0.4948676, -0.3243484,
    ];
    /// [12].
    const BIAS_HH: [f32; 12] = [
        0.2496575, 0.1046507, -0.390042, -0.2879097, 0.4703746, 0.3369089, -0.2180126, -0.1258424,
        -0.476299, -0.0089871, -0.3765295, -0.3856784,
    ];
    /// [2 rows, 5 steps, 3].
    pub const INPUT: [f32; 30] = [
        -0.8024929, -1.2951862, -0.7501815, -1.3119657, -0.2188337, -2.4350653, -0.0729148,
        -0.0339864, 0.7968872, -0.1848416, -0.3701473, -1.2102815, -0.6226985, -0.4637222,
        0.7297962, -1.845319, -0.0250199, 1.369381, 2.6570232, 0.9851194, -0.2596416, 0.1183371,
        -1.1427778, 0.0375854, 2.6962764, 1.2357637, 0.5428298, 0.5255303, 0.1921991, -0.7721569,
    ];
    /// [2 rows, 5 steps, 4].
    pub const OUTPUT: [f32; 40] = [
        -0.0416847, 0.4798576, -0.2599507, 0.2737861, -0.1380082, 0.7467967, -0.0547633, 0.6701962,
        0.1282575, 0.5254365, -0.3589308, 0.1274469, 0.031359, 0.5335101, -0.3783322, 0.1988996,
        0.1987619, 0.5374267, -0.5097154, -0.1023394, 0.1584359, 0.2795846, -0.1871927, -0.3015095,
        0.0276893, -0.2229342, -0.4826565, -0.4467336, 0.0684645, -0.0412954, -0.6180217,
        -0.3053378, 0.2787334, -0.3131178, -0.6437852, -0.4429811, 0.1158371, -0.299871,
        -0.4427502, -0.3912666,
    ];
}
