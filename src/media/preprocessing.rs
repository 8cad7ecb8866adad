//! Pixels to the numbers that a network reads, as the manifest's `[preprocessing]` table says.
//!
//! ```toml
//! [preprocessing]           # EfficientNet-Lite0's
//! channels = 3              # 1 is luma by ITU-R BT.709, 3 is red, green, blue
//! width = 224
//! height = 224
//! fit = "centre-crop"       # or "stretch"
//! crop_ratio = 0.875        # centre square of floor(crop_ratio × shorter side)
//! filter = "catmull-rom"    # or "triangle", "lanczos3", "nearest"
//! mean = [127.0, 127.0, 127.0]
//! std = [128.0, 128.0, 128.0]
//! background = [0, 0, 0]    # under transparent pixels
//! ```

use fast_image_resize::{FilterType, ResizeAlg};
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use serde::Deserialize;

use crate::media::picture::Picture;
use crate::media::scaling::Cut;

/// The largest side a network may ask for.
const SIDE_MAX: u32 = 4096;

/// How a picture becomes [channels, height, width] values: cut, scaled, then (pixel − mean) / std.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Table")]
pub struct Preprocessing {
    table: Table,
}

/// The table as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    channels: usize,
    width: u32,
    height: u32,
    fit: Fit,
    crop_ratio: Option<f64>,
    filter: Filter,
    /// Per channel, on the scale of pixels, 0 to 255.
    mean: Vec<f32>,
    std: Vec<f32>,
    #[serde(default)]
    background: [u8; 3],
}

/// Which part of the picture is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fit {
    /// All of it, whatever its proportions.
    Stretch,
    /// A square from its centre.
    CentreCrop,
}

/// The resampling kernel; it widens when the picture shrinks, which keeps out aliasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Filter {
    Nearest,
    Triangle,
    CatmullRom,
    Lanczos3,
}

impl TryFrom<Table> for Preprocessing {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let side = 1..=SIDE_MAX;
        let per_channel = |values: &[f32]| values.len() == table.channels;
        if !matches!(table.channels, 1 | 3) {
            return Err(format!("channels: expected 1 or 3, got {}", table.channels));
        }
        if !side.contains(&table.width) || !side.contains(&table.height) {
            let got = format!("{} and {}", table.width, table.height);
            return Err(format!("width and height: expected 1 to {SIDE_MAX}, got {got}"));
        }
        if !per_channel(&table.mean) || !per_channel(&table.std) {
            return Err(format!("mean and std: expected {} numbers each", table.channels));
        }
        if !table.mean.iter().all(|v| v.is_finite()) {
            return Err("mean: expected finite numbers".to_owned());
        }
        if !table.std.iter().all(|v| v.is_normal() && *v > 0.0) {
            return Err("std: expected numbers above 0".to_owned());
        }
        match (table.fit, table.crop_ratio) {
            (Fit::Stretch, None) => Ok(Self { table }),
            (Fit::CentreCrop, Some(ratio)) if ratio > 0.0 && ratio <= 1.0 => Ok(Self { table }),
            (Fit::Stretch, Some(_)) => Err("crop_ratio: only fit = \"centre-crop\" has one".into()),
            (Fit::CentreCrop, got) => {
                Err(format!("crop_ratio: expected a number above 0, at most 1, got {got:?}"))
            }
        }
    }
}

