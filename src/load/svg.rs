//! A chart of latency over load, as an SVG of its own: two lines, a logarithmic axis of milliseconds.

use crate::load::report::{Latency, Row};
use crate::plot::{Anchor, Colour, Drawing, GRID, LINES, Text};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Of the plot within the picture: left, top, right and bottom.
const PLOT: [f64; 4] = [64.0, 48.0, 696.0, 368.0];

/// What a line shows of each level, its name and its colour.
type Line = (fn(&Latency) -> Option<f64>, &'static str, Colour);
const PERCENTILES: [Line; 2] = [(|l| l.p50, "p50", LINES[0]), (|l| l.p99, "p99", LINES[1])];

/// The 50th and 99th percentile of each level. Levels without a success are left out.
#[must_use]
pub fn chart(rows: &[Row]) -> String {
    let mut drawing = Drawing::new(WIDTH, HEIGHT);
    let title = rows.first().map_or("", |row| row.url.as_str());
    drawing.text(Text::new(PLOT[0], 24.0, title));
    let plot = Plot::of(rows);
    plot.grid(&mut drawing, rows);
    let mut x = PLOT[2] - 80.0;
    for (value, name, colour) in PERCENTILES {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|row| Some((plot.x(load(row)), plot.y(value(&row.latency_ms)?))))
            .collect();
        drawing.line(&points, colour, 2.0);
        for (x, y) in points {
            drawing.disc(x, y, 3.0, colour);
        }
        drawing.rectangle([x, 15.0, 10.0, 10.0], colour);
        drawing.text(Text::new(x + 14.0, 24.0, name));
        x += 44.0;
    }
    drawing.svg()
}

/// Where values lie in the picture.
struct Plot {
    /// The least and the most load; `log` spreads clients, whose numbers are usually doubled.
    loads: (f64, f64),
    log: bool,
    /// The powers of ten that hold every latency, in milliseconds.
    decades: (i32, i32),
}

impl Plot {
    fn of(rows: &[Row]) -> Self {
        let log = rows.iter().all(|row| row.rate.is_none());
        let loads = range(rows.iter().map(load)).unwrap_or((1.0, 1.0));
        let values =
            rows.iter().flat_map(|row| PERCENTILES.iter().filter_map(|l| l.0(&row.latency_ms)));
        // A latency of 0 has no logarithm: a microsecond is as short as any is shown.
        let (least, most) = range(values.map(|ms| ms.max(1e-3))).unwrap_or((1.0, 1.0));
        #[expect(clippy::cast_possible_truncation, reason = "logarithms are small")]
        let decade = |log: f64| log as i32;
        let low = decade(least.log10().floor());
        let high = decade(most.log10().ceil()).max(low + 1);
        Self { loads, log, decades: (low, high) }
    }

    fn x(&self, load: f64) -> f64 {
        let scale = |load: f64| if self.log { load.ln() } else { load };
        let (low, high) = (scale(self.loads.0), scale(self.loads.1));
        // One level alone stands in the middle.
        let share = if high > low { (scale(load) - low) / (high - low) } else { 0.5 };
        // Not on the edges, where half of a point would be cut off.
        PLOT[0] + (PLOT[2] - PLOT[0]) * (0.04 + 0.92 * share)
    }

    fn y(&self, ms: f64) -> f64 {
        let (low, high) = (f64::from(self.decades.0), f64::from(self.decades.1));
        let share = (ms.max(1e-3).log10() - low) / (high - low);
        PLOT[3] - (PLOT[3] - PLOT[1]) * share
    }

    fn grid(&self, drawing: &mut Drawing, rows: &[Row]) {
        let [left, top, right, bottom] = PLOT;
        for ms in (self.decades.0..=self.decades.1).flat_map(ticks) {
            let y = self.y(ms);
            if y < top - 0.5 {
                break;
            }
            drawing.line(&[(left, y), (right, y)], GRID, 1.0);
            drawing.text(Text::new(left - 6.0, y + 4.0, ms.to_string()).anchor(Anchor::End));
        }
        for row in rows {
            let x = self.x(load(row));
            drawing.line(&[(x, top), (x, bottom)], GRID, 1.0);
            let clients = Text::new(x, bottom + 18.0, load(row).to_string());
            drawing.text(clients.anchor(Anchor::Middle));
        }
        let unit = if self.log { "clients" } else { "requests a second" };
        let unit = Text::new(f64::midpoint(left, right), bottom + 40.0, unit);
        drawing.text(unit.anchor(Anchor::Middle));
        drawing.text(Text::new(left - 6.0, top - 8.0, "ms").anchor(Anchor::End));
    }
}

/// One, two and five of a power of ten.
fn ticks(decade: i32) -> [f64; 3] {
    // Of negative powers the reciprocal is the nearer number.
    let power = 10_f64.powi(decade.abs());
    [1.0, 2.0, 5.0].map(|part| if decade < 0 { part / power } else { part * power })
}

/// The load of a level: its rate or the number of its clients.
fn load(row: &Row) -> f64 {
    let clients = row.concurrency.and_then(|clients| u32::try_from(clients).ok());
    row.rate.unwrap_or_else(|| clients.map_or(0.0, f64::from))
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .map(|value| (value, value))
        .reduce(|(low, high), (value, _)| (low.min(value), high.max(value)))
}
