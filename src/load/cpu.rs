//! CPU time of this process.

use std::time::Duration;

/// Linux counts in hundredths of a second (`USER_HZ`), whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// What all threads of this process have used, in the kernel and outside it; nothing where the system does not
/// say it in `/proc` (`man 5 proc_pid_stat`).
#[must_use]
pub fn used() -> Option<Duration> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse(stat: &str) -> Option<Duration> {
    // The second field is a name in brackets that may hold anything; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * ticks()?.checked_add(ticks()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let stat = "17 (a) b c) S 1 17 17 0 -1 4194560 900 0 0 0 250 50 7 8 20 0 3 0 99";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("17 (a"), None);
    }
}
