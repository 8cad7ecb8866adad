//! Encoded pictures to pixels. The header is read and held against the limits before anything is
//! decoded, so that a picture that claims to be huge costs nothing.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};

use crate::domain::{Kind, MediaLimits, Problem};

const READABLE: &str = "a PNG, JPEG or WebP picture";

const THUMBNAIL_BYTES_MAX: usize = 8 << 10;
const THUMBNAIL_SIDE_MAX: u32 = 64;

/// A decoded picture, the right way up.
#[derive(Debug, Clone)]
pub struct Picture(DynamicImage);

impl Picture {
    /// Decodes PNG, JPEG or WebP, whatever the sender called it, and turns it as its EXIF orientation
    /// says. `pointer` is where the bytes came from, for errors.
    ///
    /// # Errors
    /// [`Kind::UnsupportedMedia`] for bytes of another format, [`Kind::TooLarge`] over the limits on
    /// sides and decoded bytes, [`Kind::Undecodable`] for a truncated or corrupt picture.
    pub fn decode(bytes: &[u8], limits: &MediaLimits, pointer: &str) -> Result<Self, Problem> {
        let format = sniff(bytes).ok_or_else(|| other_format(bytes, pointer))?;
        let refuse = |error| refuse(&error, bytes, format, limits, pointer);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(allocation(limits));
        let mut decoder = reader.into_decoder().map_err(refuse)?;
        check_size(&decoder, limits, pointer)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(refuse)?;
        image.apply_orientation(orientation);
        Ok(Self(image))
    }

    /// Whether bytes begin as PNG, JPEG or WebP do.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        sniff(bytes).is_some()
    }

    /// Whether the file and its pixels are so few that it is decoded in some tens of microseconds. Reads its
    /// header only.
    #[must_use]
    pub fn is_thumbnail(bytes: &[u8]) -> bool {
        let small = |(width, height)| width <= THUMBNAIL_SIDE_MAX && height <= THUMBNAIL_SIDE_MAX;
        bytes.len() <= THUMBNAIL_BYTES_MAX
            && sniff(bytes).is_some_and(|format| {
                let reader = ImageReader::with_format(Cursor::new(bytes), format);
                reader.into_dimensions().is_ok_and(small)
            })
    }

    /// A grey picture from its pixels, row by row. `None` when there are not width × height of them.
    #[must_use]
    pub fn grey(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        GrayImage::from_raw(width, height, pixels).map(|image| Self(image.into()))
    }

    /// A picture from red, green and blue of each pixel, row by row. `None` when there are not
    /// 3 × width × height of them.
    #[must_use]
    pub fn rgb(width: u32, height: u32, pixels: Vec<u8>) -> Option<Self> {
        RgbImage::from_raw(width, height, pixels).map(|image| Self(image.into()))
    }

    /// The picture in its proportions, with no side over `side` pixels.
    #[must_use]
    pub fn within(self, side: u32) -> Self {
        if self.0.width() <= side && self.0.height() <= side {
            return self;
        }
        Self(self.0.thumbnail(side, side))
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// A text that says why the encoder refused it.
    pub fn to_png(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Cursor::new(Vec::new());
        self.0.write_to(&mut bytes, ImageFormat::Png).map_err(|error| error.to_string())?;
        Ok(bytes.into_inner())
    }

    pub(super) fn image(&self) -> &DynamicImage {
        &self.0
    }
}

fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(bytes).ok()?;
    matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP).then_some(format)
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "WebP",
    }
}

fn other_format(bytes: &[u8], pointer: &str) -> Problem {
    let got = match bytes {
        [] => "no bytes".to_owned(),
        [b'G', b'I', b'F', ..] => "a GIF".to_owned(),
        [b'B', b'M', ..] => "a BMP".to_owned(),
        [b'%', b'P', b'D', b'F', ..] => "a PDF".to_owned(),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF".to_owned(),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a HEIF, AVIF or MP4".to_owned(),
        _ => format!("{} bytes that are no picture of a known format", bytes.len()),
    };
    let hint = "convert it to PNG, or send the file's bytes as they are, without any wrapping";
    Problem::fault(Kind::UnsupportedMedia, pointer, READABLE, got, hint)
}

