//! A connection that is made: [`Live`].

use super::reactor;
use crate::options::{Auth, ClientOptions, Host};
use crate::trouble::Trouble;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use lapin::{Connection, ConnectionProperties};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A server that is polite answers a farewell in this time.
const FAREWELL: Duration = Duration::from_secs(2);
const GOODBYE: u16 = 200;

/// A connection. It is cut when the last of it is dropped, whatever the server does.
#[derive(Debug)]
pub(crate) struct Live {
    /// Counts the connections of a link.
    pub(crate) generation: u64,
    pub(crate) connection: Connection,
    pub(super) given_up: Notify,
    socket: Socket,
}

impl Live {
    /// Makes a connection, in the time that the options give to it.
    pub(super) async fn open(
        options: &Arc<ClientOptions>,
        host: &Host,
        purpose: &str,
        program: Option<Handle>,
        generation: u64,
    ) -> Result<Self, Trouble> {
        let socket = Socket::default();
        // Whatever comes of it, nothing is left of a try that failed.
        let cut = Cut(Some(socket.clone()));
        let connecting = connect(options.clone(), host, purpose, program, socket.clone());
        let made = tokio::time::timeout(options.connect_timeout(), connecting).await;
        let connection = match made {
            Ok(made) => made.map_err(|trouble| trouble.at(host))?,
            Err(_) => {
                let silent = format!("no answer within {:?}", options.connect_timeout());
                return Err(Trouble::away(silent).at(host));
            }
        };
        cut.keep();
        Ok(Self {
            generation,
            connection,
            given_up: Notify::new(),
            socket,
        })
    }

    /// The largest frame that goes over it.
    pub(crate) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }

    /// Has its link make another one.
    pub(crate) fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Takes leave, and cuts it if the server has no answer to that.
    pub(super) async fn close(&self) {
        let farewell = self.connection.close(GOODBYE, "OK".into());
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        self.socket.cut();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.socket.cut();
    }
}

/// A second handle of a socket, by which it is cut: lapin writes no farewell while the server does not read.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, of: &impl AsFd) -> io::Result<()> {
        let handle = TcpStream::from(of.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }

    fn cut(&self) {
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            // One that is not connected any more is as good.
            let _ = handle.shutdown(Shutdown::Both);
        }
    }
}

/// Cuts a socket unless it is kept.
struct Cut(Option<Socket>);

impl Cut {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.cut();
        }
    }
}

async fn connect(
    options: Arc<ClientOptions>,
    host: &Host,
    purpose: &str,
    program: Option<Handle>,
    socket: Socket,
) -> Result<Connection, Trouble> {
    let auth = options.auth();
    // Files that are wrong are told as such, before anybody is asked.
    let secured = match options.is_tls() {
        true => Some(
            options
                .tls()
                .connector()
                .map_err(|error| Trouble::denied(error.to_string()))?,
        ),
        false => None,
    };
    let secured = Arc::new(secured);
    let runtime = reactor::runtime(program, options.heartbeat());
    let name = format!("{} {purpose}", options.name());
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into_bytes().into())
        .with_client_property("product".into(), "Tidings".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let limit = options.connect_timeout();
    let uri = uri(&options, host);
    let connecting = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            silence();
            let (host, port) = (uri.authority.host, uri.authority.port);
            let reach = async {
                let addresses = tokio::net::lookup_host((host.as_str(), port)).await?;
                let addresses: Vec<_> = addresses.collect();
                let plain = AsyncTcpStream::connect(&runtime, addresses).await?;
                if let AsyncTcpStream::Plain(stream) = &plain {
                    stream.socket().set_nodelay(true)?;
                    socket.keep(stream.socket())?;
                }
                match secured.as_ref() {
                    Some(secured) => plain.into_rustls(secured, &host).await,
                    None => Ok(plain),
                }
            };
            // lapin waits for this on a thread of its own, which would stay as long.
            let reached = tokio::time::timeout(limit, reach).await;
            Ok(reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
        },
        properties,
    );
    connecting.await.map_err(|error| Trouble::of(&error, auth))
}

/// This runs on the thread on which lapin reads and writes, and which logs whole messages that come back. What is worth a
/// line is told here, without payloads. A subscriber that is made for this, and wants nothing, would be one that does not say
/// which levels it wants: then all of them are made ready in the whole process, which lapin's promises pay for.
fn silence() {
    let silent = tracing::dispatcher::set_default(&tracing::Dispatch::none());
    // For as long as the thread is.
    std::mem::forget(silent);
}

fn uri(options: &ClientOptions, host: &Host) -> AMQPUri {
    let mut uri = AMQPUri {
        scheme: if options.is_tls() {
            AMQPScheme::AMQPS
        } else {
            AMQPScheme::AMQP
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: options.user().to_owned(),
                password: options.password().expose().to_owned(),
            },
            host: host.name.clone(),
            port: host.port,
        },
        vhost: options.virtual_host().to_owned(),
        ..AMQPUri::default()
    };
    let heartbeat = options.heartbeat().as_secs().clamp(1, u64::from(u16::MAX));
    uri.query.heartbeat = u16::try_from(heartbeat).ok();
    uri.query.auth_mechanism = Some(match options.auth() {
        Auth::Plain => SASLMechanism::Plain,
        Auth::External => SASLMechanism::External,
    });
    uri
}

#[cfg(test)]
mod tests {
    use super::silence;
    use tracing::level_filters::LevelFilter;

    #[test]
    fn silence_is_of_one_thread_and_wakes_no_level() {
        let told = std::thread::spawn(|| {
            silence();
            (LevelFilter::current(), tracing::enabled!(tracing::Level::ERROR))
        });
        assert_eq!(told.join().unwrap(), (LevelFilter::OFF, false));
    }
}
