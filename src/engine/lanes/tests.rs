use super::*;
use std::sync::mpsc;

struct Countdown {
    left: AtomicU64,
    done: mpsc::Sender<Option<String>>,
    predicted: Duration,
}

impl Job for Countdown {
    fn predicted(&self) -> Option<Duration> {
        Some(self.predicted)
    }

    fn turn(&self) -> Again {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.done.send(std::thread::current().name().map(str::to_owned)).unwrap();
            return Again::No;
        }
        Again::Now
    }
}

#[test]
fn a_job_gets_as_many_turns_as_it_asks_for_in_the_lane_of_its_length() {
    let lanes = Lanes::start(2).unwrap();
    let (done, finished) = mpsc::channel();
    for (predicted, lane) in [(SHORT_MAX, "short-"), (2 * SHORT_MAX, "long-")] {
        let job = Countdown { left: AtomicU64::new(5), done: done.clone(), predicted };
        let flow = lanes.traffic().flow(0, Arc::new(job), 1, None);
        flow.ask(None);
        let thread = finished.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
        assert!(thread.starts_with(lane), "{thread}");
    }
    assert!(lanes.alive());
    assert!(lanes.traffic().busy() > Duration::ZERO);
}

/// Says on which threads its turns were.
struct Where {
    threads: Mutex<Vec<std::thread::ThreadId>>,
    turns: usize,
    done: mpsc::Sender<Vec<std::thread::ThreadId>>,
}

impl Job for Where {
    fn predicted(&self) -> Option<Duration> {
        Some(Duration::from_micros(10))
    }

    fn turn(&self) -> Again {
        let mut threads = self.threads.lock().unwrap();
        threads.push(std::thread::current().id());
        if threads.len() < self.turns {
            return Again::Now;
        }
        self.done.send(std::mem::take(&mut threads)).unwrap();
        Again::No
    }
}

#[test]
fn a_job_that_goes_on_wakes_no_other_thread() {
    let lanes = Lanes::start(4).unwrap();
    let (done, finished) = mpsc::channel();
    let job = Where { threads: Mutex::default(), turns: 1000, done };
    let flow = lanes.traffic().flow(0, Arc::new(job), 1, None);
    // One that has only just begun looks for work once.
    while lanes.shared.short.state().asleep < 4 {
        std::thread::yield_now();
    }
    flow.ask(None);
    let threads = finished.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");
}

#[test]
fn a_turn_of_some_microseconds_is_done_by_whoever_asks_where_nobody_waits() {
    let lanes = Lanes::start(1).unwrap();
    let (done, finished) = mpsc::channel();
    let flow = |predicted, left| {
        let job = Countdown { left: AtomicU64::new(left), done: done.clone(), predicted };
        lanes.traffic().flow(0, Arc::new(job), 1, None)
    };
    let thread = || finished.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    assert!(flow(HERE_MAX, 1).here());
    assert!(!thread().starts_with("short-"));
    assert!(lanes.traffic().busy() > Duration::ZERO);
    // What it leaves is done by the lane.
    let two = flow(HERE_MAX, 2);
    assert!(two.here());
    assert!(thread().starts_with("short-"));

    assert!(!flow(2 * HERE_MAX, 1).here(), "it is long");
    let waiting = flow(HERE_MAX, 1);
    waiting.ask(Some(Instant::now() + Duration::from_hours(1)));
    assert!(!flow(HERE_MAX, 1).here(), "others wait");
    drop(waiting);
    lanes.shared.short.guests[0].claim(1);
    assert!(!flow(HERE_MAX, 1).here(), "the lane has one thread, and one guest is at work");
}

#[test]
fn a_turn_that_may_wait_is_hurried() {
    let lanes = Lanes::start(1).unwrap();
    let (done, finished) = mpsc::channel();
    let job = Countdown { left: AtomicU64::new(1), done, predicted: SHORT_MAX };
    let flow = lanes.traffic().flow(0, Arc::new(job), 1, None);
    flow.ask(Some(Instant::now() + Duration::from_hours(1)));
    flow.hurry();
    finished.recv_timeout(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_flow_that_is_dropped_is_run_no_more() {
    let lanes = Lanes::start(1).unwrap();
    let (done, finished) = mpsc::channel();
    let job = Countdown { left: AtomicU64::new(1), done, predicted: SHORT_MAX };
    let flow = lanes.traffic().flow(0, Arc::new(job), 1, None);
    flow.ask(Some(Instant::now() + Duration::from_hours(1)));
    drop(flow);
    // Nobody holds the job any longer, so nobody can ever run it.
    assert_eq!(finished.recv(), Err(mpsc::RecvError));
}

/// Says that it has begun, and goes on when it is told to.
struct Gate {
    begun: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    predicted: Duration,
}

impl Job for Gate {
    fn predicted(&self) -> Option<Duration> {
        Some(self.predicted)
    }

    fn turn(&self) -> Again {
        self.begun.send(()).unwrap();
        self.go.lock().unwrap().recv().unwrap();
        Again::No
    }
}

#[test]
fn only_a_turn_that_is_long_enough_and_begins_alone_has_the_other_cores() {
    let lanes = Lanes::start(2).unwrap();
    let shared = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&shared);
    let around: Around = Arc::new(move |turn: &mut dyn FnMut()| {
        count.fetch_add(1, Ordering::SeqCst);
        turn();
    });
    let (begun, begins) = mpsc::channel();
    let gate = |predicted| {
        let (go, gate) = mpsc::channel();
        let job = Gate { begun: begun.clone(), go: Mutex::new(gate), predicted };
        let within = Within { around: Arc::clone(&around), only_alone: true };
        (lanes.traffic().flow(0, Arc::new(job), 1, Some(within)), go)
    };
    let ((first, go_first), (second, go_second)) = (gate(ALONE_MIN), gate(ALONE_MIN));
    first.ask(None);
    begins.recv().unwrap();
    assert_eq!(shared.load(Ordering::SeqCst), 1);
    second.ask(None);
    begins.recv().unwrap();
    assert_eq!(shared.load(Ordering::SeqCst), 1, "it has a neighbour");
    go_first.send(()).unwrap();
    go_second.send(()).unwrap();
    while lanes.traffic().running() > 0 {
        std::thread::yield_now();
    }
    let (brief, go_brief) = gate(ALONE_MIN / 2);
    brief.ask(None);
    begins.recv().unwrap();
    assert_eq!(shared.load(Ordering::SeqCst), 1, "it is over before others have woken");
    go_brief.send(()).unwrap();
}
