//! What training does to log-mels so that other voices, rooms and telephones are not strangers.

use rand::{Rng, RngExt};
use serde::Deserialize;

use crate::arch::OpenError;
use crate::arch::transformer::ctc::config::refuse_first;
use crate::media::mel::Spectrogram;

/// How long a noise with nothing to say is.
const SILENCE_FRAMES: std::ops::Range<usize> = 8..200;

/// `[fit.options]`. Each is applied anew to every clip of every epoch, and what is not said does nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Time is stretched by a factor in 1 ± this.
    pub stretch: f32,
    /// The mel axis is stretched by a factor in 1 ± this: longer and shorter vocal tracts (Jaitly and
    /// Hinton 2013).
    pub warp: f32,
    /// Probability that mels above `band_mel` hold nothing, as behind a telephone.
    pub band: f64,
    /// The lowest mel that a telephone loses; the actual one is up to an eighth higher.
    pub band_mel: usize,
    /// Probability of noise, 20 to 60 dB below the loudest.
    pub noise: f64,
    /// Frames of quiet before and after, at most, each.
    pub pad_frames: usize,
    /// Masks in time and in mels, each (Park et al. 2019).
    pub masks: usize,
    pub mask_frames: usize,
    pub mask_mels: usize,
    /// Share of clips that are replaced by noise with nothing to say.
    pub silence: f64,
}

impl Augment {
    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be.
    pub fn check(&self) -> Result<(), OpenError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let spread = |value: f32| (0.0..1.0).contains(&value);
        refuse_first(
            "fit.options",
            &[
                (spread(self.stretch), "stretch: expected 0 or more, below 1"),
                (spread(self.warp), "warp: expected 0 or more, below 1"),
                (share(self.band), "band: expected a probability from 0 to 1"),
                (self.band == 0.0 || self.band_mel > 0, "band_mel: expected a mel above 0"),
                (share(self.noise), "noise: expected a probability from 0 to 1"),
                (share(self.silence), "silence: expected a probability from 0 to 1"),
                (self.pad_frames <= 10_000, "pad_frames: expected at most 10000"),
            ],
        )
    }

    /// Changes log-mels before they are normalised.
    #[must_use]
    pub fn raw(&self, clip: &Spectrogram, rng: &mut impl Rng) -> Spectrogram {
        let mut made = resample(clip, around_one(self.stretch, rng), around_one(self.warp, rng));
        pad(&mut made, self.pad_frames, rng);
        if rng.random_bool(self.noise) {
            add_noise(&mut made, rng);
        }
        if rng.random_bool(self.band) {
            let first = self.band_mel + rng.random_range(0..=self.band_mel / 8);
            cut_band(&mut made, first);
        }
        made
    }

    /// The most frames that a clip of `frames` can become.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "frames are few and positive"
    )]
    pub fn frames_max(&self, frames: usize) -> usize {
        let stretched = (frames as f32 * (1.0 + self.stretch)).ceil() as usize;
        let silent = if self.silence > 0.0 { SILENCE_FRAMES.end } else { 0 };
        (stretched + 2 * self.pad_frames).max(silent)
    }

    /// Masks parts of normalised log-mels with their mean, 0.
    pub fn mask(&self, clip: &mut Spectrogram, rng: &mut impl Rng) {
        let (frames, mels) = (clip.frames(), clip.mels);
        for _ in 0..self.masks {
            let (from, to) = span(frames, self.mask_frames.min(frames / 8), rng);
            clip.data[from * mels..to * mels].fill(0.0);
            let (from, to) = span(mels, self.mask_mels, rng);
            for frame in clip.data.chunks_exact_mut(mels) {
                frame[from..to].fill(0.0);
            }
        }
    }

    /// Log-mels of a room in which nobody speaks.
    #[must_use]
    pub fn room(mels: usize, rng: &mut impl Rng) -> Spectrogram {
        let mut made =
            Spectrogram { mels, data: vec![0.0; mels * rng.random_range(SILENCE_FRAMES)] };
        let level: Vec<f32> = (0..mels).map(|_| rng.random_range(-2.0..0.0)).collect();
        let depth = rng.random_range(0.0..0.6);
        for (value, level) in made.data.iter_mut().zip(level.iter().cycle()) {
            *value = level + depth * bell(rng);
        }
        made
    }
}

fn around_one(spread: f32, rng: &mut impl Rng) -> f32 {
    1.0 + spread * rng.random_range(-1.0..=1.0)
}

/// Nearly normal with a variance of 1: the sum of a few uniform numbers.
fn bell(rng: &mut impl Rng) -> f32 {
    (0..3).map(|_| rng.random_range(-1.0_f32..1.0)).sum()
}

/// A span of up to `longest` in `0..whole`.
fn span(whole: usize, longest: usize, rng: &mut impl Rng) -> (usize, usize) {
    let length = rng.random_range(0..=longest.min(whole));
    let from = rng.random_range(0..=whole - length);
    (from, from + length)
}

