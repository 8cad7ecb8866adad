//! The run of a training that all architectures share: epoch by epoch, with a checkpoint after each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use crate::arch::train::checkpoint::{self, Checkpoint, Note};
use crate::arch::train::learner::Learner;
use crate::arch::train::{EpochReport, Event, TrainError, TrainJob};
use crate::compute::{Device, Named, Trainable, device, kernels};
use crate::domain::Digest;
use crate::package::sha256;

/// What one architecture brings to the run.
pub trait Lesson {
    /// Optimiser steps in an epoch.
    fn steps(&self) -> usize;

    /// Learns everything once; the mean loss.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] from the learner, or what the data or the arithmetic refuse.
    fn epoch(&mut self, learner: &mut Learner<'_>) -> Result<f64, TrainError>;

    /// Figures on what is held out.
    ///
    /// # Errors
    /// When the arithmetic fails.
    fn measure(&mut self) -> Result<BTreeMap<String, f64>, TrainError>;

    /// The figure that tells a better epoch from a worse one.
    fn goal(&self) -> Goal;
}

/// A figure, and which way it gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    pub metric: &'static str,
    pub rises: bool,
}

impl Goal {
    /// Lower is better.
    fn distance(self, metrics: &BTreeMap<String, f64>) -> f64 {
        let value = metrics.get(self.metric).copied();
        value.map_or(f64::INFINITY, |value| if self.rises { -value } else { value })
    }
}

/// What a run came to. The weights are in its parameters: of the best epoch where the recipe has patience, else of the
/// last.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    pub metrics: BTreeMap<String, f64>,
    pub history: Vec<EpochReport>,
}

/// Runs `lesson` for the epochs of the job's recipe, from its beginning or from its checkpoint. `data` are the digests
/// of all that the recipe only names: data, labels, a vocabulary.
///
/// # Errors
/// [`TrainError::Checkpoint`] when there is one and the job does not resume, or none that it could resume, or
/// that of another run; else what the lesson refuses. The last checkpoint is there after any error.
pub fn run(
    job: &mut TrainJob<'_>,
    parameters: &Trainable,
    device: &Device,
    data: &[Digest],
    lesson: &mut dyn Lesson,
) -> Result<Finished, TrainError> {
    let fit = job.recipe.fit.clone();
    fit.check()?;
    let identity = identity(job, data, device);
    let path = checkpoint::path(&job.out, &job.recipe.name, job.recipe.version);
    let learner = Learner::new(&fit, parameters, job.seed, lesson.steps(), &mut *job.report)?;
    let (history, best) = (Vec::new(), Named::new());
    let mut course = Course {
        parameters,
        learner,
        goal: lesson.goal(),
        patience: fit.patience,
        identity,
        path,
        history,
        best,
    };
    if job.resume {
        course.resume(device)?;
    } else if course.path.exists() {
        let reason = "a run was cut off here: go on with --resume, or remove the file".to_owned();
        return Err(TrainError::Checkpoint { path: course.path, reason });
    }
    while course.history.len() < fit.epochs && !course.is_stale() {
        course.epoch(lesson)?;
    }
    course.finish(lesson)
}

/// A run goes on only as what it was: the same recipe, as long, from the same weights and seed, on the same
/// data, computed in the same way.
fn identity(job: &TrainJob<'_>, learned: &[Digest], device: &Device) -> Digest {
    let parent = job.parent.as_ref().map(|parent| parent.package.digest.to_string());
    let learned: Vec<String> = learned.iter().map(Digest::to_string).collect();
    let words = format!(
        "{}\n{} {}\n{}\n{}\n{parent:?}\n{:?}\n{}",
        learned.join(" "),
        device::name(device),
        kernels::best(),
        job.seed,
        job.recipe.fit.epochs,
        job.freeze,
        job.recipe_text
    );
    sha256(words.as_bytes())
}

struct Course<'a> {
    parameters: &'a Trainable,
    learner: Learner<'a>,
    goal: Goal,
    /// Epochs that may be no better than the best before them; 0 asks nobody to stop.
    patience: usize,
    identity: Digest,
    path: PathBuf,
    history: Vec<EpochReport>,
    /// The weights of the best epoch, where it is not the last and will be asked for.
    best: Named,
}

