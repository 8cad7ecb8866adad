//! Small changes to training pictures that do not change what they show.

use rand::{Rng, RngExt};
use serde::Deserialize;

use crate::arch::OpenError;

/// A recipe's `[fit.options.augmentation]`. Applied to pixels that have the network's size already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// A crop of the picture's own size out of the picture with this many black pixels around it.
    crop_padding: u8,
    /// Mirrors left to right every other time.
    flip: bool,
    /// Mirrors top to bottom every other time.
    flip_vertical: bool,
    /// Pixels are multiplied by a factor in 1 ± this.
    brightness: f32,
    /// The distance of pixels from the picture's mean is multiplied by a factor in 1 ± this.
    contrast: f32,
    /// The distance of pixels from their own grey is multiplied by a factor in 1 ± this.
    saturation: f32,
}

impl Augmentation {
    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be, for pictures of that many channels.
    pub fn check(&self, channels: usize) -> Result<(), OpenError> {
        let refuse = |reason: String| OpenError::Config { section: "fit", reason };
        for (key, spread) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            if !(0.0..=1.0).contains(&spread) {
                let reason = format!("options.augmentation.{key}: expected 0 to 1, got {spread}");
                return Err(refuse(reason));
            }
        }
        if self.saturation > 0.0 && channels != 3 {
            let reason = "options.augmentation.saturation: grey pictures have none";
            return Err(refuse(reason.to_owned()));
        }
        Ok(())
    }

    /// Changes interleaved pixels of `[channels, height, width]`.
    pub fn apply(&self, pixels: Vec<u8>, shape: [usize; 3], rng: &mut impl Rng) -> Vec<u8> {
        let mut changed = self.place(pixels, shape, rng);
        // Drawn in any case, so that one key does not change the chance of another.
        let mut factor = |spread: f32| 1.0 + spread * rng.random_range(-1.0_f32..=1.0);
        let [brightness, contrast, saturation] =
            [self.brightness, self.contrast, self.saturation].map(&mut factor);
        if self.brightness > 0.0 {
            spread(&mut changed, 0.0, brightness);
        }
        if self.contrast > 0.0 {
            let mean = mean(&changed);
            spread(&mut changed, mean, contrast);
        }
        if self.saturation > 0.0 {
            for pixel in changed.chunks_exact_mut(shape[0]) {
                let grey = grey(pixel);
                spread(pixel, grey, saturation);
            }
        }
        changed
    }

    /// Crops and mirrors.
    fn place(&self, pixels: Vec<u8>, shape: [usize; 3], rng: &mut impl Rng) -> Vec<u8> {
        let [channels, height, width] = shape;
        let padding = i32::from(self.crop_padding);
        let mut step = || rng.random_range(-padding..=padding) as isize;
        let (down, right) = (step(), step());
        let mut mirrored = |wanted| rng.random_bool(0.5) && wanted;
        let (across, over) = (mirrored(self.flip), mirrored(self.flip_vertical));
        if (down, right, across, over) == (0, 0, false, false) {
            return pixels;
        }
        let mut changed = vec![0; pixels.len()];
        for (index, pixel) in changed.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (index / width, index % width);
            let row = if over { height - 1 - row } else { row };
            let column = if across { width - 1 - column } else { column };
            let row = row.checked_add_signed(-down).filter(|&row| row < height);
            let column = column.checked_add_signed(-right).filter(|&column| column < width);
            if let (Some(row), Some(column)) = (row, column) {
                let from = (row * width + column) * channels;
                pixel.copy_from_slice(&pixels[from..from + channels]);
            }
        }
        changed
    }
}

