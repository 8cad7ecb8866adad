//! The letters of a PNG, Latin, Greek and Cyrillic: a font of its own, so that no machine lacks one.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::plot::PlotError;

/// `DejaVu` Sans: the glyphs of U+0020 to U+024F, U+0370 to U+052F, U+1E00 to U+1EFF and some punctuation, without hints;
/// font/LICENCE.txt is its licence.
const BYTES: &[u8] = include_bytes!("font/DejaVuSans.ttf");

pub struct Font {
    face: Face<'static>,
}

impl Font {
    /// # Errors
    /// [`PlotError`] when the embedded bytes are no font.
    pub fn new() -> Result<Self, PlotError> {
        let face = Face::parse(BYTES, 0).map_err(|error| PlotError(error.to_string()))?;
        Ok(Self { face })
    }

    /// How far a text of this size reaches, in pixels.
    pub fn width(&self, text: &str, size: f64) -> f64 {
        let units: f64 = self.glyphs(text).map(|(_, advance)| advance).sum();
        units * self.scale(size)
    }

    /// The text, or its beginning with an ellipsis, in at most `width` pixels.
    pub fn shortened(&self, text: &str, size: f64, width: f64) -> String {
        let mut short = text.to_owned();
        let mut cut = false;
        while self.width(&short, size) > width && !short.is_empty() {
            if cut {
                short.pop();
            }
            short.pop();
            short = short.trim_end().to_owned() + "…";
            cut = true;
            if short == "…" {
                break;
            }
        }
        short
    }

    /// Pixels of one unit of the outlines.
    pub fn scale(&self, size: f64) -> f64 {
        size / f64::from(self.face.units_per_em())
    }

    /// The outline of a text in units, its baseline from (0, 0) and up being positive. `None` when it shows
    /// nothing.
    pub fn outline(&self, text: &str) -> Option<Path> {
        let mut pen = Pen { path: PathBuilder::new(), x: 0.0 };
        for (glyph, advance) in self.glyphs(text) {
            self.face.outline_glyph(glyph, &mut pen);
            pen.x += narrow(advance);
        }
        pen.path.finish()
    }

    /// Each character's glyph and its width in units. What the font lacks is its empty box.
    fn glyphs(&self, text: &str) -> impl Iterator<Item = (GlyphId, f64)> {
        text.chars().filter(|c| !c.is_control()).map(|c| {
            let glyph = self.face.glyph_index(c).unwrap_or_default();
            (glyph, f64::from(self.face.glyph_hor_advance(glyph).unwrap_or_default()))
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "places in a picture are far below 2^24")]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

/// Puts glyphs side by side.
struct Pen {
    path: PathBuilder,
    x: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.x + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.x + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.x + x1, y1, self.x + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.x + x1, y1, self.x + x2, y2, self.x + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_grow_with_text_and_size_and_long_names_are_cut() {
        let font = Font::new().unwrap();
        assert!(font.width("ii", 12.0) < font.width("WW", 12.0));
        assert!(
            (font.width("Шляпа Ωμέγα", 24.0) / font.width("Шляпа Ωμέγα", 12.0) - 2.0).abs() < 1e-9
        );
        assert_eq!(font.shortened("Ankle boot", 12.0, 200.0), "Ankle boot");
        let short = font.shortened("Ankle boot of somebody else", 12.0, 80.0);
        assert!(short.starts_with("Ankle") && short.ends_with('…'), "{short}");
        assert!(font.width(&short, 12.0) <= 80.0);
        assert_eq!(font.shortened("abc", 12.0, 1.0), "…");
        assert!(font.outline(" \n").is_none());
    }
}
