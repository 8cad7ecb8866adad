//! Any sample rate to the model's, in pieces, so that memory follows the model's rate and not the file's.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _};

/// Frames in a piece, roughly: the resampler picks the nearest size that fits the ratio.
const CHUNK: usize = 1024;

/// Brings one channel from one rate to another.
pub struct Resampler {
    /// `None` when the rates are equal.
    fft: Option<Fft<f32>>,
    pending: Vec<f32>,
    out: Vec<f32>,
    /// Samples that were pushed.
    taken: u64,
}

/// The resampler refused what it was given: the rates are out of its range.
#[derive(Debug)]
pub struct ResampleError;

impl Resampler {
    /// From `from` Hz to `to` Hz.
    ///
    /// # Errors
    /// [`ResampleError`] when a rate is 0.
    pub fn new(from: u32, to: u32) -> Result<Self, ResampleError> {
        let fft = if from == to {
            None
        } else {
            let rates = (from as usize, to as usize);
            let made = Fft::new(rates.0, rates.1, CHUNK, 1, FixedSync::Both);
            Some(made.map_err(|_| ResampleError)?)
        };
        Ok(Self { fft, pending: Vec::new(), out: Vec::new(), taken: 0 })
    }

    /// Adds samples.
    ///
    /// # Errors
    /// [`ResampleError`] never in practice: the pieces have the size that the resampler asks for.
    pub fn push(&mut self, samples: impl Iterator<Item = f32>) -> Result<(), ResampleError> {
        let before = self.pending.len();
        let Some(fft) = &mut self.fft else {
            self.out.extend(samples);
            return Ok(());
        };
        self.pending.extend(samples);
        self.taken += (self.pending.len() - before) as u64;
        let piece = fft.input_frames_next();
        let mut done = 0;
        while self.pending.len() - done >= piece {
            run(fft, &self.pending[done..done + piece], None, &mut self.out)?;
            done += piece;
        }
        self.pending.drain(..done);
        Ok(())
    }

    /// All samples at the new rate, the filter's delay taken off.
    ///
    /// # Errors
    /// As [`Resampler::push`].
    pub fn finish(mut self) -> Result<Vec<f32>, ResampleError> {
        let Some(fft) = &mut self.fft else { return Ok(self.out) };
        let delay = fft.output_delay();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the caller bounds the samples to hours, far below 2^52"
        )]
        let wanted = (fft.resample_ratio() * self.taken as f64).ceil() as usize;
        let mut left = Some(self.pending.len());
        self.pending.resize(fft.input_frames_next(), 0.0);
        while self.out.len() < wanted + delay {
            run(fft, &self.pending, Some(left.take().unwrap_or(0)), &mut self.out)?;
        }
        self.out.truncate(wanted + delay);
        self.out.drain(..delay);
        Ok(self.out)
    }
}

/// One piece; `valid` of its samples count when it is the last or comes after the last.
fn run(
    fft: &mut Fft<f32>,
    piece: &[f32],
    valid: Option<usize>,
    out: &mut Vec<f32>,
) -> Result<(), ResampleError> {
    let input = InterleavedSlice::new(piece, 1, piece.len()).map_err(|_| ResampleError)?;
    let indexing = valid.map(|valid| Indexing::new().partial_len(valid));
    let made = fft.process(&input, indexing.as_ref()).map_err(|_| ResampleError)?;
    out.extend(made.take_data());
    Ok(())
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    fn sine(hertz: f32, rate: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (TAU * hertz * i as f32 / rate).sin()).collect()
    }

    #[test]
    fn a_tone_keeps_its_time_and_height_at_any_rate() {
        for (from, samples) in [
            (8000_u32, 8000),
            (44_100, 44_100),
            (22_050, 22_050),
            (48_000, 48_000),
            (16_000, 16_000),
        ] {
            let mut resampler = Resampler::new(from, 16_000).unwrap();
            for part in sine(440.0, from as f32, samples).chunks(777) {
                resampler.push(part.iter().copied()).unwrap();
            }
            let got = resampler.finish().unwrap();
            assert_eq!(got.len(), 16_000);
            let apart = sine(440.0, 16_000.0, 16_000);
            let apart = got.iter().zip(&apart).skip(500).take(15_000).map(|(a, b)| (a - b).abs());
            let most = apart.fold(0.0, f32::max);
            // Where the filter has an odd length, half of one of its samples is left over.
            let half = TAU * 440.0 * 0.5 / from as f32;
            assert!(most < half + 1e-3, "{from} Hz: {most}");
        }
    }

    #[test]
    fn a_clip_shorter_than_a_piece_keeps_its_length() {
        for samples in [0, 1, 10] {
            let mut resampler = Resampler::new(8000, 16_000).unwrap();
            resampler.push(std::iter::repeat_n(0.5, samples)).unwrap();
            assert_eq!(resampler.finish().unwrap().len(), samples * 2);
        }
    }
}
