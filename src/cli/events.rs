//! The steps of a training as comma-separated values, for whoever draws their own curves.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::iter;
use std::path::{Path, PathBuf};

use crate::arch::{Event, StepReport};
use crate::cli::Failure;
use crate::package;

/// Writes a line a step: epoch, step of the epoch, loss before it, learning rate.
pub struct Events {
    path: PathBuf,
    /// Keeps the lines of the epochs before the first that is written.
    go_on: bool,
    file: State,
}

enum State {
    /// Before the first step: a run that is refused changes nothing that is there.
    Waiting,
    Open(BufWriter<File>),
    /// Writing has failed: a run of hours does not end for that.
    Failed,
}

const HEAD: &str = "epoch,step,loss,learning_rate";

impl Events {
    /// Writes to a new file at `path`, or, with `go_on`, after the epochs that are there and are over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(path: &Path, go_on: bool) -> io::Result<Self> {
        // Tried now, and not when the data is read.
        File::options().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), go_on, file: State::Waiting })
    }

    pub fn write(&mut self, event: Event<'_>) {
        let Event::Step(report) = event else { return };
        if let Err(error) = self.step(report) {
            eprintln!("maas: --events: {error}; no more are written");
            self.file = State::Failed;
        }
    }

    fn step(&mut self, report: StepReport) -> Result<(), Failure> {
        if matches!(self.file, State::Waiting) {
            self.file = State::Open(BufWriter::new(self.begin(report.epoch)?));
        }
        let State::Open(file) = &mut self.file else { return Ok(()) };
        let StepReport { epoch, step, steps, loss, learning_rate } = report;
        writeln!(file, "{epoch},{step},{loss},{learning_rate}")?;
        if step == steps {
            // Before the epoch's checkpoint, from which a run goes on.
            file.flush()?;
        }
        Ok(())
    }

    /// The file with all that stays in it, at its end.
    fn begin(&self, epoch: usize) -> Result<File, Failure> {
        // What is no plain file, as a pipe, holds nothing, and its place is not taken.
        if !(self.go_on && self.path.is_file()) {
            let mut file = File::create(&self.path)?;
            writeln!(file, "{HEAD}")?;
            return Ok(file);
        }
        let there = fs::read_to_string(&self.path)?;
        package::replace(&self.path, kept(&there, epoch).as_bytes())?;
        Ok(File::options().append(true).open(&self.path)?)
    }
}

/// The head, and the whole lines of the epochs before `epoch`: a run that was killed leaves half a line, and steps that
/// are done again.
fn kept(there: &str, epoch: usize) -> String {
    let before = |line: &&str| {
        let of = line.split(',').next().and_then(|of| of.parse::<usize>().ok());
        line.ends_with('\n') && of.is_some_and(|of| of < epoch)
    };
    let lines = there.split_inclusive('\n').filter(before);
    iter::once(HEAD).chain(iter::once("\n")).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(epoch: usize, step: usize) -> Event<'static> {
        Event::Step(StepReport { epoch, step, steps: 2, loss: 0.5, learning_rate: 1e-3 })
    }

    fn run(path: &Path, go_on: bool, epoch: usize) {
        let mut events = Events::new(path, go_on).unwrap();
        events.write(step(epoch, 1));
        events.write(step(epoch, 2));
    }

    #[test]
    fn a_step_is_a_line_and_a_resumed_run_goes_on_below() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.csv");
        let text = || fs::read_to_string(&path).unwrap();
        run(&path, true, 1);
        run(&path, true, 2);
        let whole = "epoch,step,loss,learning_rate\n1,1,0.5,0.001\n1,2,0.5,0.001\n2,1,0.5,0.001\n2,2,0.5,0.001\n";
        assert_eq!(text(), whole);
        // Killed in the middle of a line of its third epoch, and before that in its second.
        for torn in [&format!("{whole}3,1,0.5,0.001\n3,2,0."), &whole[..whole.len() - 3]] {
            fs::write(&path, torn).unwrap();
            run(&path, true, 2);
            assert_eq!(text(), whole);
        }
        // Refused before its first step, a run changes nothing.
        Events::new(&path, false).unwrap();
        assert_eq!(text(), whole);
        run(&path, false, 1);
        assert_eq!(text().lines().count(), 3);
        assert!(Events::new(&directory.path().join("no/events.csv"), false).is_err());
    }
}
