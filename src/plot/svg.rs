//! A drawing as SVG: text stays text, in whatever font the reader has.

use std::fmt::Write;

use crate::plot::drawing::{Anchor, Colour, Drawing, Shape, Text};

impl Drawing {
    #[must_use]
    pub fn svg(&self) -> String {
        let (width, height) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        for shape in &self.shapes {
            write(&mut svg, shape);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn write(svg: &mut String, shape: &Shape) {
    // Writing into a String cannot fail.
    let _ = match shape {
        Shape::Rectangle { x, y, width, height, fill } => writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{}\"/>",
            hex(*fill)
        ),
        Shape::Line { points, colour, width, dashed } => {
            let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let dashes = if *dashed { " stroke-dasharray=\"6 4\"" } else { "" };
            writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{dashes} \
                 points=\"{}\"/>",
                hex(*colour),
                list.join(" ")
            )
        }
        Shape::Disc { x, y, radius, fill } => {
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>",
                hex(*fill)
            )
        }
        Shape::Text(text) => write_text(svg, text),
    };
}

fn write_text(svg: &mut String, text: &Text) -> std::fmt::Result {
    let (x, y) = (text.x, text.y);
    let anchor = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let turn = if text.turn == 0.0 {
        String::new()
    } else {
        format!(" transform=\"rotate({} {x:.1} {y:.1})\"", text.turn)
    };
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{:.1}\" fill=\"{}\"{anchor}{turn}>{}</text>",
        text.size,
        hex(text.colour),
        escaped(&text.text)
    )
}

fn hex(Colour(red, green, blue): Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// What XML may hold: markup is escaped, and control characters, which it has no way to write, are left out.
fn escaped(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let mut drawing = Drawing::new(10.0, 10.0);
        drawing.text(Text::new(1.0, 2.0, "a<b>&\u{1}c").anchor(Anchor::End).turn(-45.0));
        let svg = drawing.svg();
        assert!(svg.contains(">a&lt;b&gt;&amp;c</text>"), "{svg}");
        assert!(svg.contains("text-anchor=\"end\" transform=\"rotate(-45 1.0 2.0)\""), "{svg}");
    }
}
