//! `maas bench URL`: from flags to a plan, and its figures to where they are wanted.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::bench::{self, plan};
use crate::load::{self, HEADING};

#[derive(Debug, clap::Args)]
#[group(id = "load flags", conflicts_with = "in_process")]
pub struct Args {
    /// The model that is asked, by name or as name@version; the store holds its package, whose signature and golden
    /// samples the requests are made of
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// How it is asked
    #[arg(long, value_enum, default_value_t = Protocol::Predict, requires = "model")]
    pub protocol: Protocol,
    /// A parameter of each request, such as `max_tokens=16`; several times
    #[arg(long, value_name = "NAME=VALUE", requires = "model")]
    pub params: Vec<Pair>,
    /// A body that is sent as it is, to any server; several times, and they take turns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "input"])]
    pub body: Vec<PathBuf>,
    /// What --body is
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    #[arg(requires = "body")]
    pub content_type: String,
    /// The path that is asked, with GET when there is no body [default: the URL's, or that of the model]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// A header of each request, such as authorization=Bearer KEY; several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub header: Vec<Pair>,

    /// Open loop: requests a second, which come whether the server keeps up or not
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with = "concurrency")]
    pub rate: Vec<f64>,
    /// How requests of an open loop are spread over time
    #[arg(long, value_enum, default_value_t = Arrivals::Poisson, requires = "rate")]
    pub arrivals: Arrivals,
    /// Of the random gaps between requests
    #[arg(long, value_name = "N", default_value_t = 0, requires = "rate")]
    pub seed: u64,
    /// Connections of an open loop; requests that find all of them busy wait, and are counted
    #[arg(long, value_name = "N", default_value_t = 1024, requires = "rate")]
    pub connections_max: usize,
    /// Closed loop: clients, each of which waits for its answer before it asks again
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,64")]
    pub concurrency: Vec<usize>,
    /// Clients of a closed loop wait as long as a refusal's Retry-After asks for
    #[arg(long, conflicts_with = "rate")]
    pub retry_after: bool,

    /// How long each level is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub duration: Duration,
    /// Measure a number of requests instead of a time
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "probe"])]
    pub requests: Option<u64>,
    /// How long each level runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub warm_up: Duration,
    /// How long an answer is waited for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub timeout: Duration,
    /// Send X-Deadline-Ms, and count later answers as no good ones
    #[arg(long, value_name = "N")]
    pub deadline_ms: Option<u32>,
    /// A path that is asked 20 times a second during the load, such as /livez
    #[arg(long, value_name = "PATH")]
    pub probe: Option<String>,
    /// Draw latency over load into a file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Load a server that is neither on loopback nor on a private network
    #[arg(long)]
    pub allow_remote: bool,
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// /v1/predict, the file itself
    Predict,
    /// /v1/predict, JSON of a text or of a preprocessed tensor
    PredictJson,
    /// Open Inference Protocol v2, JSON
    Oip,
    /// Open Inference Protocol v2, binary tensors
    OipBinary,
}

/// How requests are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// As independent callers come
    Poisson,
    /// Evenly
    Constant,
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair(pub String, pub String);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self(name.to_owned(), value.to_owned())),
            _ => Err("expected NAME=VALUE".to_owned()),
        }
    }
}

pub fn run(bench: &bench::Args) -> Outcome {
    let plan = plan::make(bench)?;
    // Before the load: that it cannot be written is better known now.
    let svg = bench.load.svg.as_ref().map(|path| {
        let file = std::fs::File::create(path);
        file.map_err(|error| format!("{}: {error}", path.display()))
    });
    let svg = svg.transpose()?;
    if !bench.json {
        println!("{HEADING}");
    }
    let rows = load::run(&plan, |row, error| {
        match bench.json.then(|| serde_json::to_string(row)) {
            Some(line) => println!("{}", line.unwrap_or_default()),
            None => println!("{row}"),
        }
        if let Some(error) = error {
            eprintln!("maas: the first of {} errors: {error}", row.connection_errors);
        }
    })?;
    if let Some(mut file) = svg {
        std::io::Write::write_all(&mut file, load::chart(&rows).as_bytes())?;
    }
    Ok(())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<jiff::SignedDuration>().ok().and_then(|t| Duration::try_from(t).ok());
    // A day is longer than any level, and far from where times overflow.
    let day = Duration::from_hours(24);
    time.filter(|&t| t <= day).ok_or_else(|| "expected a time such as 10s, 500ms or 2m".to_owned())
}
