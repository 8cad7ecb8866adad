//! Threads that share work: all of it is done, once, by as many as there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::compute::kernels::team::{self, Team};

#[test]
fn every_piece_is_done_once() {
    for threads in 1..=4 {
        let team = Team::new(threads);
        for pieces in [0, 1, 2, 7, 63, 64, 65, 200] {
            let done: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
            team.install(|| {
                team::each(pieces, &|piece| _ = done[piece].fetch_add(1, Ordering::Relaxed));
            });
            let times: Vec<usize> = done.into_iter().map(AtomicUsize::into_inner).collect();
            assert_eq!(times, vec![1; pieces], "{threads} threads");
        }
    }
}

#[test]
fn shares_are_whole_units_and_leave_nothing_out() {
    for threads in 1..=3 {
        let team = Team::new(threads);
        for (count, unit) in [(0, 4), (1, 4), (4, 4), (5, 4), (12, 2), (63, 4), (196, 12), (200, 1)]
        {
            // Little work and much of it.
            for (work, pieces) in [(0, 3), (usize::MAX, 8)] {
                let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                let longest = AtomicUsize::new(0);
                team.install(|| {
                    team::share(count, unit, work, &|own| {
                        assert!(!own.is_empty() && own.start % unit == 0, "{own:?}");
                        assert!(own.end % unit == 0 || own.end == count, "{own:?}");
                        longest.fetch_max(own.len(), Ordering::Relaxed);
                        own.for_each(|at| _ = done[at].fetch_add(1, Ordering::Relaxed));
                    });
                });
                let once = done.iter().all(|times| times.load(Ordering::Relaxed) == 1);
                assert!(once, "{count} by {unit}");
                let even = count.div_ceil(unit).div_ceil(threads * pieces) * unit;
                assert!(longest.into_inner() <= even, "{count} by {unit} among {threads}");
            }
        }
    }
}

#[test]
fn helpers_take_part_whether_they_slept_or_not() {
    let team = Team::new(2);
    for pause in [0, 0, 5, 0, 5] {
        std::thread::sleep(Duration::from_millis(pause));
        // Neither piece ends before both have begun: one thread alone would wait for ever.
        let both = Barrier::new(2);
        team.install(|| team::each(2, &|_| _ = both.wait()));
    }
}

#[test]
fn a_team_outlives_a_panic() {
    let team = Team::new(2);
    let panics = || {
        team.install(|| team::each(9, &|piece| assert!(piece != 5, "piece {piece} panics")));
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    let done = AtomicUsize::new(0);
    team.install(|| team::each(9, &|_| _ = done.fetch_add(1, Ordering::Relaxed)));
    assert_eq!(done.into_inner(), 9);
}
