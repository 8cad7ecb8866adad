//! `maas serve`, and plain `maas`: from settings to a server that ends well.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::access::{Access, admin_key};
use crate::cli::settings::{SettingsArgs, keys, placement};
use crate::cli::{Failure, Outcome, rest};
use crate::config::{DrainSettings, Settings};
use crate::domain::ModelName;
use crate::engine::Engine;
use crate::grpc;
use crate::http::{self, App, Listener, Parts, Placing, Stage, Threads};
use crate::package::Store;
use crate::registry::{Registry, Repository, Sources};
use crate::state::Database;
use crate::telemetry::{self, Logging, Metrics};

/// How long loading that was still under way may hold up the exit.
const EXIT_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &Args) -> Outcome {
    let settings = args.settings.read()?;
    let logging = telemetry::init(settings.log_format, &settings.log_filter)?;
    let access = Access::new(keys(&settings)?, Some(admin_key(&settings.state)?));
    let stores = stores(&settings)?;
    let state = Database::open(&settings.state)?;
    let (runtime, threads) = (Runtime::new()?, Threads::start()?);
    let engine = Engine::start(settings.engine.workers)?.on(runtime.handle().clone());
    let engine = Arc::new(engine);
    let parts = Start { access, state, stores, engine: Arc::clone(&engine), logging };
    let outcome = runtime.block_on(serve(&settings, parts, threads.placing()));
    runtime.shutdown_timeout(EXIT_WAIT);
    threads.end();
    // Dropped, it would wait for a batch in flight, and nobody waits for that batch any longer.
    std::mem::forget(engine);
    outcome
}

/// What is ready before the listeners are.
struct Start {
    access: Access,
    state: Database,
    stores: Vec<Arc<Store>>,
    engine: Arc<Engine>,
    logging: Logging,
}

/// The store that `--store` names, which is only read, and the one below the state for what was
/// trained or pushed here.
fn stores(settings: &Settings) -> Result<Vec<Arc<Store>>, Failure> {
    let shipped = Store::open(&settings.store)
        .map_err(|error| format!("the store of models, which --store names: {error}"))?;
    let mut stores = vec![Arc::new(shipped)];
    let own = settings.state.join("store");
    if own.is_dir() {
        stores.push(Arc::new(Store::open(&own)?));
    }
    Ok(stores)
}

async fn serve(settings: &Settings, start: Start, placing: Placing) -> Outcome {
    let Start { access, state, stores, engine, logging } = start;
    // Bound first: an address in use is told at once, and probes are answered while models load.
    let main = bind("http", settings.http).await?;
    let grpc = bind("grpc", settings.grpc).await?;
    let admin = bind("admin", settings.admin).await?;
    tracing::info!(
        http = %main.local_addr()?,
        grpc = %grpc.local_addr()?,
        admin = %admin.local_addr()?,
        "listening"
    );

    let registry = Arc::new(Registry::default());
    let database = Arc::new(state);
    let of_models = settings.clone();
    let repository = Arc::new(Repository::new(Sources {
        registry: Arc::clone(&registry),
        stores,
        engine: Arc::clone(&engine),
        state: Arc::clone(&database),
        placement: Box::new(move |name| placement(&of_models, Some(name))),
    }));
    load(settings, &repository)?;
    tokio::spawn(rest::give_back(engine.traffic()));
    let (stage, watched) = watch::channel(Stage::Serving);
    let app = Arc::new(App::new(Parts {
        registry,
        repository,
        access,
        state: database,
        logging,
        metrics: Metrics::default().watching(engine.traffic()).in_words_of(settings.metrics_compat),
        limits: settings.limits,
        compat: settings.compat,
        media: settings.media,
        runtime: Handle::current(),
        stage: watched.clone(),
        live: Box::new(move || engine.alive()),
    }));
    let serve = |listener, router, placing| {
        http::serve(listener, router, settings.limits, watched.clone(), placing)
    };
    let main = serve(main, http::router(Arc::clone(&app), Listener::Main), placing);
    // A connection of it has many streams, which run on any thread anyway.
    let grpc = serve(grpc, grpc::router(&app).map_err(|error| error.to_string())?, Placing::here());
    let admin = serve(admin, http::router(app, Listener::Admin), Placing::here());
    let (terminate, interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let served = tokio::select! {
        served = async { tokio::join!(main, grpc, admin) } => served,
        never = lead(&stage, settings.drain, terminate, interrupt) => match never {},
    };
    tracing::info!(connections_cut = served.0.cut + served.1.cut + served.2.cut, "stopped");
    Ok(())
}

async fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}, the address of `{name}`: {error}"))
}

/// Starts to load every version in the stores, each on a thread of its own. Returns at once.
fn load(settings: &Settings, repository: &Arc<Repository>) -> Outcome {
    let entries = repository.entries()?;
    if entries.is_empty() {
        tracing::warn!(store = %settings.store.display(), "the store holds no model");
    }
    let missing = |name: &&ModelName| entries.iter().all(|(e, _)| e.name != **name);
    if let Some(name) = settings.models.keys().find(missing) {
        return Err(format!("the settings name the model {name}, which no store holds").into());
    }
    let mut loading = JoinSet::new();
    for (entry, store) in entries {
        repository.expect(&entry);
        let repository = Arc::clone(repository);
        // Refusals are logged, and shown to whoever asks for the model.
        loading.spawn_blocking(move || repository.load_entry(&entry, &store));
    }
    let repository = Arc::clone(repository);
    tokio::spawn(async move {
        // While models load, a measurement would say how busy that keeps the machine.
        loading.join_all().await;
        tokio::task::spawn_blocking(move || repository.tune());
    });
    Ok(())
}

/// Leads the servers out at the first signal, and faster at the second. They end by it, so it never
/// ends before them.
async fn lead(
    stage: &watch::Sender<Stage>,
    drain: DrainSettings,
    terminate: Signal,
    interrupt: Signal,
) -> Infallible {
    let (send, receive) = mpsc::channel(2);
    tokio::join!(forward(terminate, interrupt, send), http::conduct(stage, drain, receive)).0
}

/// Passes both signals on as one thing: stop.
async fn forward(
    mut terminate: Signal,
    mut interrupt: Signal,
    stop: mpsc::Sender<()>,
) -> Infallible {
    loop {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
        // After the last stage nobody listens any longer, and there is nothing left to say.
        let _ = stop.send(()).await;
    }
}
