//! Lines over epochs, one panel above the other, with one axis of epochs.

use crate::plot::axis::{Axis, range, whole_ticks};
use crate::plot::font::Font;
use crate::plot::{Anchor, Colour, Drawing, Picture, PlotError, Text, colours};

/// What one panel shows: lines of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
}

/// A named line: epochs and values. What is not finite is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<(u32, f64)>,
}

/// Where panels begin, from the left and from the top.
const LEFT: f64 = 64.0;
const TOP: f64 = 36.0;
/// The plot of a panel, and the distance from panel to panel.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 170.0;
const PITCH: f64 = 220.0;
/// From a plot to the names of its lines.
const GAP: f64 = 16.0;
/// A mark of the line's colour before its name.
const MARK: f64 = 26.0;
/// More points than these are a line that needs no discs.
const DISCS_MAX: usize = 40;
const NAME_WIDTH_MAX: f64 = 240.0;

/// A chart of the panels. Names stand beside the plots, so that they cover nothing.
///
/// # Errors
/// [`PlotError`] when there is no memory for the pixels.
pub fn curves(title: &str, panels: &[Panel]) -> Result<Picture, PlotError> {
    let font = Font::new()?;
    let names =
        panels.iter().flat_map(|panel| &panel.lines).map(|line| font.width(&line.name, 12.0));
    let names = names.fold(0.0, f64::max).min(NAME_WIDTH_MAX);
    let count = f64::from(u32::try_from(panels.len()).unwrap_or(u32::MAX));
    let width = LEFT + WIDTH + GAP + MARK + names + GAP;
    let mut drawing = Drawing::new(width.ceil(), TOP + count * PITCH + 16.0);
    drawing.text(Text::new(LEFT, 22.0, font.shortened(title, 14.0, width - LEFT - GAP)).size(14.0));
    let epochs = range(panels.iter().flat_map(points).map(|(epoch, _)| f64::from(epoch)));
    let mut top = TOP;
    for panel in panels {
        let plot = Plot::new(panel, epochs, top);
        plot.frame(&mut drawing, &panel.title);
        for (index, line) in panel.lines.iter().enumerate() {
            let colour = colours::LINES[index % colours::LINES.len()];
            plot.line(&mut drawing, line, colour);
            plot.name(&mut drawing, &font.shortened(&line.name, 12.0, names), index, colour);
        }
        top += PITCH;
    }
    if let Some(text) =
        (!panels.is_empty()).then(|| Text::new(LEFT + WIDTH / 2.0, top + 6.0, "epoch"))
    {
        drawing.text(text.anchor(Anchor::Middle));
    }
    drawing.picture()
}

fn points(panel: &Panel) -> impl Iterator<Item = (u32, f64)> {
    panel.lines.iter().flat_map(|line| line.points.iter().copied())
}

/// One panel: where values lie in the drawing.
struct Plot {
    top: f64,
    bottom: f64,
    first: f64,
    last: f64,
    values: Axis,
}

impl Plot {
    fn new(panel: &Panel, epochs: Option<(f64, f64)>, top: f64) -> Self {
        // Below the panel's title.
        let (top, bottom) = (top + 22.0, top + 22.0 + HEIGHT);
        let (first, last) = epochs.unwrap_or((1.0, 1.0));
        let values = Axis::holding(points(panel).map(|(_, value)| value), bottom, top);
        Self { top, bottom, first, last, values }
    }

    fn x(&self, epoch: u32) -> f64 {
        let share = (f64::from(epoch) - self.first) / (self.last - self.first);
        // One epoch alone stands in the middle; none stands on the frame.
        LEFT + WIDTH * (0.03 + 0.94 * if share.is_finite() { share } else { 0.5 })
    }

    fn frame(&self, drawing: &mut Drawing, title: &str) {
        for (y, words) in self.values.ticks() {
            drawing.line(&[(LEFT, y), (LEFT + WIDTH, y)], colours::GRID, 1.0);
            drawing.text(Text::new(LEFT - 8.0, y + 4.0, words).size(11.0).anchor(Anchor::End));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "epochs are u32"
        )]
        for epoch in whole_ticks(self.first as u32, self.last as u32) {
            let x = self.x(epoch);
            drawing.line(&[(x, self.bottom), (x, self.bottom + 4.0)], colours::FRAME, 1.0);
            let words = Text::new(x, self.bottom + 16.0, epoch.to_string());
            drawing.text(words.size(11.0).anchor(Anchor::Middle));
        }
        drawing.line(&[(LEFT, self.bottom), (LEFT + WIDTH, self.bottom)], colours::FRAME, 1.0);
        drawing.text(Text::new(LEFT, self.top - 9.0, title));
    }

    fn line(&self, drawing: &mut Drawing, line: &Line, colour: Colour) {
        let finite = line.points.iter().filter(|(_, value)| value.is_finite());
        let places: Vec<(f64, f64)> =
            finite.map(|&(epoch, value)| (self.x(epoch), self.values.place(value))).collect();
        drawing.line(&places, colour, 2.0);
        if places.len() <= DISCS_MAX {
            for (x, y) in places {
                drawing.disc(x, y, 3.0, colour);
            }
        }
    }

    fn name(&self, drawing: &mut Drawing, name: &str, index: usize, colour: Colour) {
        let row = f64::from(u32::try_from(index).unwrap_or(u32::MAX));
        let (x, y) = (LEFT + WIDTH + GAP, self.top + 12.0 + 18.0 * row);
        drawing.line(&[(x, y), (x + MARK - 8.0, y)], colour, 2.0);
        drawing.disc(x + (MARK - 8.0) / 2.0, y, 3.0, colour);
        drawing.text(Text::new(x + MARK, y + 4.0, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, values: &[f64]) -> Line {
        Line { name: name.to_owned(), points: (1..).zip(values.iter().copied()).collect() }
    }

    #[test]
    fn each_line_is_drawn_from_its_first_epoch_to_its_last() {
        let lines = vec![line("train", &[2.0, 1.0, 0.5]), line("test", &[1.5, f64::NAN, 0.75])];
        let panels = [Panel { title: "loss".to_owned(), lines }];
        let picture = curves("tiny/1", &panels).unwrap();
        assert!(picture.png.starts_with(b"\x89PNG"));
        // 0.5 to 2.0 on 170 pixels, the first epoch at 3 % of 520 pixels and the last at 97 %.
        let train = "points=\"79.6,58.0 324.0,171.3 568.4,228.0\"";
        assert!(picture.svg.contains(train), "{}", picture.svg);
        assert!(picture.svg.contains("points=\"79.6,114.7 568.4,199.7\""), "{}", picture.svg);
        for words in [">tiny/1<", ">loss<", ">train<", ">test<", ">epoch<", ">2.0<", ">3<"] {
            assert!(picture.svg.contains(words), "{words}: {}", picture.svg);
        }
    }

    #[test]
    fn one_epoch_and_none_are_drawn_too() {
        let panel = |values| Panel { title: "loss".to_owned(), lines: vec![line("train", values)] };
        assert!(curves("t", &[panel(&[1.0])]).unwrap().svg.contains("cx=\"324.0\""));
        assert!(!curves("t", &[panel(&[])]).unwrap().svg.contains("points=\"79.6"));
        assert!(curves("t", &[]).is_ok());
    }
}
