//! The network: stacked mel frames, positions, an encoder, and one score per character and position.

use candle_core::{DType, Device, Result, Tensor};

use crate::arch::transformer::ctc::config::{Config, NormPlace, Positions};
use crate::compute::layers::{Attention, AttentionConfig, Dropout, LayerNorm, Linear, Mode};
use crate::compute::{Init, Parameters, WeightError};
use crate::engine::{Network, RunError};
use crate::media::mel::Spectrogram;

/// An encoder of attention and feed-forward blocks (Vaswani et al. 2017).
pub struct Transformer {
    pub config: Config,
    mels: usize,
    device: Device,
    pub input: Linear,
    /// [positions, width].
    pub positions: Tensor,
    pub blocks: Vec<Block>,
    /// After the last block, where blocks normalise first.
    pub norm: Option<LayerNorm>,
    pub output: Linear,
}

pub struct Block {
    pub norm1: LayerNorm,
    pub attention: Attention,
    pub norm2: LayerNorm,
    pub up: Linear,
    pub down: Linear,
}

/// Log-probabilities of one window, position after position.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    pub classes: usize,
    /// positions × classes.
    pub log_probabilities: Vec<f32>,
}

impl Frames {
    /// One slice of `classes` values per position.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.log_probabilities.chunks_exact(self.classes.max(1))
    }
}

/// A network that hears: as a graph in training and on other devices, by its plan on a CPU.
pub trait Recognises: Network<Sample = Spectrogram, Output = Frames> {}

impl<N: Network<Sample = Spectrogram, Output = Frames>> Recognises for N {}

impl Transformer {
    /// `classes` counts the blank.
    ///
    /// # Errors
    /// [`WeightError`] when a tensor is missing or has another shape.
    pub fn new(
        parameters: &mut dyn Parameters,
        config: &Config,
        mels: usize,
        classes: usize,
        device: &Device,
    ) -> std::result::Result<Self, WeightError> {
        let width = config.width;
        let blocks = (0..config.layers)
            .map(|i| Block::new(parameters, &format!("blocks.{i}"), config))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            mels,
            device: device.clone(),
            input: Linear::new(parameters, "input", [config.context * mels, width], true)?,
            positions: positions(parameters, config, device)?,
            blocks,
            norm: match config.norm {
                NormPlace::Pre => Some(LayerNorm::new(parameters, "norm", width)?),
                NormPlace::Post => None,
            },
            output: Linear::new(parameters, "output", [width, classes], true)?,
            config: config.clone(),
        })
    }

    /// How many positions a spectrogram makes.
    #[must_use]
    pub fn positions(&self, spectrogram: &Spectrogram) -> usize {
        self.config.positions(spectrogram.frames())
    }

    /// Scores [batch, time, classes] of normalised spectrograms, time being that of the longest. What
    /// comes after a shorter row's end is of no meaning, and no row's scores depend on it. `offset` is
    /// where the table of positions starts: 0 but in training, so that none is learnt by heart.
    ///
    /// # Errors
    /// When a row has more positions than the network, or the arithmetic fails.
    pub fn logits(
        &self,
        batch: &[&Spectrogram],
        offset: usize,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let lengths: Vec<usize> = batch.iter().map(|row| self.positions(row)).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let (rows, width) = (batch.len(), self.config.width);
        let stacked = stack(&self.config, self.mels, batch, time);
        let stacked = Tensor::from_vec(stacked, (rows * time, ()), &self.device)?;
        let x = self.input.forward(&stacked)?.reshape((rows, time, width))?;
        let x = x.broadcast_add(&self.positions.narrow(0, offset, time)?)?;
        let mut x = x.reshape((rows * time, width))?;
        for block in &self.blocks {
            x = block.forward(&x, &lengths, &self.config, mode)?;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x)?;
        }
        self.output.forward(&x)?.reshape((rows, time, ()))
    }

    /// Whether its tensors are in host memory.
    #[must_use]
    pub fn is_on_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    fn frames(&self, batch: &[&Spectrogram]) -> Result<Vec<Frames>> {
        let logits = self.logits(batch, 0, &mut Mode::Evaluation)?;
        let all = candle_nn::ops::log_softmax(&logits, candle_core::D::Minus1)?;
        let classes = all.dim(2)?;
        batch
            .iter()
            .enumerate()
            .map(|(i, row)| {
                let kept = all.get(i)?.narrow(0, 0, self.positions(row))?;
                Ok(Frames { classes, log_probabilities: kept.flatten_all()?.to_vec1()? })
            })
            .collect()
    }
}

