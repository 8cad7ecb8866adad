//! The endpoint of an encoder and a decoder. The encoder's job makes one window after the other ready; the
//! decoder's job is a step loop that windows join when they are. So one thread encodes while another steps, and
//! a short recording waits for no long one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::{Fragment, Kind, Params, Problem};
use crate::engine::admission::Place;
use crate::engine::batch::Urgency;
use crate::engine::control::{Control, Rest};
use crate::engine::cpu::Where;
use crate::engine::generate::caller::{Ended, What};
use crate::engine::generate::collector::Collector;
use crate::engine::generate::pieces::{self, Encoder};
use crate::engine::generate::steps::Steps;
use crate::engine::generate::windows::{Listening, Windows};
use crate::engine::lanes::{Again, Flow, Job};
use crate::engine::pace::Mean;
use crate::engine::{
    Batches, Codec, Decoding, EncoderDecoder, Endpoint, ModelStats, Places, Reply, Request,
};

type Output<E> = <<E as EncoderDecoder>::Decoding as Decoding>::Output;

/// The one loop of a decoder: its weights are so large that reading them once a step is what a step costs.
const LOOP: usize = 0;

/// The longest that windows wait for others to be stepped with: about what a window takes to encode.
const GATHER_MAX: Duration = Duration::from_millis(200);

/// An encoder and a decoder behind their queues.
pub struct Recognition<E: EncoderDecoder, C> {
    network: Arc<E>,
    codec: Arc<C>,
    stages: Arc<Stages<E>>,
    places: Places,
}

struct Stages<E: EncoderDecoder> {
    windows: Windows<E::Decoding>,
    steps: Steps<E, Listening<E::Decoding>>,
    /// What a window takes to encode.
    encoding: Mean,
    control: Arc<Control>,
    encoder: Flow,
    decoder: Flow,
}

/// A turn encodes one window. The stages own the job's place in the lanes, so it does not own them.
struct Encode<E: EncoderDecoder>(Weak<Stages<E>>);

/// A turn is one step of every window that is encoded.
struct Step<E: EncoderDecoder>(Weak<Stages<E>>);

impl<E, C> Recognition<E, C>
where
    E: EncoderDecoder,
    C: Codec<Sample = E::Sample, Output = Output<E>>,
{
    pub fn new(network: Arc<E>, codec: C, places: Places) -> Self {
        let control = Arc::clone(&places.control);
        let (rows_max, threads) = (control.limits.batch_rows_max, places.traffic.threads());
        let turns_max = control.limits.instances(threads);
        let stages = Arc::new_cyclic(|stages: &Weak<Stages<E>>| Stages {
            windows: Windows::new(rows_max, turns_max, Arc::clone(&control)),
            steps: Steps::new(Arc::clone(&network), Arc::clone(&control), LOOP + 1),
            encoding: Mean::default(),
            encoder: places.flow(Arc::new(Encode(Weak::clone(stages)))),
            decoder: places.flow(Arc::new(Step(Weak::clone(stages)))),
            control,
        });
        Self { network, codec: Arc::new(codec), stages, places }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let Request { payload, mut params, deadline, priority } = request;
        let streams = streams(&mut params, payload.items.len())?;
        let mut place = self.places.control.enter(priority, deadline)?;
        let began = Instant::now();
        let (codec, network) = (Arc::clone(&self.codec), Arc::clone(&self.network));
        let open = move || {
            let (samples, ask) = codec.decode(payload, &params)?;
            let opened = samples.into_iter().map(|sample| network.open(sample));
            Ok((opened.collect::<Vec<_>>(), ask))
        };
        let (decodings, ask) = self.places.cpu.run(Where::Pool, open).await?;
        let items = decodings.len();
        place.counts(items);
        let urgency = Urgency { priority, deadline };
        let collector = self.begin(decodings, urgency, began, place)?;
        let encoder = Encoder { codec: Arc::clone(&self.codec), ask, cpu: self.places.cpu.clone() };
        if streams {
            return Ok(Reply::Stream(pieces::stream(collector, items, encoder)));
        }
        encoder.answer(collector.all().await?).await.map(Reply::Whole)
    }

    /// All samples of a request wait for the encoder, or none.
    fn begin(
        &self,
        decodings: Vec<E::Decoding>,
        urgency: Urgency,
        began: Instant,
        place: Place,
    ) -> Result<Collector<Output<E>>, Problem> {
        let (collector, caller) = Collector::new(decodings.len(), urgency, began.elapsed(), place);
        let request = Arc::<AtomicUsize>::default();
        let listening =
            |(index, decoding)| Listening::new(decoding, caller.of(index), Arc::clone(&request));
        // Silence, say, has no window.
        let (over, on): (Vec<_>, Vec<_>) = decodings
            .into_iter()
            .enumerate()
            .map(listening)
            .partition(|sample| sample.decoding.is_over());
        let control = &self.places.control;
        let admitted = self.stages.windows.admit(on, control.limits.queue_rows_max);
        admitted.map_err(|waiting| control.admission.full(waiting, &control.stats))?;
        over.into_iter().for_each(finish);
        self.stages.encode();
        Ok(collector)
    }
}

