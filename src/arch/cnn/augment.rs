//! Small changes to training pictures that do not change what they show.

use rand::{Rng, RngExt};
use serde::Deserialize;

/// A recipe's `[fit.options.augmentation]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Moves by up to this many pixels each way; black comes in at the edge.
    shift: u8,
    /// Mirrors left to right every other time.
    flip: bool,
}

impl Augmentation {
    /// A changed copy of a grey picture of rows × columns pixels.
    pub fn apply(self, pixels: &[u8], [rows, columns]: [usize; 2], rng: &mut impl Rng) -> Vec<u8> {
        let shift = i32::from(self.shift);
        let mut step = || if shift > 0 { rng.random_range(-shift..=shift) as isize } else { 0 };
        let (down, right) = (step(), step());
        let mirrored = self.flip && rng.random_bool(0.5);
        let mut changed = vec![0; pixels.len()];
        for (index, pixel) in changed.iter_mut().enumerate() {
            let (row, column) = (index / columns, index % columns);
            let column = if mirrored { columns - 1 - column } else { column };
            let row = row.checked_add_signed(-down).filter(|&row| row < rows);
            let column = column.checked_add_signed(-right).filter(|&column| column < columns);
            if let (Some(row), Some(column)) = (row, column) {
                *pixel = pixels[row * columns + column];
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    fn seen(augmentation: Augmentation, pixels: &[u8], size: [usize; 2]) -> BTreeSet<Vec<u8>> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..200).map(|_| augmentation.apply(pixels, size, &mut rng)).collect()
    }

    #[test]
    fn pictures_are_mirrored_and_moved_and_nothing_else() {
        let none = Augmentation::default();
        assert_eq!(seen(none, &[1, 2, 3, 4], [2, 2]), [vec![1, 2, 3, 4]].into());
        let flip = Augmentation { flip: true, ..none };
        let both = [vec![1, 2, 3, 4], vec![2, 1, 4, 3]].into();
        assert_eq!(seen(flip, &[1, 2, 3, 4], [2, 2]), both);
        let shift = Augmentation { shift: 1, ..none };
        let moved = seen(shift, &[1, 2, 3], [1, 3]);
        assert!(moved.contains(&vec![2, 3, 0]) && moved.contains(&vec![0, 1, 2]));
        assert_eq!(moved.len(), 4, "three places, and nothing when it moves out: {moved:?}");
    }
}
