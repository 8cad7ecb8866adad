//! Pictures of another size: each new pixel is a weighted mean of those that it covers, in 32-bit floats, rounded once.

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{F32, F32x3};
use fast_image_resize::{PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// Lines that are taken as floats at a time.
const BAND: u32 = 32;

/// A rectangle of a picture whose pixels are `channels` bytes, row-major.
#[derive(Debug, Clone, Copy)]
pub struct Cut<'a> {
    pub pixels: &'a [u8],
    pub channels: usize,
    /// Pixels in a whole line of the picture.
    pub line: u32,
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Cut<'_> {
    /// As `width` × `height` pixels of the same channels, row-major.
    ///
    /// # Panics
    /// Unless there are one or three channels, or where the picture does not hold the rectangle.
    pub fn scaled(&self, width: u32, height: u32, algorithm: ResizeAlg) -> Vec<u8> {
        if (width, height) == (self.width, self.height) {
            return (0..height).map(|line| self.bytes(line)).collect::<Vec<_>>().concat();
        }
        if algorithm == ResizeAlg::Nearest {
            return self.nearest(width, height);
        }
        let options = ResizeOptions::new().resize_alg(algorithm);
        let scaled = match self.channels {
            1 => self.passes::<F32>(width, height, &options),
            3 => self.passes::<F32x3>(width, height, &options),
            _ => None,
        };
        scaled.unwrap_or_else(|| unreachable!("sizes agree, of one or three channels"))
    }

    /// Each new pixel is the one under its middle.
    fn nearest(&self, width: u32, height: u32) -> Vec<u8> {
        let columns = under(self.width, width).collect::<Vec<_>>();
        let lines = under(self.height, height).map(|line| self.bytes(line));
        lines
            .flat_map(|line| columns.iter().map(move |&column| (line, column as usize)))
            .flat_map(|(line, column)| &line[column * self.channels..][..self.channels])
            .copied()
            .collect()
    }

    /// First narrower or wider, some lines at a time, since a photograph as floats is large; then lower or higher.
    fn passes<P: PixelTrait + Pod>(
        &self,
        width: u32,
        height: u32,
        options: &ResizeOptions,
    ) -> Option<Vec<u8>> {
        let mut resizer = Resizer::new();
        let mut narrowed = Vec::with_capacity(width as usize * self.height as usize);
        let mut floats = vec![P::zeroed(); self.width as usize * BAND as usize];
        for first in (0..self.height).step_by(BAND as usize) {
            let lines = BAND.min(self.height - first);
            for (line, to) in
                (first..first + lines).zip(floats.chunks_exact_mut(self.width as usize))
            {
                let values = cast_slice_mut::<P, f32>(to).iter_mut();
                values.zip(self.bytes(line)).for_each(|(value, &byte)| *value = byte.into());
            }
            let band = &floats[..(self.width * lines) as usize];
            let band = TypedImageRef::new(self.width, lines, band).ok()?;
            let mut narrow = TypedImage::<P>::new(width, lines);
            resizer.resize_typed(&band, &mut narrow, options).ok()?;
            narrowed.extend_from_slice(narrow.pixels());
        }
        let narrowed = TypedImageRef::new(width, self.height, &narrowed).ok()?;
        let mut scaled = TypedImage::<P>::new(width, height);
        resizer.resize_typed(&narrowed, &mut scaled, options).ok()?;
        let values = cast_slice::<P, f32>(scaled.pixels());
        Some(values.iter().map(|&value| rounded(value)).collect())
    }

    /// One line of the rectangle.
    fn bytes(&self, line: u32) -> &[u8] {
        let first = (self.top + line) as usize * self.line as usize + self.left as usize;
        &self.pixels[first * self.channels..][..self.width as usize * self.channels]
    }
}

/// Which of `from` pixels lies under the middle of each of `to`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sides are less than 2^24, and what is cut off is meant to be"
)]
fn under(from: u32, to: u32) -> impl Iterator<Item = u32> {
    // Not by whole numbers: where a middle falls between two pixels, packages hold the answers of these floats.
    let step = from as f32 / to as f32;
    (0..to).map(move |at| (((at as f32 + 0.5) * step) as u32).min(from - 1))
}

/// The nearest byte. Filters that go below zero leave values beyond black and white.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 255, and half a unit more is cut off"
)]
fn rounded(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use fast_image_resize::FilterType;
    use image::imageops::{self, FilterType as Other};
    use image::{GenericImageView, GrayImage, RgbImage};

    const FILTERS: [(ResizeAlg, Other); 4] = [
        (ResizeAlg::Nearest, Other::Nearest),
        (ResizeAlg::Convolution(FilterType::Bilinear), Other::Triangle),
        (ResizeAlg::Convolution(FilterType::CatmullRom), Other::CatmullRom),
        (ResizeAlg::Convolution(FilterType::Lanczos3), Other::Lanczos3),
    ];

    /// Packages hold answers to pictures that the `image` crate scaled: ours may differ from its pixels where a mean is next to
    /// the middle of two bytes, and nowhere by more than one.
    fn agree(ours: &[u8], theirs: &[u8], what: &str) {
        assert_eq!(ours.len(), theirs.len());
        let apart = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
        assert!(apart.clone().all(|apart| apart <= 1), "{what}");
        let others = apart.filter(|apart| *apart > 0).count();
        assert!(others <= 1 + ours.len() / 200, "{what}: {others} of {}", ours.len());
    }

    /// Waves, edges and noise.
    fn shade(x: u32, y: u32, channel: u32) -> u8 {
        let wave = (x * x / 7 + y * (3 + channel)) % 256;
        let noise = x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503 + channel);
        let edge = if (x / 9).is_multiple_of(2) { 200 } else { 20 };
        u8::try_from((wave + (noise >> 24) % 64 + edge) / 2 % 256).unwrap()
    }

    #[test]
    fn colours_are_scaled_as_the_image_crate_scales_them() {
        let image = RgbImage::from_fn(97, 71, |x, y| image::Rgb([0, 1, 2].map(|c| shade(x, y, c))));
        for (algorithm, other) in FILTERS {
            for (left, top, width, height) in [(0, 0, 97, 71), (11, 5, 66, 66), (3, 2, 1, 60)] {
                for (to_width, to_height) in [(24, 24), (66, 66), (120, 31), (1, 1), (97, 90)] {
                    let cut =
                        Cut { pixels: &image, channels: 3, line: 97, left, top, width, height };
                    let view = image.view(left, top, width, height);
                    let theirs = imageops::resize(&*view, to_width, to_height, other);
                    let what = format!(
                        "{other:?}, {cut_size:?} to {to_width} x {to_height}",
                        cut_size = (width, height)
                    );
                    agree(&cut.scaled(to_width, to_height, algorithm), &theirs, &what);
                }
            }
        }
    }

    #[test]
    fn grey_is_scaled_as_the_image_crate_scales_it() {
        let image = GrayImage::from_fn(50, 80, |x, y| image::Luma([shade(x, y, 0)]));
        for (algorithm, other) in FILTERS {
            let cut = Cut {
                pixels: &image,
                channels: 1,
                line: 50,
                left: 0,
                top: 0,
                width: 50,
                height: 80,
            };
            for (width, height) in [(28, 28), (50, 80), (64, 100)] {
                let theirs = imageops::resize(&image, width, height, other);
                agree(
                    &cut.scaled(width, height, algorithm),
                    &theirs,
                    &format!("{other:?}, {width} x {height}"),
                );
            }
        }
    }
}