impl<E: EncoderDecoder> Stages<E> {
    /// Asks for as many turns of the encoder as it has work for.
    fn encode(&self) {
        while self.windows.claim_turn() {
            self.encoder.ask(None);
        }
    }

    /// Until when the next step waits for more windows, if it does. The encoder ends that sooner.
    fn wait(&self) -> Option<Instant> {
        self.windows.gather().then(|| Instant::now() + GATHER_MAX)
    }

    /// Encodes a window; `None` where the sample is lost.
    fn encoded(&self, mut sample: Listening<E::Decoding>) -> Option<Listening<E::Decoding>> {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| sample.decoding.encode()));
        let took = began.elapsed();
        self.control.stats.record_batch(1, took);
        self.control.admission.runs(took);
        self.encoding.learn(took);
        sample.work += took;
        let problem = match outcome {
            Ok(Ok(())) => return Some(sample),
            Ok(Err(error)) => self.control.lost(1, &error.to_string()),
            Err(_) => self.control.panicked(1),
        };
        sample.caller.fail(problem);
        None
    }

    /// A window is done: the next one of the sample waits, or the sample is answered.
    fn over(&self, mut sample: Listening<E::Decoding>, widest: usize, work: Duration) {
        let text = sample.decoding.said();
        if !text.is_empty() {
            let index = sample.caller.index;
            sample.caller.tell(What::Text(Fragment { index, text, tokens: Vec::new() }));
        }
        sample.leave_place();
        sample.batch_rows = sample.batch_rows.max(widest);
        sample.work += work;
        if !sample.decoding.is_over() {
            return self.windows.put_back(sample);
        }
        let service = sample.started.map_or(Duration::ZERO, |started| started.elapsed());
        self.control.admission.served(sample.work, service);
        finish(sample);
    }
}

/// Whether the answer is told as it comes.
fn streams(params: &mut Params, items: usize) -> Result<bool, Problem> {
    let own = params.split_off(&["stream"]);
    let mut reader = own.reader();
    let streams = reader.flag("stream").unwrap_or(false);
    reader.finish()?;
    if streams && items != 1 {
        return Err(one_item_when_streaming(items));
    }
    Ok(streams)
}

fn finish<D: Decoding>(sample: Listening<D>) {
    let Listening { decoding, caller, batch_rows, started, .. } = sample;
    let output = decoding.finish();
    let at = Instant::now();
    let started = started.unwrap_or(at);
    caller.tell(What::Ended(Ended { output, started, at, batch_rows, pace: None }));
}

impl<E: EncoderDecoder> Job for Encode<E> {
    fn predicted(&self) -> Option<Duration> {
        let known = self.0.upgrade()?.encoding.get();
        (!known.is_zero()).then_some(known)
    }

    fn turn(&self) -> Again {
        let Some(stages) = self.0.upgrade() else { return Again::No };
        let sample = stages.windows.next().and_then(|sample| stages.encoded(sample));
        // There is a place for it, so the loop is never too full.
        let joined = sample.map(|sample| stages.steps.join(vec![sample], usize::MAX));
        let again = stages.windows.keep_turn();
        let wait = stages.wait();
        for _ in joined.into_iter().flatten().flatten() {
            stages.decoder.ask(wait);
        }
        if wait.is_none() {
            stages.decoder.hurry();
        }
        if again { Again::Now } else { Again::No }
    }
}

impl<E: EncoderDecoder> Job for Step<E> {
    fn predicted(&self) -> Option<Duration> {
        self.0.upgrade()?.steps.predicted(LOOP)
    }

    fn turn(&self) -> Again {
        let Some(stages) = self.0.upgrade() else { return Again::No };
        let turn = stages.steps.turn(LOOP);
        for seat in turn.over {
            stages.over(seat.sequence, seat.widest, seat.work);
        }
        // Whoever has left has left a place.
        stages.encode();
        if turn.again { stages.wait().map_or(Again::Now, Again::At) } else { Again::No }
    }
}

fn one_item_when_streaming(got: usize) -> Problem {
    Problem::fault(
        Kind::Unsupported,
        "/parameters/stream",
        "one item when streaming",
        format!("{got} items"),
        "send one request per item, or leave `stream` out",
    )
}

impl<E, C> Endpoint for Recognition<E, C>
where
    E: EncoderDecoder,
    C: Codec<Sample = E::Sample, Output = Output<E>>,
{
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.places.control.stats
    }

    fn streams(&self) -> bool {
        true
    }

    fn rest(&self) -> Option<Rest> {
        self.places.control.rest()
    }

    /// A window is encoded alone, and a step is as wide as there are windows: there is no size to choose.
    fn batches(&self) -> Option<&dyn Batches> {
        None
    }
}
