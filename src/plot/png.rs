//! A drawing as PNG, at twice the size of the SVG's pixels so that small letters are sharp.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};

use crate::plot::PlotError;
use crate::plot::drawing::{Anchor, Colour, Drawing, Shape, Text};
use crate::plot::font::{Font, narrow};

const SCALE: f64 = 2.0;

impl Drawing {
    /// # Errors
    /// [`PlotError`] when there is no memory for the pixels.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let (width, height) = (pixels(self.width), pixels(self.height));
        let pixmap = Pixmap::new(width, height)
            .ok_or_else(|| PlotError(format!("{width} x {height} pixels are too many")))?;
        let mut canvas = Canvas { pixmap, font: Font::new()? };
        canvas.pixmap.fill(Color::WHITE);
        for shape in &self.shapes {
            canvas.draw(shape);
        }
        // All of it is opaque, so that nothing is lost with the fourth channel.
        let colours: Vec<u8> = canvas
            .pixmap
            .data()
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        let mut png = Vec::new();
        // Flat colours are shortest as they are.
        PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter)
            .write_image(&colours, width, height, ExtendedColorType::Rgb8)
            .map_err(|error| PlotError(error.to_string()))?;
        Ok(png)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
fn pixels(length: f64) -> u32 {
    (length * SCALE).ceil() as u32
}

struct Canvas {
    pixmap: Pixmap,
    font: Font,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        let scaled = Transform::from_scale(narrow(SCALE), narrow(SCALE));
        match shape {
            Shape::Rectangle { x, y, width, height, fill } => {
                let [x, y, width, height] = [x, y, width, height].map(|v| narrow(*v));
                if let Some(rectangle) = Rect::from_xywh(x, y, width, height) {
                    self.pixmap.fill_rect(rectangle, &paint(*fill), scaled, None);
                }
            }
            Shape::Line { points, colour, width, dashed } => {
                let mut path = PathBuilder::new();
                for (index, &(x, y)) in points.iter().enumerate() {
                    let (x, y) = (narrow(x), narrow(y));
                    if index == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
                }
                if let Some(path) = path.finish() {
                    let stroke = stroke(*width, *dashed);
                    self.pixmap.stroke_path(&path, &paint(*colour), &stroke, scaled, None);
                }
            }
            Shape::Disc { x, y, radius, fill } => {
                let disc = PathBuilder::from_circle(narrow(*x), narrow(*y), narrow(*radius));
                if let Some(disc) = disc {
                    let winding = FillRule::Winding;
                    self.pixmap.fill_path(&disc, &paint(*fill), winding, scaled, None);
                }
            }
            Shape::Text(text) => self.write(text, scaled),
        }
    }

    fn write(&mut self, text: &Text, scaled: Transform) {
        let Some(outline) = self.font.outline(&text.text) else { return };
        let width = self.font.width(&text.text, text.size);
        let before = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let unit = narrow(self.font.scale(text.size));
        // Read from below: outlines have up as positive, pictures have down.
        let place = scaled
            .pre_translate(narrow(text.x), narrow(text.y))
            .pre_rotate(narrow(text.turn))
            .pre_translate(narrow(-before), 0.0)
            .pre_scale(unit, -unit);
        let winding = FillRule::Winding;
        self.pixmap.fill_path(&outline, &paint(text.colour), winding, place, None);
    }
}

fn paint(Colour(red, green, blue): Colour) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint.anti_alias = true;
    paint
}

fn stroke(width: f64, dashed: bool) -> Stroke {
    Stroke {
        width: narrow(width),
        line_cap: LineCap::Round,
        line_join: LineJoin::Round,
        dash: if dashed { StrokeDash::new(vec![6.0, 4.0], 0.0) } else { None },
        ..Stroke::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixel of a PNG at a place in the drawing's own pixels.
    fn pixel(png: &[u8], x: u32, y: u32) -> [u8; 3] {
        image::load_from_memory(png).unwrap().to_rgb8().get_pixel(2 * x, 2 * y).0
    }

    #[test]
    fn shapes_lie_where_the_drawing_says() {
        let mut drawing = Drawing::new(40.0, 30.0);
        drawing.rectangle([10.0, 5.0, 10.0, 10.0], Colour(200, 0, 0));
        drawing.line(&[(0.0, 20.0), (40.0, 20.0)], Colour(0, 0, 200), 4.0);
        drawing.disc(30.0, 10.0, 4.0, Colour(0, 200, 0));
        let png = drawing.png().unwrap();
        assert_eq!(pixel(&png, 15, 10), [200, 0, 0]);
        assert_eq!(pixel(&png, 20, 20), [0, 0, 200]);
        assert_eq!(pixel(&png, 30, 10), [0, 200, 0]);
        assert_eq!(pixel(&png, 5, 5), [255, 255, 255]);
        assert_eq!(drawing.png().unwrap(), png);
    }

    #[test]
    fn text_is_drawn_to_its_side_of_the_anchor_and_turns() {
        let dark = |anchor, turn| {
            let mut drawing = Drawing::new(100.0, 100.0);
            drawing.text(Text::new(50.0, 50.0, "HHH").anchor(anchor).turn(turn));
            let picture = image::load_from_memory(&drawing.png().unwrap()).unwrap().to_luma8();
            let dark = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] < 128);
            dark.map(|(x, y, _)| (x / 2, y / 2)).collect::<Vec<_>>()
        };
        let all = |dark: &[(u32, u32)], inside: fn(&(u32, u32)) -> bool| {
            assert!(dark.len() > 50);
            assert!(dark.iter().all(inside), "{dark:?}");
        };
        all(&dark(Anchor::Start, 0.0), |&(x, y)| x >= 50 && y <= 50 && y > 38);
        all(&dark(Anchor::End, 0.0), |&(x, y)| x < 50 && y <= 50);
        // Upwards: what was above the baseline is left of it.
        all(&dark(Anchor::Start, -90.0), |&(x, y)| x <= 50 && x > 38 && y <= 50);
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused() {
        assert!(Drawing::new(1e12, 1e12).png().is_err());
        assert!(Drawing::new(0.0, 10.0).png().is_err());
    }
}
