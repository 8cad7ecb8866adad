//! Whose turn it is: start-time fair queuing (Goyal, Vin and Cheng 1996), in predicted time. Pure: the
//! lanes are a thin shell around it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Names a flow: all jobs of one model in one lane.
pub type FlowId = u64;

/// A turn that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub flow: FlowId,
    /// A flow of weight 2 gets twice the time of a flow of weight 1 while both have work.
    pub weight: u32,
    /// What the turn should take.
    pub predicted: Duration,
    /// The turn may wait until then for more to do.
    pub not_before: Option<Instant>,
}

/// Turns that wait, in virtual time: the seconds that each flow has had, divided by its weight.
#[derive(Debug)]
pub struct FairQueue<T> {
    /// The start of the turn that began last.
    clock: f64,
    turns: Vec<Turn<T>>,
    /// Where each flow's next turn starts, at the earliest.
    finish: BTreeMap<FlowId, f64>,
}

#[derive(Debug)]
struct Turn<T> {
    claim: Claim,
    start: f64,
    item: T,
}

/// What a free worker finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// With what was claimed for it.
    Turn(Claim, T),
    /// Nothing before then.
    At(Instant),
    Nothing,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { clock: 0.0, turns: Vec::new(), finish: BTreeMap::new() }
    }
}

impl<T> FairQueue<T> {
    /// Puts a turn in line. A flow that was idle starts now: it is owed nothing for that time.
    pub fn push(&mut self, claim: Claim, item: T) {
        let finish = self.finish.entry(claim.flow).or_insert(self.clock);
        let start = finish.max(self.clock);
        *finish = start + cost(claim.predicted, claim.weight);
        self.turns.push(Turn { claim, start, item });
    }

    /// The turn with the earliest start among those that need not wait; the first that came among equals.
    pub fn pop(&mut self, now: Instant) -> Next<T> {
        let ready = |turn: &Turn<T>| turn.claim.not_before.is_none_or(|at| at <= now);
        let turns = self.turns.iter().enumerate().filter(|(_, turn)| ready(turn));
        let first = turns.min_by(|(_, a), (_, b)| a.start.total_cmp(&b.start));
        let Some((index, _)) = first else {
            let soonest = self.turns.iter().filter_map(|turn| turn.claim.not_before).min();
            return soonest.map_or(Next::Nothing, Next::At);
        };
        // Not `swap_remove`: the order of arrival decides among equals.
        let turn = self.turns.remove(index);
        self.clock = self.clock.max(turn.start);
        Next::Turn(turn.claim, turn.item)
    }

    /// A turn took another time than was claimed for it.
    pub fn correct(&mut self, claim: Claim, took: Duration) {
        if let Some(finish) = self.finish.get_mut(&claim.flow) {
            *finish += cost(took, claim.weight) - cost(claim.predicted, claim.weight);
        }
    }

    /// The flow's turns wait for nothing any longer.
    pub fn hurry(&mut self, flow: FlowId) {
        for turn in self.turns.iter_mut().filter(|turn| turn.claim.flow == flow) {
            turn.claim.not_before = None;
        }
    }

    /// A job of the flow is over: its turns are those that `gone` says.
    pub fn forget(&mut self, flow: FlowId, gone: impl Fn(&T) -> bool) {
        self.turns.retain(|turn| !gone(&turn.item));
        if self.turns.iter().all(|turn| turn.claim.flow != flow) {
            self.finish.remove(&flow);
        }
    }

    /// Whether turns are in line, be it that they may wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

fn cost(time: Duration, weight: u32) -> f64 {
    time.as_secs_f64() / f64::from(weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn claim(flow: FlowId, weight: u32, predicted: Duration) -> Claim {
        Claim { flow, weight, predicted, not_before: None }
    }

    /// Runs `turns` turns of flows that always want another; how many each flow got.
    fn run(flows: &[(u32, Duration, Duration)], turns: usize) -> Vec<usize> {
        let mut queue = FairQueue::default();
        let ask = |queue: &mut FairQueue<usize>, flow: usize| {
            let (weight, predicted, _) = flows[flow];
            queue.push(claim(flow as u64, weight, predicted), flow);
        };
        (0..flows.len()).for_each(|flow| ask(&mut queue, flow));
        let mut got = vec![0; flows.len()];
        for _ in 0..turns {
            let Next::Turn(claim, flow) = queue.pop(Instant::now()) else {
                panic!("nothing to do")
            };
            got[flow] += 1;
            queue.correct(claim, flows[flow].2);
            ask(&mut queue, flow);
        }
        got
    }

    #[test]
    fn time_is_shared_by_weight_and_not_by_turns() {
        assert_eq!(run(&[(1, MS, MS), (1, MS, MS)], 100), [50, 50]);
        assert_eq!(run(&[(1, MS, MS), (3, MS, MS)], 100), [25, 75]);
        // One whose turns are nine times as long gets a ninth as many.
        let got = run(&[(1, 9 * MS, 9 * MS), (1, MS, MS)], 100);
        assert!((9..=11).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn a_wrong_prediction_is_made_good() {
        let got = run(&[(1, MS, 9 * MS), (1, MS, MS)], 1000);
        assert!((90..=110).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn a_flow_that_was_idle_is_owed_nothing() {
        let mut queue = FairQueue::default();
        for _ in 0..50 {
            queue.push(claim(1, 1, MS), 1);
            assert_eq!(queue.pop(Instant::now()), Next::Turn(claim(1, 1, MS), 1));
        }
        // Flow 2 comes late: it is served in turns, and does not catch up on fifty.
        let mut order = Vec::new();
        (0..2).for_each(|_| queue.push(claim(1, 1, MS), 1));
        (0..2).for_each(|_| queue.push(claim(2, 1, MS), 2));
        while let Next::Turn(_, flow) = queue.pop(Instant::now()) {
            order.push(flow);
        }
        assert_eq!(order, [2, 1, 2, 1]);
    }

    #[test]
    fn a_turn_that_may_wait_holds_up_nobody_and_can_be_hurried() {
        let now = Instant::now();
        let later = now + MS;
        let mut queue = FairQueue::default();
        queue.push(Claim { not_before: Some(later), ..claim(1, 1, MS) }, 1);
        assert_eq!(queue.pop(now), Next::At(later));
        queue.push(claim(2, 1, MS), 2);
        assert_eq!(queue.pop(now), Next::Turn(claim(2, 1, MS), 2));
        queue.hurry(1);
        assert_eq!(queue.pop(now), Next::Turn(claim(1, 1, MS), 1));
        assert_eq!(queue.pop(now), Next::Nothing);
    }

    #[test]
    fn a_flow_that_is_forgotten_leaves_nothing() {
        let mut queue = FairQueue::default();
        queue.push(claim(1, 1, MS), 1);
        queue.push(claim(1, 1, MS), 2);
        queue.forget(1, |&job| job == 1);
        assert_eq!((queue.turns.len(), queue.finish.len()), (1, 1), "another job of the model");
        queue.forget(1, |&job| job == 2);
        assert!(queue.is_empty() && queue.finish.is_empty());
    }
}