impl Course<'_> {
    fn resume(&mut self, device: &Device) -> Result<(), TrainError> {
        let Checkpoint { note, weights, moments, best } = Checkpoint::read(&self.path, device)?;
        if note.run != self.identity {
            let reason = "it is of another recipe, seed, parent, number of epochs or data, or of another kind of \
                          processor: give what the run was begun with, or remove the file";
            return Err(TrainError::Checkpoint {
                path: self.path.clone(),
                reason: reason.to_owned(),
            });
        }
        self.parameters.restore(&weights)?;
        self.learner.restore(note.place, &moments)?;
        (self.history, self.best) = (note.history, best);
        Ok(())
    }

    fn epoch(&mut self, lesson: &mut dyn Lesson) -> Result<(), TrainError> {
        let began = Instant::now();
        let before = self.best_epoch();
        if self.patience > 0 && before.is_some_and(|best| best + 1 == self.history.len()) {
            self.best = self.parameters.snapshot()?;
        }
        let train_loss = lesson.epoch(&mut self.learner)?;
        let metrics = self.measured(lesson)?;
        let seconds = began.elapsed().as_secs_f64();
        let report = EpochReport { epoch: self.history.len() + 1, train_loss, metrics, seconds };
        self.history.push(report.clone());
        if self.best_epoch() != before {
            self.best = Named::new();
        }
        self.checkpoint()?;
        // Whoever hears of an epoch may rely on it: it is kept already.
        self.learner.tell(Event::Epoch(&report));
        Ok(())
    }

    /// The figures after an epoch. The last step's update is in no loss yet, so the weights are looked at themselves.
    fn measured(&self, lesson: &mut dyn Lesson) -> Result<BTreeMap<String, f64>, TrainError> {
        if !self.parameters.are_finite()? {
            return Err(self.learner.broke("a weight is no longer finite"));
        }
        let metrics = match lesson.measure() {
            Err(TrainError::NotFinite { .. }) => None,
            measured => Some(measured?),
        };
        let finite = |metrics: &BTreeMap<_, f64>| metrics.values().all(|figure| figure.is_finite());
        let metrics = metrics
            .filter(finite)
            .ok_or_else(|| self.learner.broke("what the network answers is no longer finite"))?;
        if !metrics.contains_key(self.goal.metric) {
            return Err(TrainError::Data(format!(
                "nothing in it gives the figure {}, which tells a better epoch from a worse one: hold samples out \
                 that are to be measured on",
                self.goal.metric
            )));
        }
        Ok(metrics)
    }

    fn checkpoint(&self) -> Result<(), TrainError> {
        let note =
            Note { run: self.identity, place: self.learner.place(), history: self.history.clone() };
        let (weights, moments) = (self.parameters.snapshot()?, self.learner.moments());
        Checkpoint { note, weights, moments, best: self.best.clone() }.write(&self.path)
    }

    /// The first of the best epochs, counted from 0.
    fn best_epoch(&self) -> Option<usize> {
        let distance = |index: &usize| self.goal.distance(&self.history[*index].metrics);
        (0..self.history.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }

    /// Whether so many epochs were no better than the best before them.
    fn is_stale(&self) -> bool {
        self.patience > 0
            && self.best_epoch().is_some_and(|best| self.history.len() - 1 - best >= self.patience)
    }

    /// With patience the best epoch is kept, however the run came to its end.
    fn finish(self, lesson: &mut dyn Lesson) -> Result<Finished, TrainError> {
        let last = self.history.len().checked_sub(1);
        let chosen = if self.patience > 0 { self.best_epoch() } else { last };
        if chosen != last {
            self.parameters.restore(&self.best)?;
        }
        let metrics = match chosen {
            Some(index) => self.history[index].metrics.clone(),
            None => lesson.measure()?,
        };
        Ok(Finished { metrics, history: self.history })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{OnBadSample, Recipe};
    use crate::compute::{Init, Parameters};
    use candle_core::{Tensor, Var};
    use rand::RngExt;

    /// Walks down a bowl, pushed about by chance; its figures are told beforehand.
    struct Bowl {
        place: Tensor,
        epochs: usize,
        figures: Vec<f64>,
        /// Ends the run at this epoch as a killed process would.
        dies: usize,
        /// After this epoch its place is no number.
        breaks: usize,
        goal: &'static str,
    }

    impl Lesson for Bowl {
        fn steps(&self) -> usize {
            3
        }

        fn epoch(&mut self, learner: &mut Learner<'_>) -> Result<f64, TrainError> {
            self.epochs += 1;
            let mut loss = 0.0;
            for _ in 0..self.steps() {
                if self.epochs == self.dies {
                    return Err(TrainError::Data("killed".to_owned()));
                }
                let push = f64::from(learner.rng.random::<f32>());
                loss = learner.descend(&((&self.place + push)?.sqr()?.sum_all())?)?;
            }
            if self.epochs == self.breaks {
                Var::from_tensor(&self.place)?.set(&(&self.place * f64::NAN)?)?;
            }
            Ok(loss)
        }

        fn measure(&mut self) -> Result<BTreeMap<String, f64>, TrainError> {
            let figure = self.figures.get(self.epochs - 1).copied().unwrap_or(1.0);
            Ok(BTreeMap::from([("error".to_owned(), figure)]))
        }

        fn goal(&self) -> Goal {
            Goal { metric: self.goal, rises: false }
        }
    }

    const RECIPE: &str = r#"
        name = "bowl"
        version = 1
        task = "none"
        description = ""
        author = ""
        licence = ""
        architecture = { name = "none", config = {} }
        data = {}
        [fit]
        epochs = 5
        batch = 1
        optimiser = { method = "adam", learning_rate = 0.1 }
        schedule = { kind = "cosine" }
    "#;

    struct Run {
        out: tempfile::TempDir,
        recipe: String,
        seed: u64,
        breaks: usize,
        goal: &'static str,
        learned: &'static [u8],
    }

    impl Run {
        fn new() -> Self {
            let out = tempfile::tempdir().unwrap();
            std::fs::create_dir(out.path().join("bowl")).unwrap();
            let recipe = RECIPE.to_owned();
            Self { out, recipe, seed: 7, breaks: 0, goal: "error", learned: b"vocabulary" }
        }

        fn checkpoint(&self) -> PathBuf {
            self.out.path().join("bowl/.1.checkpoint")
        }

        /// The place where it ended.
        fn run(
            &self,
            resume: bool,
            dies: usize,
            figures: &[f64],
        ) -> Result<(f32, Finished), TrainError> {
            let mut made = Trainable::new(self.seed, &Device::Cpu);
            let place = made.get("place", &[1, 1], Init::Uniform(1.0)).unwrap();
            let mut job = TrainJob {
                recipe: toml::from_str::<Recipe>(&self.recipe).unwrap(),
                recipe_text: self.recipe.clone(),
                command: String::new(),
                source_revision: String::new(),
                data: None,
                parent: None,
                freeze: Vec::new(),
                seed: self.seed,
                on_bad_sample: OnBadSample::Fail,
                out: self.out.path().to_owned(),
                resume,
                report: &mut |event| {
                    // Whoever hears of an epoch finds it kept.
                    let told = event.epoch().map(|report| report.epoch);
                    assert!(told.is_none_or(|epoch| epoch == self.epochs_kept()));
                },
            };
            let before = if resume { self.epochs_kept() } else { 0 };
            let figures = figures.to_vec();
            let (epochs, breaks, goal) = (before, self.breaks, self.goal);
            let mut lesson = Bowl { place: place.clone(), epochs, figures, dies, breaks, goal };
            let learned = [sha256(b"data"), sha256(self.learned)];
            let finished = run(&mut job, &made, &Device::Cpu, &learned, &mut lesson)?;
            let ends = Var::from_tensor(&place).unwrap().flatten_all().unwrap();
            Ok((ends.to_vec1::<f32>().unwrap()[0], finished))
        }

        fn epochs_kept(&self) -> usize {
            Checkpoint::read(&self.checkpoint(), &Device::Cpu).map_or(0, |c| c.note.history.len())
        }
    }

    #[test]
    fn a_run_that_was_cut_off_ends_where_it_would_have() {
        let (whole, finished) = Run::new().run(false, 0, &[]).unwrap();
        assert_eq!(finished.history.len(), 5);
        let cut = Run::new();
        cut.run(false, 4, &[]).unwrap_err();
        assert_eq!(cut.epochs_kept(), 3);
        let (resumed, again) = cut.run(true, 0, &[]).unwrap();
        assert_eq!(resumed.to_bits(), whole.to_bits());
        let losses = |run: &Finished| run.history.iter().map(|r| r.train_loss).collect::<Vec<_>>();
        assert_eq!(losses(&again), losses(&finished));
    }

    #[test]
    fn a_checkpoint_is_never_passed_over_or_taken_for_anothers() {
        let mut run = Run::new();
        let reason =
            |outcome: Result<(f32, Finished), TrainError>| outcome.unwrap_err().to_string();
        assert!(reason(run.run(true, 0, &[])).contains("begin without --resume"));
        run.run(false, 2, &[]).unwrap_err();
        assert!(reason(run.run(false, 0, &[])).contains("go on with --resume"));
        run.seed = 8;
        assert!(reason(run.run(true, 0, &[])).contains("another recipe, seed"));
        (run.seed, run.learned) = (7, b"another vocabulary");
        assert!(reason(run.run(true, 0, &[])).contains("another recipe, seed"));
        (run.learned, run.recipe) = (b"vocabulary", RECIPE.replace("0.1", "0.2"));
        assert!(reason(run.run(true, 0, &[])).contains("another recipe, seed"));
        std::fs::write(run.checkpoint(), b"half of it").unwrap();
        assert!(reason(run.run(true, 0, &[])).contains("does not read"));
    }

    #[test]
    fn a_run_that_gets_no_better_stops_and_keeps_its_best_epoch() {
        let figures = [0.9, 0.5, 0.7, 0.6, 0.1];
        let mut patient = Run::new();
        patient.recipe = RECIPE.replace("batch = 1", "batch = 1\n patience = 2");
        let (stopped, finished) = patient.run(false, 0, &figures).unwrap();
        assert_eq!((finished.history.len(), finished.metrics["error"]), (4, 0.5));
        // The weights are those after the second epoch.
        let two = Run::new();
        two.run(false, 3, &figures).unwrap_err();
        let kept = Checkpoint::read(&two.checkpoint(), &Device::Cpu).unwrap();
        let kept = kept.weights["place"].flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        assert_eq!(stopped.to_bits(), kept.to_bits());
        // Cut off after its third epoch, it still knows them.
        let mut cut = Run::new();
        cut.recipe = patient.recipe.clone();
        cut.run(false, 4, &figures).unwrap_err();
        assert_eq!(cut.run(true, 0, &figures).unwrap().0.to_bits(), stopped.to_bits());
    }

    #[test]
    fn a_run_that_diverges_keeps_its_last_checkpoint() {
        let run = Run::new();
        let error = run.run(false, 0, &[0.5, 0.4, f64::NAN]).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { step: 9, .. }), "{error}");
        assert_eq!(run.epochs_kept(), 2);
    }

    #[test]
    fn weights_that_the_last_step_broke_are_not_kept() {
        let run = Run { breaks: 5, ..Run::new() };
        let error = run.run(false, 0, &[]).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { step: 15, .. }), "{error}");
        assert!(error.to_string().contains("a weight is no longer finite"), "{error}");
        assert_eq!(run.epochs_kept(), 4);
    }

    #[test]
    fn a_run_whose_goal_nothing_measures_is_refused() {
        let run = Run { goal: "wer", ..Run::new() };
        let error = run.run(false, 0, &[]).unwrap_err().to_string();
        assert!(error.contains("the figure wer"), "{error}");
    }

    #[test]
    fn patience_keeps_the_best_epoch_where_the_epochs_run_out() {
        let figures = [0.9, 0.5, 0.8, 0.7, 0.6];
        let mut patient = Run::new();
        patient.recipe = RECIPE.replace("batch = 1", "batch = 1\n patience = 4");
        let (kept, finished) = patient.run(false, 0, &figures).unwrap();
        assert_eq!((finished.history.len(), finished.metrics["error"]), (5, 0.5));
        let two = Run::new();
        two.run(false, 3, &figures).unwrap_err();
        let second = Checkpoint::read(&two.checkpoint(), &Device::Cpu).unwrap();
        let second = second.weights["place"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(kept.to_bits(), second[0].to_bits());
        // Nobody asks for the best without patience, so no checkpoint holds it.
        let impatient = Run::new();
        let (_, finished) = impatient.run(false, 0, &figures).unwrap();
        assert_eq!(finished.metrics["error"].to_bits(), 0.6_f64.to_bits());
        let last = Checkpoint::read(&impatient.checkpoint(), &Device::Cpu).unwrap();
        assert!(last.best.is_empty());
    }

    #[test]
    fn figures_come_back_to_the_last_bit() {
        let run = Run::new();
        let figures = [7.0 / 460.0, 1.0 / 3.0, 0.1 + 0.2, 5e-324];
        run.run(false, 5, &figures).unwrap_err();
        let kept = Checkpoint::read(&run.checkpoint(), &Device::Cpu).unwrap().note.history;
        let bits: Vec<u64> = kept.iter().map(|epoch| epoch.metrics["error"].to_bits()).collect();
        assert_eq!(bits, figures.map(f64::to_bits));
    }
}
