//! What the flags of `maas bench URL` come to.

use std::time::Duration;

use crate::cli::Failure;
use crate::cli::bench::load::{Args, Arrivals, Pair, Protocol};
use crate::cli::bench::{self, newest, read};
use crate::load::{self, Asked, Extent, Levels, Plan, Shot, Spread, Target, samples, shot};
use crate::package::Store;

/// Rates above it are no rate of any server, and times between arrivals would be none.
const RATE_MAX: f64 = 1e7;
/// Each client of a closed loop has a connection, and a connection is a file.
const CLIENTS_MAX: usize = 1 << 16;

/// Reads the flags, and what they name.
pub fn make(bench: &bench::Args) -> Result<Plan, Failure> {
    let args = &bench.load;
    let target = Target::read(&bench.target, args.allow_remote)?;
    let mut shots = shots(bench, &target)?;
    let mut probe = args.probe.as_deref().map(Shot::get).transpose()?;
    for shot in &mut shots {
        if let Some(milliseconds) = args.deadline_ms {
            shot.set("x-deadline-ms", &milliseconds.to_string())?;
        }
    }
    for shot in shots.iter_mut().chain(&mut probe) {
        shot.set("host", &target.host)?;
        for Pair(name, value) in &args.header {
            shot.set(name, value)?;
        }
    }
    Ok(Plan {
        target,
        shots,
        levels: levels(args)?,
        extent: extent(args)?,
        warm_up: args.warm_up,
        deadline: args.deadline_ms.map(|ms| Duration::from_millis(ms.into())),
        timeout: some(args.timeout).ok_or("--timeout: expected a time above 0")?,
        probe,
        threads: match *bench.threads {
            [threads @ 1..=64] => threads,
            _ => return Err("--threads with a URL: expected one number from 1 to 64".into()),
        },
    })
}

fn some(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

fn extent(args: &Args) -> Result<Extent, &'static str> {
    match args.requests {
        Some(0) => Err("--requests: expected a number above 0"),
        Some(requests) => Ok(Extent::Requests(requests)),
        None => some(args.duration).map(Extent::Time).ok_or("--duration: expected a time above 0"),
    }
}

fn levels(args: &Args) -> Result<Levels, String> {
    if args.rate.is_empty() {
        let clients = args.concurrency.clone();
        if !clients.iter().all(|clients| (1..=CLIENTS_MAX).contains(clients)) {
            return Err(format!("--concurrency: expected numbers from 1 to {CLIENTS_MAX}"));
        }
        return Ok(Levels::Closed { clients, patient: args.retry_after });
    }
    if !args.rate.iter().all(|&rate| rate > 0.0 && rate <= RATE_MAX) {
        return Err(format!("--rate: expected numbers above 0, up to {RATE_MAX}"));
    }
    if args.connections_max == 0 {
        return Err("--connections-max: expected a number above 0".to_owned());
    }
    let spread = match args.arrivals {
        Arrivals::Poisson => Spread::Poisson,
        Arrivals::Constant => Spread::Constant,
    };
    let (rates, seed) = (args.rate.clone(), args.seed);
    Ok(Levels::Open { rates, spread, seed, connections_max: args.connections_max })
}

/// What is sent: bodies as they are, requests of a model, or a GET of a path.
fn shots(bench: &bench::Args, target: &Target) -> Result<Vec<Shot>, Failure> {
    let args = &bench.load;
    let path = args.path.as_deref().or(target.path.as_deref());
    match (&args.model, path) {
        (Some(model), None) => of_model(bench, model),
        (Some(_), Some(_)) => {
            Err("--model: expected a URL without a path and no --path; the protocol has its own"
                .into())
        }
        (None, _) if !bench.input.is_empty() => {
            Err("--input: expected --model NAME beside it; --body sends a file to any path".into())
        }
        (None, Some(path)) if args.body.is_empty() => Ok(vec![Shot::get(path)?]),
        (None, Some(path)) => {
            let shot = |file| Ok(Shot::post(path, &args.content_type, read(file)?.into())?);
            args.body.iter().map(|file| shot(file)).collect()
        }
        (None, None) => {
            Err("expected --model NAME, or a path in the URL or in --path (which is asked \
                             with GET, or with POST where there is a --body)"
                .into())
        }
    }
}

fn of_model(bench: &bench::Args, model: &str) -> Result<Vec<Shot>, Failure> {
    let args = &bench.load;
    let (package, version) = newest(&Store::open(&bench.settings.read()?.store)?, model)?;
    let inputs = match bench.input.as_slice() {
        [] => samples(&package)?,
        files => files.iter().map(|file| read(file)).collect::<Result<_, _>>()?,
    };
    let parameters: Vec<_> = args.params.iter().map(|Pair(k, v)| (k.clone(), v.clone())).collect();
    let protocol = match args.protocol {
        Protocol::Predict => load::Protocol::Predict,
        Protocol::PredictJson => load::Protocol::PredictJson,
        Protocol::Oip => load::Protocol::Oip,
        Protocol::OipBinary => load::Protocol::OipBinary,
    };
    let asked = Asked { protocol, package: &package, version, parameters: &parameters };
    Ok(inputs.iter().map(|input| shot(&asked, input)).collect::<Result<_, _>>()?)
}
