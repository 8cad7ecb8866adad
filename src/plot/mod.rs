//! Charts as SVG and PNG. Knows numbers and names, and nothing of where they come from.
//!
//! A chart is a list of shapes ([`Drawing`]), written as the text of an SVG and as the pixels of a PNG.
//! `docs/adr/0005-drawing.md` says what draws the pixels, and why.

mod axis;
mod colours;
mod curves;
mod drawing;
mod font;
mod matrix;
mod png;
mod reliability;
mod svg;

pub use colours::{GRID, LINES};
pub use curves::{Line, Panel, curves};
pub use drawing::{Anchor, Colour, Drawing, Text};
pub use matrix::{CLASSES_MAX, matrix};
pub use reliability::{Bar, reliability};

/// One chart in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub svg: String,
    pub png: Vec<u8>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct PlotError(String);
