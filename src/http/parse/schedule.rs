//! The parameters that are the scheduler's and no model's: those of the Open Inference Protocol's schedule
//! policy extension.

use std::time::Duration;

use crate::domain::{Params, Priority, Problem};

/// The longest `timeout`: an hour. The server's own limit on deadlines is below it.
const TIMEOUT_US_MAX: u64 = 3_600_000_000;

/// When a request wants its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    pub priority: Priority,
    /// How long the answer may take, where the body says so.
    pub timeout: Option<Duration>,
}

/// Takes the schedule out of the parameters: `priority`, from 1 to the lowest, with 0 for the default; and
/// `timeout`, in microseconds.
///
/// # Errors
/// [`Problem`] when one is not in its range.
pub fn schedule(params: &mut Params) -> Result<Schedule, Problem> {
    let own = params.split_off(&["priority", "timeout"]);
    let mut reader = own.reader();
    let priority = reader.integer("priority", Priority::RANGE);
    let timeout = reader.integer("timeout", 1..=TIMEOUT_US_MAX);
    reader.finish()?;
    let level = priority.and_then(|level| u8::try_from(level).ok());
    Ok(Schedule {
        priority: level.and_then(Priority::new).unwrap_or_default(),
        timeout: timeout.map(Duration::from_micros),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ParamValue;

    fn params(pairs: &[(&str, f64)]) -> Params {
        let mut params = Params::default();
        for &(name, value) in pairs {
            params.insert(name, ParamValue::Number(value), format!("/parameters/{name}"));
        }
        params
    }

    #[test]
    fn the_schedule_is_taken_out_and_the_rest_is_left_to_the_model() {
        let mut asked = params(&[("priority", 1.0), ("timeout", 2500.0), ("top_k", 3.0)]);
        let found = schedule(&mut asked).unwrap();
        assert_eq!(found.priority, Priority::new(1).unwrap());
        assert_eq!(found.timeout, Some(Duration::from_micros(2500)));
        assert_eq!(asked, params(&[("top_k", 3.0)]));
        assert_eq!(schedule(&mut params(&[("priority", 0.0)])), Ok(Schedule::default()));
    }

    #[test]
    fn what_is_out_of_range_is_refused_where_it_was_said() {
        for (name, value) in [("priority", 4.0), ("priority", 0.5), ("timeout", 0.0)] {
            let problem = schedule(&mut params(&[(name, value)])).unwrap_err();
            assert_eq!(problem.faults[0].pointer, format!("/parameters/{name}"));
        }
    }
}
