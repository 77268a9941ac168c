//! A broker in a directory of its own, with a management address, and raw requests to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tidings_core::{DestinationSpec, DynBinder, Message, Outgoing, Position};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Location};
use tidings_manage::{
    Connection, FILE_NAME, Intent, ManagedApp, ManagedBinder, Server, ServerOptions, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A process that owns a directory and can be asked.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) root: tempfile::TempDir,
    pub(crate) broker: Arc<dyn DynBinder>,
    pub(crate) server: Server,
}

pub(crate) fn open(root: &Path) -> Arc<dyn DynBinder> {
    let options = EmbeddedOptions::new(Location::Directory(root.to_owned()));
    Arc::new(EmbeddedBroker::open(options).unwrap())
}

pub(crate) fn url(root: &Path) -> String {
    format!("embedded:{}", root.display())
}

impl Owner {
    pub(crate) fn start(options: ServerOptions, app: Option<Arc<dyn ManagedApp>>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let broker = open(root.path());
        let binder = ManagedBinder::new("main", broker.clone()).directory(root.path());
        let server = Server::start(options, "shop", vec![binder], app).unwrap();
        Self { root, broker, server }
    }

    pub(crate) fn plain() -> Self {
        Self::start(ServerOptions::default(), None)
    }

    pub(crate) async fn connect(&self) -> Connection {
        connect(&url(self.root.path()), Intent::Change).await.unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The token, as whoever may read the file finds it.
    pub(crate) fn token(&self) -> String {
        let text = std::fs::read(self.root.path().join(FILE_NAME)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        json["token"].as_str().unwrap().to_owned()
    }

    /// The head of a request that is in order.
    pub(crate) fn head(&self, line: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n",
            self.address(),
            self.token()
        )
    }

    /// Sends these bytes and gives the status and all that comes until the connection ends.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        // A server that refuses early closes before everything is written.
        let _ = stream.write_all(request.as_ref()).await;
        answer(&mut stream).await
    }
}

/// What comes until the connection ends.
pub(crate) async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), text)
}

pub(crate) async fn has(broker: &dyn DynBinder, name: &str, partitions: u32) {
    let spec = DestinationSpec::new(name, partitions);
    broker.prepare(spec).await.unwrap();
}

pub(crate) async fn publish(
    broker: &dyn DynBinder,
    name: &str,
    partition: u32,
    message: Message,
) -> Position {
    let mut outgoing = Outgoing::new(name, message);
    outgoing.partition = Some(partition);
    broker.sink().publish(outgoing).await.unwrap()
}

/// All messages of a partition.
pub(crate) async fn messages(broker: &dyn DynBinder, name: &str, partition: u32) -> Vec<(u64, Message)> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let batch = broker.read(name, partition, from, 64 << 10).await.unwrap();
        if batch.is_empty() && batch.next() <= from {
            return all;
        }
        all.extend(
            batch
                .records()
                .iter()
                .map(|record| (record.offset, batch.message(record))),
        );
        from = batch.next();
    }
}

/// Every file of a directory with its contents.
pub(crate) fn files(root: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}
