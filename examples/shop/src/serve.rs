//! Opening the shop, and closing it.

use crate::database::{Database, OpenError};
use crate::desk::Desk;
use crate::http::{Door, Limits, Live, listen, routes};
use crate::service::Service;
use crate::shop::{Shop, app_of};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings::{Config, Running, shutdown_signal};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the shop sets itself. A `tidings.toml` in the current directory, the environment and the command line win.
const SETTINGS: &str = include_str!("../tidings.toml");
/// How long a log that cannot be asked is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often that may fail while the engine says that all is well.
const TRIES: usize = 10;

/// How to open the shop.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where its log is; none leaves it to the configuration.
    pub data: Option<PathBuf>,
    /// Where it listens.
    pub http: SocketAddr,
    /// The moods of the bank.
    pub seed: u64,
    /// The services that run in this process; all of them if none is named.
    pub services: BTreeSet<Service>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            data: None,
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            seed: 1,
            services: BTreeSet::new(),
        }
    }
}

/// Why the shop could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Somebody else listens there, or it is not an address of this machine.
    #[error("cannot listen on {address}: {source}; choose another place with --http")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Some of the services were named, and no other process can have the rest.
    #[error(
        "--service leaves services to other processes, and {url} belongs to one: set TIDINGS_URL=kafka://HOST:PORT, or leave --service out"
    )]
    Apart {
        /// Where the log is.
        url: String,
    },
    /// The operating system gives no threads.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] tidings::Error),
}

/// Runs [`serve`] on a runtime of its own. The runtime is made here and not in `main`, so that the whole future is
/// compiled once, with the library.
///
/// # Errors
/// [`ServeError`].
pub fn run(options: ServeOptions) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(ServeError::Runtime)?.block_on(serve(options))
}

/// Opens the shop and keeps it open until SIGTERM or ctrl-C.
///
/// The database comes first, then HTTP: the page answers while the log is being opened and read. At the end it goes first too: nothing
/// new comes in, then the services finish what they do. A process without the order service has no HTTP.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(options: ServeOptions) -> Result<(), ServeError> {
    let config = configuration(options.data.as_deref())?;
    let services = services(&options, &config)?;
    let database = Database::of(&config).await?;
    let desk = Desk::new(Shop::new(database, options.seed));
    if !services.contains(&Service::Order) {
        let names: Vec<_> = services.iter().map(|service| service.name()).collect();
        return close(trade(&desk, config, &services, &names.join(", ")).await).await;
    }
    let address = options.http;
    let listen_error = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let (close_door, closing) = watch::channel(false);
    let live = Live::new(closing.clone());
    let door = Door::new(desk.clone(), live.clone());
    let serving = tokio::spawn(listen(listener, routes(door), Limits::default(), closing));
    let painter = desk.clone();
    let painting = tokio::spawn(async move { live.paint(&painter).await });
    let ended = trade(&desk, config, &services, &format!("http://{address}")).await;
    // The receiver is gone only if the server has ended already.
    let _ = close_door.send(true);
    let _ = serving.await;
    painting.abort();
    close(ended).await
}

/// Lets the services finish what they do.
async fn close(ended: Result<Option<Running>, tidings::Error>) -> Result<(), ServeError> {
    if let Ok(Some(running)) = &ended {
        running.drain().await;
    }
    ended.map(|_| ()).map_err(ServeError::Engine)
}

/// The services of this process.
fn services(options: &ServeOptions, config: &Config) -> Result<BTreeSet<Service>, ServeError> {
    let all = BTreeSet::from(Service::ALL);
    if options.services.is_empty() || options.services == all {
        return Ok(all);
    }
    match config.binder("main").url {
        Some(url) if matches!(url.value.scheme(), "embedded" | "memory") => Err(ServeError::Apart {
            url: url.value.to_string(),
        }),
        _ => Ok(options.services.clone()),
    }
}

/// Starts the engine and waits for the end. Returns the engine if it has started.
async fn trade(
    desk: &Desk,
    config: Config,
    services: &BTreeSet<Service>,
    door: &str,
) -> Result<Option<Running>, tidings::Error> {
    let data = place_of(&config);
    let signal = shutdown_signal();
    tokio::pin!(signal);
    let running = tokio::select! {
        started = app_of(services, &desk.shop().database).with_state(desk.shop().clone()).start(config) => started?,
        signal = &mut signal => return signal.map(|_| None),
    };
    // A closed stderr is no reason not to run.
    let _ = write!(std::io::stderr().lock(), "{}", running.describe());
    desk.open(running.clone());
    let shop = desk.shop();
    announce(door, &data, shop.database.place());
    let open = async {
        catch_up(shop, &running).await?;
        std::future::pending().await
    };
    let ended = tokio::select! {
        signal = &mut signal => signal.map(|_| ()),
        failed = open => failed,
    };
    ended.map(|()| Some(running))
}

/// Has the stories catch up, as soon as the broker can be asked.
async fn catch_up(shop: &Shop, running: &Running) -> Result<(), tidings::Error> {
    let mut tries = 0;
    loop {
        match shop.catch_up(running).await {
            Ok(()) => return Ok(()),
            Err(error) if running.health().ready => {
                tries += 1;
                if tries >= TRIES {
                    return Err(error);
                }
            }
            Err(_) => tries = 0,
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn configuration(data: Option<&Path>) -> Result<Config, tidings::Error> {
    let mut config = Config::builder().toml("the shop’s own settings", SETTINGS);
    let own = Path::new("tidings.toml");
    if own.exists() {
        config = config.file(own);
    }
    if let Some(data) = data {
        config = config.argument(
            "--data",
            "binder.main.url",
            format!("embedded:{}", data.display()),
        );
    }
    Ok(config.load()?)
}

/// Where the log is.
fn place_of(config: &Config) -> String {
    let url = config
        .binder("main")
        .url
        .map(|url| url.value.to_string())
        .unwrap_or_default();
    url.strip_prefix("embedded:").unwrap_or(&url).to_owned()
}

/// One line on stdout, for people and for programs that start the shop on a free port.
fn announce(door: impl fmt::Display, data: &str, database: &str) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout is no reason not to run.
    let _ = writeln!(stdout, "shop is open: {door}  data: {data}  database: {database}");
    let _ = stdout.flush();
}
