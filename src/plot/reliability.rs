//! A reliability diagram: how often a classifier is right, over how sure it says it is.

use crate::plot::font::Font;
use crate::plot::{Anchor, Drawing, Picture, PlotError, Text, colours};

/// One bin of confidences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Confidences above `from`, up to `to`.
    pub from: f64,
    pub to: f64,
    /// Share of the right answers among them, 0 to 1; `None` where there are no answers.
    pub accuracy: Option<f64>,
    /// Share of all answers, 0 to 1.
    pub share: f64,
}

const LEFT: f64 = 64.0;
const TOP: f64 = 48.0;
const SIDE: f64 = 360.0;
/// The small plot of how many answers are in each bin.
const SHARES_TOP: f64 = TOP + SIDE + 24.0;
const SHARES: f64 = 80.0;
const BOTTOM: f64 = SHARES_TOP + SHARES;

/// On the dashed line, an answer of 80 % is right in 80 of 100 cases. Below: where the answers are.
///
/// # Errors
/// [`PlotError`] when there is no memory for the pixels.
pub fn reliability(title: &str, bars: &[Bar]) -> Result<Picture, PlotError> {
    let mut drawing = Drawing::new(LEFT + SIDE + 28.0, BOTTOM + 48.0);
    let title = Font::new()?.shortened(title, 14.0, LEFT + SIDE);
    drawing.text(Text::new(14.0, 26.0, title).size(14.0));
    grid(&mut drawing);
    for bar in bars {
        let (x, width) = (LEFT + SIDE * bar.from + 1.0, SIDE * (bar.to - bar.from) - 2.0);
        let height = SIDE * bar.accuracy.unwrap_or(0.0);
        drawing.rectangle([x, TOP + SIDE - height, width, height], colours::LINES[0]);
        let height = SHARES * bar.share;
        drawing.rectangle([x, BOTTOM - height, width, height], colours::FRAME);
    }
    drawing.dashed(&[(LEFT, TOP + SIDE), (LEFT + SIDE, TOP)], colours::LINES[1], 2.0);
    drawing.picture()
}

fn grid(drawing: &mut Drawing) {
    for percent in [0_u8, 20, 40, 60, 80, 100] {
        let share = f64::from(percent) / 100.0;
        let y = TOP + SIDE * (1.0 - share);
        drawing.line(&[(LEFT, y), (LEFT + SIDE, y)], colours::GRID, 1.0);
        level(drawing, y, percent);
        let x = LEFT + SIDE * share;
        let words = Text::new(x, BOTTOM + 16.0, format!("{percent} %"));
        drawing.text(words.size(11.0).anchor(Anchor::Middle));
    }
    for percent in [0_u8, 50, 100] {
        let y = BOTTOM - SHARES * f64::from(percent) / 100.0;
        drawing.line(&[(LEFT, y), (LEFT + SIDE, y)], colours::GRID, 1.0);
        level(drawing, y, percent);
    }
    for (middle, words) in [(TOP + SIDE / 2.0, "right"), (BOTTOM - SHARES / 2.0, "answers")] {
        drawing.text(Text::new(14.0, middle, words).anchor(Anchor::Middle).turn(-90.0));
    }
    let sure = Text::new(LEFT + SIDE / 2.0, BOTTOM + 36.0, "confidence of the answer");
    drawing.text(sure.anchor(Anchor::Middle));
}

fn level(drawing: &mut Drawing, y: f64, percent: u8) {
    let words = Text::new(LEFT - 8.0, y + 4.0, format!("{percent} %"));
    drawing.text(words.size(11.0).anchor(Anchor::End));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_accuracy() {
        let bar = |from, accuracy, share| Bar { from, to: from + 0.5, accuracy, share };
        let bars = [bar(0.0, None, 0.0), bar(0.5, Some(0.75), 1.0)];
        let svg = reliability("tiny/1", &bars).unwrap().svg;
        // 270 of 360 pixels, and 80 of 80.
        assert!(svg.contains("x=\"245.0\" y=\"138.0\" width=\"178.0\" height=\"270.0\""), "{svg}");
        assert!(svg.contains("height=\"80.0\""), "{svg}");
    }
}
