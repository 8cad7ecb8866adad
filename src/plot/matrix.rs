//! A confusion matrix as a heat map: a row for what a thing is, a column for what was answered.

use crate::plot::font::Font;
use crate::plot::{Anchor, Drawing, Picture, PlotError, Text, colours};

/// A cell of more classes would be less than half a pixel.
pub const CLASSES_MAX: usize = 1000;

const TOP: f64 = 44.0;
const GAP: f64 = 8.0;
/// Pixels that all cells together have at most, and one cell.
const SIDE_MAX: f64 = 560.0;
const CELL_MAX: f64 = 46.0;
const NAME_WIDTH_MAX: f64 = 170.0;
/// Between the middles of two names beside the rows, and of two that hang aslant below the columns.
const ROWS_APART: f64 = 13.0;
const COLUMNS_APART: f64 = 19.0;
/// The smallest number that is still read.
const NUMBER_MIN: f64 = 6.0;

/// `counts[is][answered]`, shaded by its share of the row; all rows are as long as `labels`.
///
/// # Errors
/// [`PlotError`] when the counts are not a square of at most [`CLASSES_MAX`] labels.
pub fn matrix(title: &str, labels: &[String], counts: &[Vec<u64>]) -> Result<Picture, PlotError> {
    let classes = labels.len();
    let square = counts.len() == classes && counts.iter().all(|row| row.len() == classes);
    if classes == 0 || classes > CLASSES_MAX || !square {
        let rows = counts.len();
        return Err(PlotError(format!("a matrix of {rows} rows for {classes} labels")));
    }
    let layout = Layout::new(Font::new()?, labels);
    let mut drawing = Drawing::new(layout.width(), layout.height());
    let title = layout.font.shortened(title, 14.0, layout.width() - 24.0);
    drawing.text(Text::new(12.0, 24.0, title).size(14.0));
    layout.cells(&mut drawing, counts);
    layout.names(&mut drawing);
    layout.scale(&mut drawing);
    drawing.picture()
}

struct Layout {
    font: Font,
    names: Vec<String>,
    /// Of the widest name, in pixels.
    name_width: f64,
    left: f64,
    cell: f64,
    side: f64,
}

