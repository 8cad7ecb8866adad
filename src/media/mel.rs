//! Log-mel spectrograms, described as data: what the front end of Whisper and of most recognisers is.

use std::f32::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

/// How hertz become mels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MelScale {
    /// Linear below 1 kHz, logarithmic above (Slaney's Auditory Toolbox, librosa's default).
    Slaney,
    /// 2595 · log10(1 + f / 700).
    Htk,
}

/// How log-mels are brought to a common range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalisation {
    /// (x − mean) / std, with constants.
    Fixed { mean: f32, std: f32 },
    /// Each mel's own mean over the utterance is subtracted (it carries the channel), then all are
    /// divided by one standard deviation.
    Utterance,
}

/// A log-mel spectrogram: centred frames (the signal is reflected by half an FFT at both ends), a
/// periodic Hann window, power, area-normalised triangular filters, log10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MelConfig {
    /// Hz.
    pub sample_rate: u32,
    /// Samples in an FFT.
    pub fft: usize,
    /// Samples that the window covers, in the middle of the FFT.
    pub window: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    pub mels: usize,
    /// Hz.
    pub f_min: f32,
    /// Hz.
    pub f_max: f32,
    pub scale: MelScale,
    /// Values further than this below the loudest are raised to there, in units of log10 of power (8
    /// is 80 dB).
    pub range: f32,
    pub normalisation: Normalisation,
}

/// Power below this counts as this.
const POWER_MIN: f32 = 1e-10;

impl MelConfig {
    /// # Errors
    /// What is wrong with the description, in words.
    pub fn check(&self) -> Result<(), String> {
        #[expect(clippy::cast_precision_loss, reason = "a sample rate is far below 2^24")]
        let nyquist = self.sample_rate as f32 / 2.0;
        let std_good = match self.normalisation {
            Normalisation::Fixed { mean, std } => mean.is_finite() && std.is_finite() && std > 0.0,
            Normalisation::Utterance => true,
        };
        let faults = [
            ((1000..=192_000).contains(&self.sample_rate), "sample_rate: expected 1000 to 192000"),
            ((16..=8192).contains(&self.fft), "fft: expected 16 to 8192"),
            ((2..=self.fft).contains(&self.window), "window: expected 2 to fft"),
            ((1..=self.fft).contains(&self.hop), "hop: expected 1 to fft"),
            ((1..=256).contains(&self.mels), "mels: expected 1 to 256"),
            (
                self.f_min >= 0.0 && self.f_min < self.f_max && self.f_max <= nyquist,
                "f_min, f_max: expected 0 <= f_min < f_max <= sample_rate / 2",
            ),
            (self.range > 0.0 && self.range <= 20.0, "range: expected more than 0, at most 20"),
            (std_good, "normalisation: expected a finite mean and a positive std"),
        ];
        match faults.iter().find(|(good, _)| !good) {
            None => Ok(()),
            Some((_, fault)) => Err((*fault).to_owned()),
        }
    }

    /// How many frames `samples` samples make: one for every whole hop.
    #[must_use]
    pub fn frames(&self, samples: usize) -> usize {
        samples / self.hop
    }
}

/// One spectrogram, frame after frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    pub mels: usize,
    /// `frames() × mels` values.
    pub data: Vec<f32>,
}

impl Spectrogram {
    #[must_use]
    pub fn frames(&self) -> usize {
        self.data.len() / self.mels.max(1)
    }

    /// How far values are from their mel's mean, in the root mean square. A steady noise of any colour
    /// and level has little.
    #[must_use]
    pub fn spread(&self) -> f32 {
        let mut centred = self.clone();
        centred.centre();
        centred.root_mean_square()
    }

