//! What a server does while it has nothing to do.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::compute::memory;
use crate::engine::Traffic;

/// Looks so often whether anything ran.
const LOOK: Duration = Duration::from_secs(1);

/// Looks after which the threads that decoded for the last requests have ended, which tokio lets them after ten
/// seconds, and have left what they held.
const THREADS_ENDED: u32 = 12;

/// Gives back the memory that requests have freed, once no network has run for a second. The allocator does so only
/// when it is asked for more, and what one recording freed is a third of a small server.
pub async fn give_back(traffic: Traffic) {
    let mut looks = interval(LOOK);
    let mut rest = Rest::default();
    loop {
        looks.tick().await;
        if rest.is_time(traffic.busy()) {
            // It takes milliseconds. A panic of it would be the allocator's.
            let _ = spawn_blocking(memory::give_back).await;
        }
    }
}

/// How long nothing has run.
#[derive(Debug, Default)]
struct Rest {
    /// What all networks have run until now.
    busy: Duration,
    looks: u32,
}

impl Rest {
    /// One look later: whether memory is to be given back.
    fn is_time(&mut self, busy: Duration) -> bool {
        if busy != self.busy {
            *self = Self { busy, looks: 0 };
            return false;
        }
        self.looks = self.looks.saturating_add(1);
        [1, THREADS_ENDED].contains(&self.looks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_a_second_after_the_last_run_and_once_more_when_threads_have_ended() {
        let mut rest = Rest::default();
        let mut given = |busy: u64, looks: usize| -> Vec<usize> {
            let busy = Duration::from_millis(busy);
            (0..looks).filter(|_| rest.is_time(busy)).collect()
        };
        assert_eq!(given(5, 100), [1, 12]);
        assert_eq!(given(6, 1), [0; 0], "it works");
        assert_eq!(given(7, 1), [0; 0], "and goes on");
        assert_eq!(given(7, 100), [0, 11]);
    }
}
