//! The steps of a training as comma-separated values, for whoever draws their own curves.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::arch::{Event, StepReport};

/// Writes a line a step: epoch, step of the epoch, loss before it, learning rate.
pub struct Events {
    /// `None` once writing has failed: a run of hours does not end for that.
    file: Option<BufWriter<File>>,
}

const HEAD: &str = "epoch,step,loss,learning_rate";

impl Events {
    /// Writes to a new file at `path`, or, with `go_on`, after the lines that are there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(path: &Path, go_on: bool) -> io::Result<Self> {
        let fresh = !(go_on && path.exists());
        let mut file =
            File::options().create(true).append(!fresh).truncate(fresh).write(true).open(path)?;
        if fresh {
            writeln!(file, "{HEAD}")?;
        }
        Ok(Self { file: Some(BufWriter::new(file)) })
    }

    pub fn write(&mut self, event: Event<'_>) {
        let Some(file) = &mut self.file else { return };
        let written = match event {
            Event::Step(StepReport { epoch, step, loss, learning_rate, .. }) => {
                writeln!(file, "{epoch},{step},{loss},{learning_rate}")
            }
            Event::Epoch(_) => file.flush(),
        };
        if let Err(error) = written {
            eprintln!("maas: --events: {error}; no more are written");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::EpochReport;
    use std::collections::BTreeMap;

    fn run(path: &Path, go_on: bool, epoch: usize) {
        let mut events = Events::new(path, go_on).unwrap();
        for step in 1..=2 {
            events.write(Event::Step(StepReport {
                epoch,
                step,
                steps: 2,
                loss: 0.5,
                learning_rate: 1e-3,
            }));
        }
        events.write(Event::Epoch(&EpochReport {
            epoch,
            train_loss: 0.5,
            metrics: BTreeMap::new(),
            seconds: 1.0,
        }));
    }

    #[test]
    fn a_step_is_a_line_and_a_resumed_run_goes_on_below() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.csv");
        run(&path, true, 1);
        run(&path, true, 2);
        let expected = "epoch,step,loss,learning_rate\n1,1,0.5,0.001\n1,2,0.5,0.001\n2,1,0.5,0.001\n2,2,0.5,0.001\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        run(&path, false, 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}