/// The decoders' own bound, over what the header says: metadata and working memory. Twice the pixels,
/// since a decoder may hold a picture both as it is stored and as it is shown.
fn allocation(limits: &MediaLimits) -> Limits {
    let mut bound = Limits::no_limits();
    bound.max_alloc = Some(limits.image_decoded_bytes_max.saturating_mul(2));
    bound
}

fn check_size(
    decoder: &impl ImageDecoder,
    limits: &MediaLimits,
    pointer: &str,
) -> Result<(), Problem> {
    let (width, height) = decoder.dimensions();
    let (side, bytes) = (limits.image_side_px_max, limits.image_decoded_bytes_max);
    if width <= side && height <= side && decoder.total_bytes() <= bytes {
        return Ok(());
    }
    let got = format!("{width}x{height} pixels, {} bytes decoded", decoder.total_bytes());
    Err(too_large(got, limits, pointer))
}

fn too_large(got: String, limits: &MediaLimits, pointer: &str) -> Problem {
    let (side, bytes) = (limits.image_side_px_max, limits.image_decoded_bytes_max);
    Problem::fault(
        Kind::TooLarge,
        pointer,
        format!("a picture of at most {side}x{side} pixels and {bytes} bytes decoded"),
        got,
        "scale it down before sending it: the model sees a small picture anyway",
    )
}