impl Preprocessing {
    /// Channels, height and width of what the network reads.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.table.channels, self.table.height as usize, self.table.width as usize]
    }

    /// The picture as channels × height × width values, row-major.
    #[must_use]
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        self.normalise(&self.pixels(picture))
    }

    /// The picture cut and scaled: height × width × channels.
    #[must_use]
    pub fn pixels(&self, picture: &Picture) -> Vec<u8> {
        let image = picture.image();
        let (width, height) = (image.width(), image.height());
        if self.table.channels == 1 {
            self.scale(&luma(image, self.table.background), width, height)
        } else {
            self.scale(&rgb(image, self.table.background), width, height)
        }
    }

    /// The part that counts of a picture of such a width and height.
    fn scale(&self, pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
        let whole = Cut {
            pixels,
            channels: self.table.channels,
            line: width,
            left: 0,
            top: 0,
            width,
            height,
        };
        let cut = self.table.crop_ratio.map_or(whole, |ratio| centre(whole, ratio));
        cut.scaled(self.table.width, self.table.height, self.table.filter.algorithm())
    }

    /// Pixels of [`Self::pixels`] as channels × height × width values.
    #[must_use]
    pub fn normalise(&self, pixels: &[u8]) -> Vec<f32> {
        let Table { channels, mean, std, .. } = &self.table;
        let mut planes = Vec::with_capacity(pixels.len());
        for (channel, (mean, std)) in mean.iter().zip(std).enumerate() {
            // Of each of the 256 once: a quotient takes longer than looking it up.
            let mut values = [0.0; 256];
            for (value, pixel) in values.iter_mut().zip(0_u8..=255) {
                *value = (f32::from(pixel) - mean) / std;
            }
            let pixels = pixels.chunks_exact(*channels);
            planes.extend(pixels.map(|pixel| values[usize::from(pixel[channel])]));
        }
        planes
    }
}

impl Filter {
    fn algorithm(self) -> ResizeAlg {
        match self {
            Self::Nearest => ResizeAlg::Nearest,
            Self::Triangle => ResizeAlg::Convolution(FilterType::Bilinear),
            Self::CatmullRom => ResizeAlg::Convolution(FilterType::CatmullRom),
            Self::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
        }
    }
}

/// The square in the middle of a picture whose side is such a part of the shorter one.
fn centre(whole: Cut<'_>, ratio: f64) -> Cut<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a ratio above 0 and at most 1 of a u32"
    )]
    let side = ((f64::from(whole.width.min(whole.height)) * ratio).floor() as u32).max(1);
    // Rounded towards the far edge where the middle falls between two pixels.
    let offset = |size: u32| (size - side).div_ceil(2);
    let (left, top) = (offset(whole.width), offset(whole.height));
    Cut { left, top, width: side, height: side, ..whole }
}

fn luma(image: &DynamicImage, background: [u8; 3]) -> GrayImage {
    if image.color().has_alpha() {
        DynamicImage::from(composed(image, background)).to_luma8()
    } else {
        image.to_luma8()
    }
}

fn rgb(image: &DynamicImage, background: [u8; 3]) -> RgbImage {
    if image.color().has_alpha() { composed(image, background) } else { image.to_rgb8() }
}