/// [batch · time, context · mels]: each position sees `context` frames around its own `stride`; outside
/// the row there is zero, which is the mean.
pub fn stack(config: &Config, mels: usize, batch: &[&Spectrogram], time: usize) -> Vec<f32> {
    let &Config { stride, context, .. } = config;
    let mut data = vec![0.0; batch.len() * time * context * mels];
    let mut places = data.chunks_exact_mut(mels);
    for row in batch {
        for position in 0..time {
            // Twice the centre, so that an even context needs no half.
            let first = 2 * position * stride + stride + 1;
            for offset in 0..context {
                let Some(place) = places.next() else { continue };
                let frame = (first + 2 * offset).checked_sub(context).map(|frame| frame / 2);
                let from = frame.filter(|&frame| frame < row.frames()).map(|f| f * mels);
                if let Some(from) = from {
                    place.copy_from_slice(&row.data[from..from + mels]);
                }
            }
        }
    }
    data
}

impl Network for Transformer {
    type Sample = Spectrogram;
    type Output = Frames;

    fn cost(&self, sample: &Spectrogram) -> usize {
        self.positions(sample)
    }

    fn pads(&self) -> bool {
        true
    }

    /// On a CPU each row runs on its own: that is as fast, pads nothing, and makes an answer the same
    /// bits whatever else is in the batch. On other devices rows are padded and masked.
    fn run(&self, batch: &[&Spectrogram]) -> std::result::Result<Vec<Frames>, RunError> {
        let at_once = if self.device.is_cpu() { 1 } else { batch.len().max(1) };
        let mut outputs = Vec::with_capacity(batch.len());
        for rows in batch.chunks(at_once) {
            outputs.extend(self.frames(rows).map_err(|error| RunError(error.to_string()))?);
        }
        Ok(outputs)
    }
}