/// `stretch` times as many frames, and mel m taken from m · `warp`; linear in between.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "frames and mels are few and positive"
)]
fn resample(clip: &Spectrogram, stretch: f32, warp: f32) -> Spectrogram {
    let (frames, mels) = (clip.frames(), clip.mels);
    if frames == 0 {
        return clip.clone();
    }
    let made = ((frames as f32 * stretch) as usize).max(1);
    let between = |at: f32, count: usize| {
        let low = (at as usize).min(count - 1);
        (low, (low + 1).min(count - 1), at - low as f32)
    };
    let mut data = Vec::with_capacity(made * mels);
    for frame in 0..made {
        let (before, after, t) = between(frame as f32 / stretch, frames);
        for mel in 0..mels {
            let (low, high, m) = between((mel as f32 * warp).min((mels - 1) as f32), mels);
            let at = |frame: usize, mel: usize| clip.data[frame * mels + mel];
            let first = at(before, low) * (1.0 - m) + at(before, high) * m;
            let second = at(after, low) * (1.0 - m) + at(after, high) * m;
            data.push(first * (1.0 - t.min(1.0)) + second * t.min(1.0));
        }
    }
    Spectrogram { mels, data }
}

fn lowest(clip: &Spectrogram) -> f32 {
    clip.data.iter().copied().fold(f32::MAX, f32::min)
}

fn pad(clip: &mut Spectrogram, most: usize, rng: &mut impl Rng) {
    let quiet = lowest(clip);
    let before = clip.mels * rng.random_range(0..=most);
    let after = clip.mels * rng.random_range(0..=most);
    clip.data.splice(0..0, std::iter::repeat_n(quiet, before));
    clip.data.extend(std::iter::repeat_n(quiet, after));
}

/// Adds the powers of a noise with its own colour.
#[expect(clippy::cast_precision_loss, reason = "mels are few")]
fn add_noise(clip: &mut Spectrogram, rng: &mut impl Rng) {
    let loudest = clip.data.iter().copied().fold(f32::MIN, f32::max);
    let level = loudest - rng.random_range(2.0..6.0);
    let tilt = rng.random_range(-1.0_f32..1.0) / clip.mels.max(1) as f32;
    for frame in clip.data.chunks_exact_mut(clip.mels) {
        for (mel, value) in frame.iter_mut().enumerate() {
            let noise = level + tilt * mel as f32 + 0.2 * bell(rng);
            *value = (10.0_f32.powf(*value) + 10.0_f32.powf(noise)).log10();
        }
    }
}

fn cut_band(clip: &mut Spectrogram, first: usize) {
    let quiet = lowest(clip);
    for frame in clip.data.chunks_exact_mut(clip.mels) {
        frame.iter_mut().skip(first).for_each(|value| *value = quiet);
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn ramp(frames: usize, mels: usize) -> Spectrogram {
        Spectrogram { mels, data: (0..frames * mels).map(|i| (i / mels) as f32).collect() }
    }

    #[test]
    fn stretching_keeps_the_ends_and_changes_the_length() {
        let slow = resample(&ramp(100, 4), 1.5, 1.0);
        assert_eq!(slow.frames(), 150);
        assert!((slow.data[75 * 4] - 50.0).abs() < 1e-3);
        assert_eq!(resample(&ramp(100, 4), 1.0, 1.0), ramp(100, 4));
    }

    #[test]
    fn what_is_not_said_changes_nothing() {
        let plain: Augment = toml::from_str("").unwrap();
        plain.check().unwrap();
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut made = plain.raw(&ramp(20, 4), rng);
        plain.mask(&mut made, rng);
        assert_eq!((made, plain.frames_max(20)), (ramp(20, 4), 20));
        let band: Augment = toml::from_str("band = 0.5").unwrap();
        assert!(band.check().unwrap_err().to_string().contains("band_mel"));
    }

    #[test]
    fn a_cut_band_is_as_quiet_as_the_quietest() {
        let mut clip = ramp(10, 4);
        cut_band(&mut clip, 2);
        assert_eq!(clip.data[9 * 4..], [9.0, 9.0, 0.0, 0.0]);
    }

    #[test]
    fn one_seed_changes_a_clip_in_one_way() {
        let augment = Augment {
            stretch: 0.2,
            warp: 0.1,
            band: 0.5,
            band_mel: 2,
            noise: 0.5,
            pad_frames: 5,
            masks: 1,
            mask_frames: 4,
            mask_mels: 1,
            silence: 0.1,
        };
        let made = |seed| {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            // Powers of ten from 1 to 100, as speech has.
            let mut clip = ramp(50, 4);
            clip.data.iter_mut().for_each(|value| *value /= 25.0);
            let mut clip = augment.raw(&clip, rng);
            augment.mask(&mut clip, rng);
            clip
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(3).data.iter().all(|v| v.is_finite()));
    }
}