/// What a decoder's error means to the sender; its own text is not shown.
fn refuse(
    error: &ImageError,
    bytes: &[u8],
    format: ImageFormat,
    limits: &MediaLimits,
    pointer: &str,
) -> Problem {
    if matches!(error, ImageError::Limits(_)) {
        let got = format!("a {} that asks for more memory than that", name(format));
        return too_large(got, limits, pointer);
    }
    Problem::fault(
        Kind::Undecodable,
        pointer,
        READABLE,
        format!("{} bytes of a truncated or corrupt {}", bytes.len(), name(format)),
        "send the whole file as it is; check that it opens in a picture viewer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

    const LIMITS: MediaLimits = MediaLimits {
        image_side_px_max: 64,
        image_decoded_bytes_max: 64 * 64 * 3,
        audio_seconds_max: 1,
        text_bytes_max: 1,
        tensor_values_max: 1,
        items_max: 1,
        generated_tokens_max: 1,
    };

    /// Two columns, red and blue, and a row of each.
    fn sample() -> RgbImage {
        RgbImage::from_fn(2, 3, |x, _| if x == 0 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) })
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        sample().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn refused(bytes: &[u8]) -> (Kind, String) {
        let problem = Picture::decode(bytes, &LIMITS, "/body").unwrap_err();
        assert_eq!(problem.faults[0].pointer, "/body");
        (problem.kind, problem.faults[0].got.clone())
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                (c >> 1) ^ (0xEDB8_8320 & (c & 1).wrapping_neg())
            })
        })
    }

    /// A PNG whose header claims to be this large.
    fn claims(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = encoded(ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn each_format_decodes_by_its_bytes() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let picture = Picture::decode(&encoded(format), &LIMITS, "/body").unwrap();
            assert_eq!((picture.0.width(), picture.0.height()), (2, 3), "{format:?}");
        }
    }

    #[test]
    fn a_header_that_claims_a_huge_picture_is_refused_before_decoding() {
        for (width, height) in [(65, 1), (1, 65)] {
            let (kind, got) = refused(&claims(width, height));
            assert_eq!(kind, Kind::TooLarge, "{got}");
            assert!(got.starts_with(&format!("{width}x{height}")), "{got}");
        }
        // A row that is over the decoder's own bound is refused while it reads the header.
        assert_eq!(refused(&claims(u32::MAX >> 1, 1)).0, Kind::TooLarge);

        let limits = MediaLimits::default();
        let problem = Picture::decode(&claims(60_000, 60_000), &limits, "/body").unwrap_err();
        assert_eq!(problem.kind, Kind::TooLarge);
        assert!(problem.faults[0].got.starts_with("60000x60000"), "{problem}");
    }

    #[test]
    fn a_thumbnail_is_small_as_a_file_and_as_a_picture() {
        assert!(Picture::is_thumbnail(&claims(64, 64)));
        assert!(!Picture::is_thumbnail(&claims(65, 1)));
        assert!(!Picture::is_thumbnail(&claims(1, 65)));
        assert!(!Picture::is_thumbnail(&[claims(2, 3), vec![0; 8 << 10]].concat()));
        assert!(!Picture::is_thumbnail(b"\x89PNG\r\n\x1a\n"));
        assert!(!Picture::is_thumbnail(b""));
    }

    #[test]
    fn deep_pixels_count_by_their_bytes() {
        let mut bytes = Vec::new();
        let pixels = vec![0; 64 * 64 * 6];
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(&pixels, 64, 64, ExtendedColorType::Rgb16)
            .unwrap();
        assert_eq!(refused(&bytes).0, Kind::TooLarge);
    }

    #[test]
    fn other_formats_are_named() {
        assert_eq!(refused(b""), (Kind::UnsupportedMedia, "no bytes".into()));
        assert_eq!(refused(b"GIF89a........").1, "a GIF");
        assert_eq!(refused(b"RIFF\x24\0\0\0WAVEfmt ").0, Kind::UnsupportedMedia);
        assert_eq!(refused(b"\0\0\0\x20ftypavif").1, "a HEIF, AVIF or MP4");
    }

    #[test]
    fn every_truncation_is_refused_without_a_panic() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let whole = encoded(format);
            for end in 0..whole.len() - 13 {
                let kind = refused(&whole[..end]).0;
                assert!(
                    matches!(kind, Kind::Undecodable | Kind::UnsupportedMedia),
                    "{format:?} {end}"
                );
            }
        }
        let jpeg = encoded(ImageFormat::Jpeg);
        assert_eq!(refused(&jpeg[..jpeg.len() / 2]).0, Kind::Undecodable);
    }

    #[test]
    fn exif_orientation_turns_the_picture() {
        // Orientation 6: the stored picture is shown turned by 90 degrees clockwise.
        let exif = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&sample(), 2, 3, ExtendedColorType::Rgb8).unwrap();
        let picture = Picture::decode(&bytes, &LIMITS, "/body").unwrap().0.into_rgb8();
        assert_eq!(picture.dimensions(), (3, 2));
        // The left column was red, so now the upper row is.
        assert_eq!(picture.get_pixel(0, 0), &Rgb([255, 0, 0]));
        assert_eq!(picture.get_pixel(2, 1), &Rgb([0, 0, 255]));
    }

    proptest::proptest! {
        /// Files that begin as a picture does, and pictures with bytes of them changed.
        #[test]
        fn no_bytes_bring_the_decoder_down(
            format in 0_usize..3,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            changes in proptest::collection::vec((0_usize..400, proptest::num::u8::ANY), 0..8),
        ) {
            let head: [&[u8]; 3] = [
                b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
                b"\xff\xd8\xff\xe0\0\x10JFIF\0",
                b"RIFF\x40\0\0\0WEBPVP8L",
            ];
            let _ = Picture::decode(&[head[format], &bytes].concat(), &LIMITS, "/body");
            let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
            let mut file = encoded(formats[format]);
            for (at, byte) in changes {
                let length = file.len();
                file[at % length] = byte;
            }
            if let Err(problem) = Picture::decode(&file, &LIMITS, "/body") {
                let known = [Kind::UnsupportedMedia, Kind::Undecodable, Kind::TooLarge];
                proptest::prop_assert!(known.contains(&problem.kind), "{}", problem);
            }
        }
    }
}