    /// Takes each mel's mean over the frames from it.
    #[expect(clippy::cast_precision_loss, reason = "an utterance has far fewer than 2^24 frames")]
    fn centre(&mut self) {
        let (mels, frames) = (self.mels, self.frames().max(1));
        for mel in 0..mels {
            let mean = self.data.iter().skip(mel).step_by(mels).sum::<f32>() / frames as f32;
            self.data.iter_mut().skip(mel).step_by(mels).for_each(|value| *value -= mean);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an utterance has far fewer than 2^24 values")]
    fn root_mean_square(&self) -> f32 {
        let count = self.data.len().max(1) as f32;
        (self.data.iter().map(|value| value * value).sum::<f32>() / count).sqrt()
    }
}

/// Computes what a [`MelConfig`] describes.
#[derive(Clone)]
pub struct Mel {
    config: MelConfig,
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    filters: Vec<Filter>,
}

/// A triangle over the bins from `first`.
#[derive(Clone)]
struct Filter {
    first: usize,
    weights: Vec<f32>,
}

impl Mel {
    /// # Errors
    /// As [`MelConfig::check`].
    pub fn new(config: MelConfig) -> Result<Self, String> {
        config.check()?;
        let fft = RealFftPlanner::new().plan_fft_forward(config.fft);
        let window = hann(&config);
        let filters = filters(&config);
        Ok(Self { config, fft, window, filters })
    }

    #[must_use]
    pub fn config(&self) -> &MelConfig {
        &self.config
    }

    /// The log-mels of a waveform in ±1 at the configured rate, normalised.
    #[must_use]
    pub fn spectrogram(&self, samples: &[f32]) -> Spectrogram {
        let mut spectrogram = self.log_mels(samples);
        self.normalise(&mut spectrogram);
        spectrogram
    }

    /// The log-mels before normalisation: what augmentation works on.
    #[must_use]
    pub fn log_mels(&self, samples: &[f32]) -> Spectrogram {
        let frames = self.config.frames(samples.len());
        let mut data = Vec::with_capacity(frames * self.config.mels);
        let mut input = vec![0.0; self.config.fft];
        let mut bins = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        for frame in 0..frames {
            self.fill(&mut input, samples, frame * self.config.hop);
            // The buffers have the lengths that the plan itself made, so this cannot fail.
            if self.fft.process_with_scratch(&mut input, &mut bins, &mut scratch).is_err() {
                break;
            }
            let power: Vec<f32> =
                bins.iter().map(realfft::num_complex::Complex::norm_sqr).collect();
            data.extend(self.filters.iter().map(|f| f.energy(&power).max(POWER_MIN).log10()));
        }
        let loudest = data.iter().copied().fold(f32::MIN, f32::max);
        for value in &mut data {
            *value = value.max(loudest - self.config.range);
        }
        Spectrogram { mels: self.config.mels, data }
    }

    /// Brings log-mels to the range that the network was trained on.
    pub fn normalise(&self, spectrogram: &mut Spectrogram) {
        match self.config.normalisation {
            Normalisation::Fixed { mean, std } => {
                for value in &mut spectrogram.data {
                    *value = (*value - mean) / std;
                }
            }
            Normalisation::Utterance => normalise_utterance(spectrogram),
        }
    }

    /// The windowed samples around `centre`, reflected at both ends of the signal.
    fn fill(&self, input: &mut [f32], samples: &[f32], centre: usize) {
        let half = self.config.fft / 2;
        let inside = centre >= half && centre - half + input.len() <= samples.len();
        if inside {
            let part = &samples[centre - half..centre - half + input.len()];
            for ((value, sample), window) in input.iter_mut().zip(part).zip(&self.window) {
                *value = sample * window;
            }
        } else {
            for (i, (value, window)) in input.iter_mut().zip(&self.window).enumerate() {
                *value = samples[reflect(centre + i, half, samples.len())] * window;
            }
        }
    }
}

/// The index of sample `position − half` in a signal of `length` that is mirrored at its first and
/// last sample, as often as needed.
fn reflect(position: usize, half: usize, length: usize) -> usize {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length - 1);
    // A multiple of the period keeps the difference positive.
    let at = (position + period * half.div_ceil(period) - half) % period;
    at.min(period - at)
}

#[expect(clippy::cast_precision_loss, reason = "an FFT is at most 8192 long")]
fn hann(config: &MelConfig) -> Vec<f32> {
    let mut window = vec![0.0; config.fft];
    let start = (config.fft - config.window) / 2;
    for (i, value) in window[start..start + config.window].iter_mut().enumerate() {
        *value = 0.5 - 0.5 * (2.0 * PI * i as f32 / config.window as f32).cos();
    }
    window
}

fn to_mel(scale: MelScale, hertz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
        MelScale::Slaney if hertz < 1000.0 => hertz * 3.0 / 200.0,
        MelScale::Slaney => 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4_f64.ln(),
    }
}

fn to_hertz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10.0_f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
        MelScale::Slaney => 1000.0 * ((mel - 15.0) * 6.4_f64.ln() / 27.0).exp(),
    }
}

