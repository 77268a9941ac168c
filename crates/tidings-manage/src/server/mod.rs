//! The side of the running service: [`Server`].

mod binders;
mod calls;
mod guard;
mod listen;
mod operations;
mod stream;

use crate::app::ManagedApp;
use crate::error::ManageError;
use crate::file::Invitation;
use crate::limits::ServerOptions;
use crate::snapshots::Snapshots;
use crate::token::Token;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::DynBinder;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long requests may take to end when the server closes.
const CLOSING: Duration = Duration::from_secs(1);

/// A binder of the running service.
#[derive(Debug)]
pub struct ManagedBinder {
    name: String,
    binder: Arc<dyn DynBinder>,
    directory: Option<PathBuf>,
    snapshots: Option<Arc<dyn Snapshots>>,
}

impl ManagedBinder {
    /// A binder by its name in the configuration.
    pub fn new(name: impl Into<String>, binder: Arc<dyn DynBinder>) -> Self {
        Self {
            name: name.into(),
            binder,
            directory: None,
            snapshots: None,
        }
    }

    /// The directory in which tools look for the management address.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The same broker as something that can be copied while it works.
    #[must_use]
    pub fn snapshots(mut self, snapshots: Arc<dyn Snapshots>) -> Self {
        self.snapshots = Some(snapshots);
        self
    }
}

/// The management address of a running service. Dropping it ends it at once; [`close`](Self::close) lets requests end.
pub struct Server {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
    invitations: Vec<(PathBuf, Invitation)>,
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    app_name: String,
    app: Option<Arc<dyn ManagedApp>>,
    binders: BTreeMap<String, Arc<dyn DynBinder>>,
    snapshots: BTreeMap<String, Arc<dyn Snapshots>>,
    options: ServerOptions,
    token: Token,
    address: SocketAddr,
    closing: watch::Receiver<bool>,
}

impl Shared {
    fn binder(&self, name: &str) -> Result<&Arc<dyn DynBinder>, ManageError> {
        let known = || self.binders.keys().map(String::as_str);
        self.binders
            .get(name)
            .ok_or_else(|| ManageError::unknown("binder", name, known()))
    }

    fn snapshots(&self, name: &str) -> Result<&Arc<dyn Snapshots>, ManageError> {
        let kind = self.binder(name)?.kind();
        self.snapshots.get(name).ok_or_else(|| {
            ManageError::failed(format!(
                "the binder {name} ({kind}) cannot be copied by the service: copy it by the means of its broker"
            ))
        })
    }

    fn app(&self) -> Result<&Arc<dyn ManagedApp>, ManageError> {
        self.app
            .as_ref()
            .ok_or_else(|| ManageError::failed("this process has brokers and no app"))
    }
}

impl Server {
    /// Listens, and says so in the directory of each binder that has one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ManageError::Address`], [`ManageError::Listen`], [`ManageError::File`].
    pub fn start(
        options: ServerOptions,
        app_name: impl Into<String>,
        binders: Vec<ManagedBinder>,
        app: Option<Arc<dyn ManagedApp>>,
    ) -> Result<Self, ManageError> {
        let wanted = options.checked_address()?;
        let failed = |source| ManageError::Listen {
            address: wanted.to_string(),
            source,
        };
        let listener = TcpListener::bind(wanted).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let token = Token::random().map_err(|error| {
            ManageError::failed(format!("the system has no random numbers for a token: {error}"))
        })?;
        let (closing, closes) = watch::channel(false);
        let app_name = app_name.into();
        let mut server = Self {
            address,
            closing,
            serving: Mutex::new(None),
            invitations: Vec::new(),
        };
        let mut by_name = BTreeMap::new();
        let mut copied = BTreeMap::new();
        for ManagedBinder {
            name,
            binder,
            directory,
            snapshots,
        } in binders
        {
            if let Some(directory) = directory {
                let invitation = Invitation {
                    address,
                    token: token.clone(),
                    pid: std::process::id(),
                    binder: name.clone(),
                };
                invitation.write(&directory, &app_name)?;
                server.invitations.push((directory, invitation));
            }
            if let Some(snapshots) = snapshots {
                copied.insert(name.clone(), snapshots);
            }
            by_name.insert(name, binder);
        }
        let shared = Arc::new(Shared {
            app_name,
            app,
            binders: by_name,
            snapshots: copied,
            options,
            token,
            address,
            closing: closes.clone(),
        });
        let serving = tokio::spawn(listen::listen(listener, shared, closes));
        *server.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes its files away, accepts nothing more and lets what runs end, for a second at the most.
    pub async fn close(&self) {
        self.withdraw();
        self.closing.send_replace(true);
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving {
            // It ends by itself within the time that it gives to requests.
            drop(serving.await);
        }
    }

    fn withdraw(&self) {
        for (directory, invitation) in &self.invitations {
            invitation.remove(directory);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.withdraw();
        let serving = self.serving.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(serving) = serving.take() {
            serving.abort();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// All routes, behind the guard.
fn routes(shared: Arc<Shared>) -> Router {
    let limit = DefaultBodyLimit::max(shared.options.request_bytes);
    Router::new()
        .merge(binders::routes())
        .merge(operations::routes())
        .fallback(calls::no_such_path)
        .layer(limit)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}