impl Block {
    fn new(
        parameters: &mut dyn Parameters,
        name: &str,
        config: &Config,
    ) -> std::result::Result<Self, WeightError> {
        let &Config { width, heads, hidden, .. } = config;
        let sizes = AttentionConfig { width, heads };
        Ok(Self {
            norm1: LayerNorm::new(parameters, &format!("{name}.norm1"), width)?,
            attention: Attention::new(parameters, &format!("{name}.attention"), sizes)?,
            norm2: LayerNorm::new(parameters, &format!("{name}.norm2"), width)?,
            up: Linear::new(parameters, &format!("{name}.up"), [width, hidden], false)?,
            down: Linear::new(parameters, &format!("{name}.down"), [hidden, width], false)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        lengths: &[usize],
        config: &Config,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        let dropout = Dropout(config.dropout);
        let mix = |x: &Tensor| self.attention.forward(x, lengths);
        let feed =
            |x: &Tensor| self.down.forward(&config.activation.forward(&self.up.forward(x)?)?);
        match config.norm {
            NormPlace::Pre => {
                let attended = dropout.forward(&mix(&self.norm1.forward(x)?)?, mode)?;
                let x = (x + attended)?;
                let y = dropout.forward(&feed(&self.norm2.forward(&x)?)?, mode)?;
                x + y
            }
            NormPlace::Post => {
                let attended = dropout.forward(&mix(x)?, mode)?;
                let x = self.norm1.forward(&(x + attended)?)?;
                let y = dropout.forward(&feed(&x)?, mode)?;
                self.norm2.forward(&(x + y)?)
            }
        }
    }
}

fn positions(
    parameters: &mut dyn Parameters,
    config: &Config,
    device: &Device,
) -> std::result::Result<Tensor, WeightError> {
    let (count, width) = (config.positions_max, config.width);
    match config.positions {
        Positions::Learned => parameters.get("positions", &[count, width], Init::Normal(0.02)),
        Positions::Sinusoidal => sinusoids(count, width, device).map_err(|error| {
            WeightError::Device { name: "positions".to_owned(), reason: error.to_string() }
        }),
    }
}

/// Sines and cosines of wavelengths from 2π to 10 000 · 2π (Vaswani et al. 2017).
#[expect(clippy::cast_precision_loss, reason = "positions and widths are at most 8192")]
fn sinusoids(positions: usize, width: usize, device: &Device) -> Result<Tensor> {
    let mut values = Vec::with_capacity(positions * width);
    for position in 0..positions {
        for i in 0..width {
            let rate = 10_000_f64.powf(-((i / 2 * 2) as f64) / width as f64);
            let angle = position as f64 * rate;
            values.push(if i % 2 == 0 { angle.sin() } else { angle.cos() });
        }
    }
    Tensor::from_vec(values, (positions, width), device)?.to_dtype(DType::F32)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::arch::transformer::ctc::loss::batch_loss;
    use crate::arch::transformer::ctc::transcript::tests::read;
    use crate::arch::transformer::ctc::transcript::{Characters, best};
    use crate::compute::fit::{Method, Optimiser, OptimiserConfig};
    use crate::compute::{Loader, Trainable};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn network(parameters: &mut Trainable) -> Transformer {
        Transformer::new(parameters, &Config::tiny(), 4, 4, &Device::Cpu).unwrap()
    }

    /// Noise that is the same for the same seed.
    fn sound(frames: usize, seed: u32) -> Spectrogram {
        let data = (0..frames * 4)
            .map(|i| ((i as u32 * 7919 + seed * 104_729) % 1000) as f32 / 250.0 - 2.0)
            .collect();
        Spectrogram { mels: 4, data }
    }

    #[test]
    fn a_row_answers_the_same_alone_and_among_others() {
        let network = network(&mut Trainable::new(3, &Device::Cpu));
        let rows: Vec<Spectrogram> =
            [20, 7, 1, 33].iter().zip(0..).map(|(&frames, seed)| sound(frames, seed)).collect();
        let batch: Vec<&Spectrogram> = rows.iter().collect();
        // What other devices do: one padded, masked batch.
        let padded = network.frames(&batch).unwrap();
        let run = network.run(&batch).unwrap();
        for (row, (padded, run)) in rows.iter().zip(padded.iter().zip(&run)) {
            let alone = &network.run(&[row]).unwrap()[0];
            assert_eq!(alone, run);
            assert_eq!(alone.rows().len(), network.positions(row));
            assert_eq!(network.cost(row), row.frames().div_ceil(2));
            for (a, b) in alone.log_probabilities.iter().zip(&padded.log_probabilities) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }

    #[test]
    fn learned_positions_and_norms_after_the_sum_have_tensors_of_their_own() {
        let config =
            Config { positions: Positions::Learned, norm: NormPlace::Post, ..Config::tiny() };
        let mut fresh = Trainable::new(5, &Device::Cpu);
        let network = Transformer::new(&mut fresh, &config, 4, 4, &Device::Cpu).unwrap();
        let bytes = fresh.to_safetensors().unwrap();
        let mut loader = Loader::new(&bytes, &Device::Cpu).unwrap();
        let again = Transformer::new(&mut loader, &config, 4, 4, &Device::Cpu).unwrap();
        loader.finish().unwrap();
        let sound = sound(20, 3);
        // What is learned runs by other kernels than what was read.
        let [got, read] = [&network, &again].map(|network| network.run(&[&sound]).unwrap());
        for (a, b) in got[0].log_probabilities.iter().zip(&read[0].log_probabilities) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        let other = Transformer::new(
            &mut Trainable::new(5, &Device::Cpu),
            &Config::tiny(),
            4,
            4,
            &Device::Cpu,
        );
        assert_ne!(network.run(&[&sound]).unwrap(), other.unwrap().run(&[&sound]).unwrap());
        let mut loader = Loader::new(&bytes, &Device::Cpu).unwrap();
        assert!(Transformer::new(&mut loader, &Config::tiny(), 4, 4, &Device::Cpu).is_err());
    }

    #[test]
    fn positions_see_the_frames_around_them_and_zero_outside() {
        let network = network(&mut Trainable::new(0, &Device::Cpu));
        let row = Spectrogram { mels: 4, data: (0..5 * 4).map(|i| (i / 4 + 1) as f32).collect() };
        let stacked = stack(&network.config, 4, &[&row], 3);
        let first_mels = |position: &[f32]| position.iter().step_by(4).copied().collect();
        let seen: Vec<Vec<f32>> = stacked.chunks(12).map(first_mels).collect();
        assert_eq!(seen, [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 0.0, 0.0]]);
    }

    #[test]
    fn a_sample_with_too_many_positions_is_an_error_and_no_panic() {
        let network = network(&mut Trainable::new(0, &Device::Cpu));
        assert!(network.run(&[&sound(2 * 64 + 1, 0)]).is_err());
        assert!(network.run(&[]).unwrap().is_empty());
    }

    #[test]
    fn it_learns_two_utterances_by_heart() {
        let mut parameters = Trainable::new(1, &Device::Cpu);
        let network = network(&mut parameters);
        let config = OptimiserConfig {
            method: Method::Adamw,
            learning_rate: 0.01,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            clip_norm: 1.0,
        };
        let mut optimiser = Optimiser::new(config, parameters.variables()).unwrap();
        let characters = Characters::of(["ab "].into_iter());
        let (first, second) = (sound(24, 1), sound(18, 2));
        let targets = ["ab ba", "b"].map(|text| characters.encode(text).unwrap());
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..120 {
            let mode = &mut Mode::Training(&mut rng);
            let logits = network.logits(&[&first, &second], 0, mode).unwrap();
            let loss = batch_loss(&logits, &[12, 9], &[&targets[0], &targets[1]]).unwrap();
            optimiser.step(&loss.surrogate.backward().unwrap(), 1.0).unwrap();
        }
        let heard = network.run(&[&first, &second]).unwrap();
        let said = heard.iter().map(|frames| read(frames, &best(frames), &characters));
        assert_eq!(said.collect::<Vec<_>>(), ["ab ba", "b"]);
    }
}