/// Triangles whose corners are equally far apart in mels, each of area 1 over hertz.
#[expect(clippy::cast_precision_loss, reason = "mels and bins are at most 8192")]
#[expect(clippy::cast_possible_truncation, reason = "weights are kept in f32 on purpose")]
fn filters(config: &MelConfig) -> Vec<Filter> {
    let low = to_mel(config.scale, f64::from(config.f_min));
    let high = to_mel(config.scale, f64::from(config.f_max));
    let step = (high - low) / (config.mels + 1) as f64;
    let corner = |i: usize| to_hertz(config.scale, low + step * i as f64);
    let bin = f64::from(config.sample_rate) / config.fft as f64;
    (0..config.mels)
        .map(|mel| {
            let (left, top, right) = (corner(mel), corner(mel + 1), corner(mel + 2));
            let weight = |k: usize| {
                let hertz = k as f64 * bin;
                let rising = (hertz - left) / (top - left);
                let falling = (right - hertz) / (right - top);
                (rising.min(falling).max(0.0) * 2.0 / (right - left)) as f32
            };
            let mut used = (0..=config.fft / 2).filter(|&k| weight(k) > 0.0);
            let first = used.next().unwrap_or(0);
            let last = used.next_back().unwrap_or(first);
            Filter { first, weights: (first..=last).map(weight).collect() }
        })
        .collect()
}

impl Filter {
    fn energy(&self, power: &[f32]) -> f32 {
        self.weights.iter().zip(&power[self.first..]).map(|(w, p)| w * p).sum()
    }
}

fn normalise_utterance(spectrogram: &mut Spectrogram) {
    spectrogram.centre();
    // Silence has no spread to speak of; it must not be blown up into something.
    let spread = spectrogram.root_mean_square().max(1e-2);
    for value in &mut spectrogram.data {
        *value /= spread;
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;

    pub fn whisper() -> MelConfig {
        MelConfig {
            sample_rate: 16_000,
            fft: 400,
            window: 400,
            hop: 160,
            mels: 80,
            f_min: 0.0,
            f_max: 8000.0,
            scale: MelScale::Slaney,
            range: 8.0,
            normalisation: Normalisation::Fixed { mean: -4.0, std: 4.0 },
        }
    }

    fn sine(hertz: f32, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (2.0 * PI * hertz * i as f32 / 16_000.0).sin()).collect()
    }

    #[test]
    fn a_tone_peaks_in_the_mel_that_covers_it() {
        let mel = Mel::new(whisper()).unwrap();
        for hertz in [440.0, 1000.0, 3000.0] {
            let spectrogram = mel.spectrogram(&sine(hertz, 16_000));
            assert_eq!(spectrogram.frames(), 100);
            let frame = &spectrogram.data[50 * 80..51 * 80];
            let peak = (0..80).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
            let top = to_hertz(
                MelScale::Slaney,
                to_mel(MelScale::Slaney, 8000.0) * (peak + 1) as f64 / 81.0,
            );
            assert!((top - f64::from(hertz)).abs() < 60.0, "{hertz} Hz peaks at {top} Hz");
        }
    }

    #[test]
    fn reflection_mirrors_at_both_ends() {
        let at = |position: usize| reflect(position, 3, 4);
        // Positions −3 … 6 of a signal of four samples.
        assert_eq!((0..10).map(at).collect::<Vec<_>>(), [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!(reflect(7, 3, 1), 0);
    }

    #[test]
    fn short_and_silent_signals_stay_finite() {
        let mut config = whisper();
        config.normalisation = Normalisation::Utterance;
        let mel = Mel::new(config).unwrap();
        for samples in [0, 1, 159, 160, 161, 400] {
            for level in [0.0, 0.5] {
                let spectrogram = mel.spectrogram(&vec![level; samples]);
                assert_eq!(spectrogram.frames(), samples / 160);
                assert!(spectrogram.data.iter().all(|v| v.is_finite()));
            }
        }
    }

    #[test]
    fn an_utterance_is_centred_and_does_not_depend_on_its_gain() {
        let mut config = whisper();
        config.normalisation = Normalisation::Utterance;
        let mel = Mel::new(config).unwrap();
        let loud: Vec<f32> =
            sine(500.0, 8000).iter().enumerate().map(|(i, s)| s * i as f32 / 8000.0).collect();
        let quiet: Vec<f32> = loud.iter().map(|s| s * 0.1).collect();
        let (loud, quiet) = (mel.spectrogram(&loud), mel.spectrogram(&quiet));
        let apart = loud.data.iter().zip(&quiet.data).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < 0.05);
        let first: f32 = loud.data.iter().step_by(80).sum();
        assert!(first.abs() < 1e-2, "{first}");
    }

    #[test]
    fn a_bad_description_says_which_key() {
        let bad = MelConfig { f_max: 9000.0, ..whisper() };
        assert!(bad.check().unwrap_err().starts_with("f_min, f_max"));
        let bad = MelConfig { window: 401, ..whisper() };
        assert!(bad.check().unwrap_err().starts_with("window"));
    }
}
