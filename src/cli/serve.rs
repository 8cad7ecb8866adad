//! `maas serve`, and plain `maas`: from settings to a server that ends well.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::access::{Access, admin_key};
use crate::cli::Outcome;
use crate::cli::settings::{SettingsArgs, keys, placement};
use crate::config::{DrainSettings, Settings};
use crate::engine::Engine;
use crate::http::{self, App, Listener, Parts, Stage};
use crate::package::{PackageError, Store};
use crate::registry::Registry;
use crate::telemetry::{self, Metrics};

/// How long loading that was still under way may hold up the exit.
const EXIT_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &Args) -> Outcome {
    let settings = args.settings.read()?;
    telemetry::init(settings.log_format, &settings.log_filter)?;
    let access = Access::new(keys(&settings)?, Some(admin_key(&settings.state)?));
    let store = Store::open(&settings.store)
        .map_err(|error| format!("the store of models, which --store names: {error}"))?;
    let engine = Arc::new(Engine::start(settings.engine.workers)?);
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(serve(&settings, access, store, Arc::clone(&engine)));
    runtime.shutdown_timeout(EXIT_WAIT);
    // Dropped, it would wait for a batch in flight, and nobody waits for that batch any longer.
    std::mem::forget(engine);
    outcome
}

async fn serve(settings: &Settings, access: Access, store: Store, engine: Arc<Engine>) -> Outcome {
    // Bound first: an address in use is told at once, and probes are answered while models load.
    let main = bind("http", settings.http).await?;
    let admin = bind("admin", settings.admin).await?;
    tracing::info!(http = %main.local_addr()?, admin = %admin.local_addr()?, "listening");

    let registry = Arc::new(Registry::default());
    load(settings, &registry, store, &engine)?;
    let (stage, watched) = watch::channel(Stage::Serving);
    let app = Arc::new(App::new(Parts {
        registry,
        access,
        metrics: Metrics::default(),
        limits: settings.limits,
        media: settings.media,
        stage: watched.clone(),
        live: Box::new(move || engine.alive()),
    }));
    let serve = |listener, which| {
        let router = http::router(Arc::clone(&app), which);
        http::serve(listener, router, settings.limits, watched.clone())
    };
    let (main, admin) = (serve(main, Listener::Main), serve(admin, Listener::Admin));
    let (terminate, interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let served = tokio::select! {
        served = async { tokio::join!(main, admin) } => served,
        never = lead(&stage, settings.drain, terminate, interrupt) => match never {},
    };
    tracing::info!(connections_cut = served.0.cut + served.1.cut, "stopped");
    Ok(())
}

async fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}, the address of `{name}`: {error}"))
}

/// Starts to load every version in the store, each on a thread of its own. Returns at once.
fn load(
    settings: &Settings,
    registry: &Arc<Registry>,
    store: Store,
    engine: &Arc<Engine>,
) -> Result<(), PackageError> {
    let entries = store.entries()?;
    if entries.is_empty() {
        tracing::warn!(store = %store.root().display(), "the store holds no model");
    }
    for name in settings.models.keys().filter(|name| entries.iter().all(|e| e.name != **name)) {
        tracing::warn!(model = %name, "the settings name a model that the store does not hold");
    }
    let store = Arc::new(store);
    for entry in entries {
        let placement = placement(settings, Some(&entry.name));
        registry.expect(&entry, &placement);
        let (registry, store, engine) = (registry.clone(), store.clone(), engine.clone());
        tokio::task::spawn_blocking(move || registry.load(&store, &entry, &placement, &engine));
    }
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