/// Moves values away from `centre`, or towards it for a factor below 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and held between 0 and 255"
)]
fn spread(values: &mut [u8], centre: f32, factor: f32) {
    for value in values {
        let moved = centre + (f32::from(*value) - centre) * factor;
        *value = moved.round().clamp(0.0, 255.0) as u8;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean of at most 2^26 pixels, to a few places")]
fn mean(pixels: &[u8]) -> f32 {
    let sum: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
    sum as f32 / pixels.len().max(1) as f32
}

/// Luma by ITU-R BT.709.
fn grey(pixel: &[u8]) -> f32 {
    let weights = [0.2126_f32, 0.7152, 0.0722];
    pixel.iter().zip(weights).map(|(&value, weight)| f32::from(value) * weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    fn seen(augmentation: Augmentation, pixels: &[u8], shape: [usize; 3]) -> BTreeSet<Vec<u8>> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..200).map(|_| augmentation.apply(pixels.to_vec(), shape, &mut rng)).collect()
    }

    #[test]
    fn pictures_are_mirrored_and_moved_and_nothing_else() {
        let none = Augmentation::default();
        assert_eq!(seen(none, &[1, 2, 3, 4], [1, 2, 2]), [vec![1, 2, 3, 4]].into());
        let flip = Augmentation { flip: true, ..none };
        let both = [vec![1, 2, 3, 4], vec![2, 1, 4, 3]].into();
        assert_eq!(seen(flip, &[1, 2, 3, 4], [1, 2, 2]), both);
        let over = Augmentation { flip_vertical: true, ..none };
        let both = [vec![1, 2, 3, 4], vec![3, 4, 1, 2]].into();
        assert_eq!(seen(over, &[1, 2, 3, 4], [1, 2, 2]), both);
        let colours = [vec![1, 2, 3, 4, 5, 6], vec![4, 5, 6, 1, 2, 3]].into();
        assert_eq!(seen(flip, &[1, 2, 3, 4, 5, 6], [3, 1, 2]), colours);
        let crop = Augmentation { crop_padding: 1, ..none };
        let moved = seen(crop, &[1, 2, 3], [1, 1, 3]);
        assert!(moved.contains(&vec![2, 3, 0]) && moved.contains(&vec![0, 1, 2]));
        assert_eq!(moved.len(), 4, "three places, and nothing when it moves out: {moved:?}");
    }

    #[test]
    fn colours_change_by_no_more_than_is_said() {
        let none = Augmentation::default();
        let pixels = [100, 50, 200, 100, 50, 200];
        let brighter = seen(Augmentation { brightness: 0.1, ..none }, &pixels, [3, 1, 2]);
        assert!(brighter.len() > 10);
        assert!(brighter.iter().all(|p| (90..=110).contains(&p[0]) && (180..=220).contains(&p[2])));
        let flat = seen(Augmentation { contrast: 0.5, ..none }, &[80; 6], [3, 1, 2]);
        assert_eq!(flat, [vec![80; 6]].into(), "a picture of one grey has no contrast");
        let apart = seen(Augmentation { contrast: 0.5, ..none }, &[60, 100], [1, 1, 2]);
        assert!(apart.iter().all(|p| p[0] + p[1] == 160 && (10..=30).contains(&(p[1] - 80))));
        let grey = seen(Augmentation { saturation: 1.0, ..none }, &[80; 3], [3, 1, 1]);
        assert_eq!(grey, [vec![80; 3]].into(), "a grey has no saturation");
        assert!(seen(Augmentation { saturation: 1.0, ..none }, &pixels, [3, 1, 2]).len() > 10);
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_their_key() {
        let check = |text: &str, channels| {
            let augmentation: Augmentation = toml::from_str(text).unwrap();
            augmentation.check(channels).map_err(|error| error.to_string())
        };
        check("crop_padding = 4\nflip = true\nsaturation = 1.0", 3).unwrap();
        assert!(check("saturation = 0.1", 1).unwrap_err().contains("saturation"));
        assert!(check("contrast = 1.1", 1).unwrap_err().contains("contrast"));
        assert!(check("brightness = nan", 1).unwrap_err().contains("brightness"));
        assert!(toml::from_str::<Augmentation>("hue = 1").is_err());
    }
}
