//! What a chart is made of.

use crate::plot::{Picture, PlotError};

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

/// Which part of a text lies at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text. Its baseline begins, has its middle or ends at (`x`, `y`), and is turned around there.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    pub x: f64,
    pub y: f64,
    pub text: String,
    pub size: f64,
    pub colour: Colour,
    pub anchor: Anchor,
    /// Degrees, clockwise.
    pub turn: f64,
}

impl Text {
    /// Of 12 pixels, dark grey, beginning at its place.
    pub fn new(x: f64, y: f64, text: impl Into<String>) -> Self {
        let colour = Colour(0x33, 0x33, 0x33);
        Self { x, y, text: text.into(), size: 12.0, colour, anchor: Anchor::Start, turn: 0.0 }
    }

    #[must_use]
    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    #[must_use]
    pub fn size(self, size: f64) -> Self {
        Self { size, ..self }
    }

    #[must_use]
    pub fn colour(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }

    #[must_use]
    pub fn turn(self, turn: f64) -> Self {
        Self { turn, ..self }
    }
}

/// One thing to draw, in pixels from the left and from the top.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Rectangle { x: f64, y: f64, width: f64, height: f64, fill: Colour },
    Line { points: Vec<(f64, f64)>, colour: Colour, width: f64, dashed: bool },
    Disc { x: f64, y: f64, radius: f64, fill: Colour },
    Text(Text),
}

/// Shapes on white, those added later above those before.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

impl Drawing {
    #[must_use]
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    pub fn rectangle(&mut self, [x, y, width, height]: [f64; 4], fill: Colour) {
        self.shapes.push(Shape::Rectangle { x, y, width, height, fill });
    }

    /// From point to point. A single point draws nothing.
    pub fn line(&mut self, points: &[(f64, f64)], colour: Colour, width: f64) {
        self.shapes.push(Shape::Line { points: points.to_vec(), colour, width, dashed: false });
    }

    pub fn dashed(&mut self, points: &[(f64, f64)], colour: Colour, width: f64) {
        self.shapes.push(Shape::Line { points: points.to_vec(), colour, width, dashed: true });
    }

    pub fn disc(&mut self, x: f64, y: f64, radius: f64, fill: Colour) {
        self.shapes.push(Shape::Disc { x, y, radius, fill });
    }

    pub fn text(&mut self, text: Text) {
        self.shapes.push(Shape::Text(text));
    }

    /// Both forms.
    ///
    /// # Errors
    /// [`PlotError`] when there is no memory for the pixels.
    pub fn picture(&self) -> Result<Picture, PlotError> {
        Ok(Picture { svg: self.svg(), png: self.png()? })
    }
}
