//! Colours that people who see fewer of them can tell apart, on white.

use crate::plot::Colour;

pub const GRID: Colour = Colour(0xdd, 0xdd, 0xdd);
pub const FRAME: Colour = Colour(0x99, 0x99, 0x99);
pub const WHITE: Colour = Colour(0xff, 0xff, 0xff);
pub const DARK: Colour = Colour(0x33, 0x33, 0x33);

/// Of Okabe and Ito (2008), without yellow, which is too light for a line on white.
pub const LINES: [Colour; 7] = [
    Colour(0x00, 0x72, 0xb2),
    Colour(0xd5, 0x5e, 0x00),
    Colour(0x00, 0x9e, 0x73),
    Colour(0xcc, 0x79, 0xa7),
    Colour(0x56, 0xb4, 0xe9),
    Colour(0xe6, 0x9f, 0x00),
    Colour(0x00, 0x00, 0x00),
];

/// From nearly white to dark blue, so that lightness alone tells how much.
const BLUES: [Colour; 5] = [
    Colour(0xf7, 0xfb, 0xff),
    Colour(0xc6, 0xdb, 0xef),
    Colour(0x6b, 0xae, 0xd6),
    Colour(0x21, 0x71, 0xb5),
    Colour(0x08, 0x30, 0x6b),
];

/// The colour of a share from 0 to 1. It goes with the root of the share, so that a few in a hundred are seen.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
pub fn shade(share: f64) -> Colour {
    let place = share.clamp(0.0, 1.0).sqrt() * 4.0;
    let from = (place.floor() as usize).min(3);
    let part = place - place.floor().min(3.0);
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    let (Colour(r, g, b), Colour(red, green, blue)) = (BLUES[from], BLUES[from + 1]);
    Colour(mix(r, red), mix(g, green), mix(b, blue))
}

/// What can be read on a shade.
pub fn on_shade(share: f64) -> Colour {
    if share > 0.36 { WHITE } else { DARK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_get_darker_from_end_to_end() {
        assert_eq!((shade(-1.0), shade(2.0)), (BLUES[0], BLUES[4]));
        assert_eq!(shade(0.25), BLUES[2]);
        let light = |share: f64| {
            let Colour(red, green, blue) = shade(share);
            u32::from(red) + u32::from(green) + u32::from(blue)
        };
        let lights: Vec<u32> = (0..=50).map(|i| light(f64::from(i) / 50.0)).collect();
        assert!(lights.is_sorted_by(|a, b| a > b), "{lights:?}");
    }
}