/// A count as a number of pixels or cells.
fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl Layout {
    fn new(font: Font, labels: &[String]) -> Self {
        let names: Vec<String> =
            labels.iter().map(|label| font.shortened(label, 12.0, NAME_WIDTH_MAX)).collect();
        let name_width = names.iter().map(|name| font.width(name, 12.0)).fold(0.0, f64::max);
        let cell = (SIDE_MAX / count(names.len())).min(CELL_MAX);
        let side = cell * count(names.len());
        // The axis' own name stands left of the names.
        Self { left: 28.0 + name_width + GAP, font, names, name_width, cell, side }
    }

    fn bottom(&self) -> f64 {
        TOP + self.side
    }

    fn right(&self) -> f64 {
        self.left + self.side
    }

    fn width(&self) -> f64 {
        (self.right() + 80.0).ceil()
    }

    fn height(&self) -> f64 {
        // Names below hang at half a right angle.
        (self.bottom() + GAP + 12.0 + self.name_width * std::f64::consts::FRAC_1_SQRT_2 + 28.0)
            .ceil()
    }

    /// Cells without a count are the background's colour.
    fn cells(&self, drawing: &mut Drawing, counts: &[Vec<u64>]) {
        let all = [self.left, TOP, self.side, self.side];
        drawing.rectangle(all, colours::shade(0.0));
        for (row, counts) in counts.iter().enumerate() {
            let sum: u64 = counts.iter().sum();
            for (column, &number) in counts.iter().enumerate().filter(|(_, number)| **number > 0) {
                #[expect(clippy::cast_precision_loss, reason = "a share for the eye")]
                let share = number as f64 / sum as f64;
                let (x, y) = (self.left + count(column) * self.cell, TOP + count(row) * self.cell);
                drawing.rectangle([x, y, self.cell, self.cell], colours::shade(share));
                self.number(drawing, (x, y), number, share);
            }
        }
        for (from, to) in [
            ((self.left, TOP), (self.right(), TOP)),
            ((self.right(), TOP), (self.right(), self.bottom())),
            ((self.right(), self.bottom()), (self.left, self.bottom())),
            ((self.left, self.bottom()), (self.left, TOP)),
        ] {
            drawing.line(&[from, to], colours::FRAME, 1.0);
        }
    }

    /// The count in its cell, as large as there is room for.
    fn number(&self, drawing: &mut Drawing, (x, y): (f64, f64), number: u64, share: f64) {
        let words = number.to_string();
        let size = (self.cell * 0.8 / self.font.width(&words, 1.0)).min(12.0).min(self.cell * 0.6);
        if size >= NUMBER_MIN {
            let (x, y) = (x + self.cell / 2.0, y + self.cell / 2.0 + size * 0.36);
            let text = Text::new(x, y, words).size(size).anchor(Anchor::Middle);
            drawing.text(text.colour(colours::on_shade(share)));
        }
    }

    /// Every name, or as many as have room.
    fn names(&self, drawing: &mut Drawing) {
        for (middle, name) in self.apart(ROWS_APART) {
            let row = Text::new(self.left - GAP, TOP + middle + 4.0, name);
            drawing.text(row.anchor(Anchor::End));
        }
        for (middle, name) in self.apart(COLUMNS_APART) {
            let column = Text::new(self.left + middle + 4.0, self.bottom() + GAP + 8.0, name);
            drawing.text(column.anchor(Anchor::End).turn(-45.0));
        }
        let middle = Text::new(16.0, TOP + self.side / 2.0, "what it is").anchor(Anchor::Middle);
        drawing.text(middle.turn(-90.0));
        let answered =
            Text::new(self.left + self.side / 2.0, self.height() - 10.0, "what was answered");
        drawing.text(answered.anchor(Anchor::Middle));
    }

    /// Names that are at least so many pixels apart, with the middles of their cells.
    fn apart(&self, pixels: f64) -> impl Iterator<Item = (f64, &str)> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 40")]
        let step = (pixels / self.cell).ceil().max(1.0) as usize;
        let names = self.names.iter().enumerate().step_by(step);
        names.map(|(index, name)| ((count(index) + 0.5) * self.cell, name.as_str()))
    }

    /// What a shade means.
    fn scale(&self, drawing: &mut Drawing) {
        let (x, height) = (self.right() + 20.0, self.side.min(160.0));
        let steps = 40_u8;
        for step in 0..steps {
            let share = 1.0 - f64::from(step) / f64::from(steps - 1);
            let y = TOP + height * f64::from(step) / f64::from(steps);
            // A little higher than the step, so that no seam is seen.
            let strip = [x, y, 12.0, height / f64::from(steps) + 0.5];
            drawing.rectangle(strip, colours::shade(share * share));
        }
        for percent in [0_u8, 5, 25, 50, 100] {
            let y = TOP + height * (1.0 - (f64::from(percent) / 100.0).sqrt());
            drawing.text(Text::new(x + 17.0, y + 4.0, format!("{percent} %")).size(10.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    #[test]
    fn every_count_stands_in_its_cell() {
        let picture = matrix("T", &labels(2), &[vec![7, 31], vec![0, 5]]).unwrap();
        for number in [">7<", ">31<", ">5<", ">class 0<", ">class 1<", ">100 %<"] {
            assert!(picture.svg.contains(number), "{number}: {}", picture.svg);
        }
        assert!(!picture.svg.contains(">0<"));
        assert!(picture.png.starts_with(b"\x89PNG"));
    }

    #[test]
    fn many_classes_leave_out_names_and_numbers() {
        let mut counts = vec![vec![0; 300]; 300];
        (0..300).for_each(|class| counts[class][class] = 1000);
        let picture = matrix("T", &labels(300), &counts).unwrap();
        assert!(picture.svg.contains(">class 0<") && !picture.svg.contains(">class 1<"));
        assert!(!picture.svg.contains(">1000<"));
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        assert!(matrix("T", &[], &[]).is_err());
        assert!(matrix("T", &labels(2), &[vec![1, 2]]).is_err());
        assert!(matrix("T", &labels(2), &[vec![1, 2], vec![1]]).is_err());
        assert!(matrix("T", &labels(CLASSES_MAX + 1), &[]).is_err());
    }
}
