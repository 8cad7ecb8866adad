//! Chance that depends on numbers alone: which samples a part gets, and in which order an epoch goes.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::dataset::DataError;

/// Which part is drawn: another share of one does not change the other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    Test = 1,
    Validation = 2,
}

/// A share of something: 0 or more, below 1.
pub(super) fn check_share(key: &'static str, share: f64) -> Result<(), DataError> {
    if (0.0..1.0).contains(&share) {
        return Ok(());
    }
    Err(DataError::key(key, format!("expected a share of 0 or more and below 1, got {share}")))
}

/// Draws `share` of `samples` out by a seed: those that stay, and those that were drawn, both in their
/// order. At least one is drawn for a share above 0, where there are two.
pub(super) fn hold_out(
    samples: &[usize],
    share: f64,
    seed: u64,
    held: Held,
) -> (Vec<usize>, Vec<usize>) {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share below 1 of a count far below 2^52"
    )]
    let wanted = (samples.len() as f64 * share).round() as usize;
    let wanted = if share > 0.0 && samples.len() > 1 { wanted.max(1) } else { wanted };
    let mut drawn = samples.to_vec();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(held as u64);
    drawn.shuffle(&mut rng);
    let mut stay = drawn.split_off(wanted.min(drawn.len()));
    stay.sort_unstable();
    drawn.sort_unstable();
    (stay, drawn)
}

/// The order of `count` samples in an epoch.
#[must_use]
pub fn order(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(seed, epoch, 0));
    order
}

/// The random numbers of one sample in one epoch, whichever thread prepares it and when.
#[must_use]
pub fn random(seed: u64, epoch: usize, sample: usize) -> ChaCha8Rng {
    stream(seed, epoch, sample as u64 + 1)
}

fn stream(seed: u64, epoch: usize, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_seed_fixes_which_samples_are_held_out() {
        let all: Vec<usize> = (0..100).collect();
        let (stay, drawn) = hold_out(&all, 0.2, 7, Held::Test);
        assert_eq!((stay.len(), drawn.len()), (80, 20));
        assert_eq!(hold_out(&all, 0.2, 7, Held::Test), (stay.clone(), drawn.clone()));
        assert_ne!(hold_out(&all, 0.2, 8, Held::Test).1, drawn);
        assert_ne!(hold_out(&all, 0.2, 7, Held::Validation).1, drawn);
        assert!(stay.is_sorted() && drawn.is_sorted());
        let mut both = [stay, drawn].concat();
        both.sort_unstable();
        assert_eq!(both, all);
        assert_eq!(hold_out(&all[..3], 0.1, 0, Held::Test).1.len(), 1);
        assert_eq!(hold_out(&all, 0.0, 0, Held::Test).1.len(), 0);
    }

    #[test]
    fn a_share_that_leaves_nothing_is_refused() {
        for share in [-0.1, 1.0, f64::NAN] {
            assert!(check_share("test", share).is_err(), "{share}");
        }
        check_share("test", 0.0).unwrap();
    }

    #[test]
    fn every_sample_of_every_epoch_has_its_own_numbers() {
        let first = |seed, epoch, sample| random(seed, epoch, sample).next_u64();
        let all = [(1, 1, 0), (1, 1, 1), (1, 2, 0), (2, 1, 0)].map(|(a, b, c)| first(a, b, c));
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a));
        }
        assert_eq!(first(1, 1, 0), all[0]);
        assert_eq!(order(50, 1, 1), order(50, 1, 1));
        assert_ne!(order(50, 1, 1), order(50, 1, 2));
    }
}