/// The picture over a background of one colour.
fn composed(image: &DynamicImage, background: [u8; 3]) -> RgbImage {
    let over = |pixel: u8, under: u8, alpha: u8| {
        let (pixel, under, alpha) = (u32::from(pixel), u32::from(under), u32::from(alpha));
        // Rounded; at most 255.
        u8::try_from((pixel * alpha + under * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
    };
    let image: RgbaImage = image.to_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        let [under_r, under_g, under_b] = background;
        image::Rgb([over(r, under_r, alpha), over(g, under_g, alpha), over(b, under_b, alpha)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::MediaLimits;
    use image::{ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
    use std::io::Cursor;

    fn parse(text: &str) -> Result<Preprocessing, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    fn table(channels: usize, width: u32, height: u32, more: &str) -> Preprocessing {
        let numbers = |v: f32| vec![v; channels];
        let text = format!(
            "channels = {channels}\nwidth = {width}\nheight = {height}\nmean = {:?}\nstd = {:?}\n{more}",
            numbers(0.0),
            numbers(1.0),
        );
        parse(&text).unwrap()
    }

    const STRETCH: &str = "fit = \"stretch\"\nfilter = \"triangle\"";

    /// Through a PNG, so that what is tested is what a request brings.
    fn picture(image: impl Into<DynamicImage>) -> Picture {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        Picture::decode(bytes.get_ref(), &MediaLimits::default(), "/body").unwrap()
    }

    #[test]
    fn efficientnet_lite0_can_be_written_down() {
        let preprocessing = parse(
            "channels = 3\nwidth = 224\nheight = 224\nfit = \"centre-crop\"\ncrop_ratio = 0.875\n\
             filter = \"catmull-rom\"\nmean = [127, 127, 127]\nstd = [128, 128, 128]",
        )
        .unwrap();
        assert_eq!(preprocessing.shape(), [3, 224, 224]);
        let grey = picture(RgbImage::from_pixel(300, 451, Rgb([255, 127, 0])));
        let values = preprocessing.apply(&grey);
        assert_eq!(values.len(), 3 * 224 * 224);
        assert_eq!(
            (values[0], values[224 * 224], values[2 * 224 * 224]),
            (1.0, 0.0, -127.0 / 128.0)
        );
    }

    #[test]
    fn mistakes_are_named() {
        let base = "channels = 1\nwidth = 2\nheight = 2\nmean = [0]\nfilter = \"nearest\"\n";
        for (more, word) in [
            ("std = [0]\nfit = \"stretch\"", "std"),
            ("std = [1, 1]\nfit = \"stretch\"", "mean and std"),
            ("std = [1]\nfit = \"stretch\"\ncrop_ratio = 0.5", "crop_ratio"),
            ("std = [1]\nfit = \"centre-crop\"", "crop_ratio"),
            ("std = [1]\nfit = \"stretch\"\ncolour = 1", "colour"),
        ] {
            let error = parse(&format!("{base}{more}")).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(
            parse(
                &format!("{base}std = [1]\nfit = \"stretch\"")
                    .replace("channels = 1", "channels = 2")
            )
            .is_err()
        );
    }

    #[test]
    fn planes_come_one_after_the_other() {
        let image =
            RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([1, 2, 3]) } else { Rgb([4, 5, 6]) });
        let values = table(3, 2, 1, STRETCH).apply(&picture(image));
        assert_eq!(values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn grey_fills_three_channels_and_colour_becomes_luma() {
        let grey = picture(GrayImage::from_pixel(1, 1, Luma([7])));
        assert_eq!(table(3, 1, 1, STRETCH).apply(&grey), [7.0, 7.0, 7.0]);
        let green = picture(RgbImage::from_pixel(1, 1, Rgb([0, 255, 0])));
        let luma = table(1, 1, 1, STRETCH).apply(&green);
        assert!((luma[0] - 0.7152 * 255.0).abs() <= 1.0, "{luma:?}");
    }

    #[test]
    fn sixteen_bits_keep_their_brightness() {
        let deep = ImageBuffer::<Luma<u16>, Vec<u16>>::from_pixel(1, 1, Luma([0x8080]));
        assert_eq!(table(1, 1, 1, STRETCH).apply(&picture(deep)), [128.0]);
    }

    #[test]
    fn transparent_pixels_show_the_background() {
        let clear = picture(RgbaImage::from_pixel(1, 1, Rgba([255, 255, 255, 0])));
        let half = picture(RgbaImage::from_pixel(1, 1, Rgba([255, 0, 0, 128])));
        let over = format!("{STRETCH}\nbackground = [10, 20, 30]");
        assert_eq!(table(3, 1, 1, &over).apply(&clear), [10.0, 20.0, 30.0]);
        assert_eq!(table(3, 1, 1, STRETCH).apply(&half), [128.0, 0.0, 0.0]);
        let grey = picture(image::GrayAlphaImage::from_pixel(1, 1, LumaA([200, 0])));
        assert_eq!(table(1, 1, 1, STRETCH).apply(&grey), [0.0]);
    }

    #[test]
    fn a_centre_crop_takes_the_middle() {
        let image = GrayImage::from_fn(6, 4, |x, y| Luma([u8::try_from(10 * y + x).unwrap()]));
        let crop = "fit = \"centre-crop\"\ncrop_ratio = 0.5\nfilter = \"nearest\"";
        assert_eq!(table(1, 2, 2, crop).apply(&picture(image)), [12.0, 13.0, 22.0, 23.0]);
    }

    #[test]
    fn shrinking_averages_and_nearest_does_not() {
        let stripes =
            picture(GrayImage::from_fn(64, 8, |x, _| Luma([if x % 2 == 0 { 0 } else { 200 }])));
        let smooth = table(1, 8, 8, STRETCH).apply(&stripes);
        assert!(smooth.iter().all(|v| (v - 100.0).abs() < 15.0), "{smooth:?}");
        let sharp = table(1, 8, 8, "fit = \"stretch\"\nfilter = \"nearest\"").apply(&stripes);
        assert!(sharp.iter().all(|v| [0.0, 200.0].contains(v)), "{sharp:?}");
    }
}
