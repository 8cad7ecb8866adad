//! Cutting long sound where it is quiet.

use std::ops::Range;

/// The ranges of windows of at most `longest` samples that together are `0..samples.len()`. A cut is
/// made in the later half of a window, in the middle of its quietest fifth of a second. There is always
/// one range, also of no sample.
#[must_use]
pub fn cut(samples: &[f32], longest: usize, sample_rate: u32) -> Vec<Range<usize>> {
    let longest = longest.max(2);
    // 20 ms: the step in which loudness is looked at.
    let step = (sample_rate as usize / 50).max(1);
    let mut ranges = Vec::new();
    let mut start = 0;
    while samples.len() - start > longest {
        let later = start + longest / 2..start + longest;
        let end = later.start + quietest(&samples[later], step);
        ranges.push(start..end);
        start = end;
    }
    ranges.push(start..samples.len());
    ranges
}

/// Where the ten steps with the least energy together have their middle; at least 1.
fn quietest(samples: &[f32], step: usize) -> usize {
    let energies: Vec<f32> =
        samples.chunks(step).map(|chunk| chunk.iter().map(|s| s * s).sum()).collect();
    let span = energies.len().clamp(1, 10);
    let sums: Vec<f32> = energies.windows(span).map(|window| window.iter().sum()).collect();
    let best = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap_or(0);
    (best * step + span * step / 2).clamp(1, samples.len().max(1))
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;

    #[test]
    fn cuts_fall_into_the_pause() {
        // Loud, but for half a second from 6.0 s on.
        let mut samples = vec![0.5; 160_000];
        samples[96_000..104_000].fill(0.0);
        let ranges = cut(&samples, 128_000, 16_000);
        assert_eq!(ranges.len(), 2);
        assert!((97_000..103_000).contains(&ranges[0].end), "{ranges:?}");
        assert_eq!(ranges[1], ranges[0].end..160_000);
    }

    #[test]
    fn windows_cover_everything_and_are_never_too_long() {
        for length in [0, 1, 7, 100, 101, 12_345] {
            let samples: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin()).collect();
            let ranges = cut(&samples, 100, 16_000);
            assert_eq!(ranges[0].start, 0);
            assert_eq!(ranges.last().unwrap().end, length);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(ranges.iter().all(|range| range.len() <= 100));
        }
    }
}
