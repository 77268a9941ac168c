//! A small HTTP client: one connection, kept open, opened again when it broke.

use super::LoadError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// One connection to a shop.
#[derive(Debug)]
pub struct Client {
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What the shop answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where the order is told of.
    pub location: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Why there was no answer. The request may have been handled all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error("the shop cannot be reached: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is too long or broke off.
    #[error("the answer could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(#[from] hyper::http::Error),
    /// It took too long.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
}

impl Client {
    /// A client of the shop at this address; it connects when it is used.
    ///
    /// # Errors
    /// [`LoadError::Url`].
    pub fn new(url: &str) -> Result<Self, LoadError> {
        let parsed: Option<Uri> = url
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme_str() == Some("http"));
        let host = parsed
            .as_ref()
            .and_then(|uri| Some((uri.host()?, uri.port_u16().unwrap_or(80))));
        let (host, port) = host.ok_or_else(|| LoadError::Url(url.to_owned()))?;
        Ok(Self {
            authority: format!("{host}:{port}"),
            connection: None,
        })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.send(Request::get(path), Bytes::new()).await
    }

    /// Sends something with these headers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        let request = headers
            .iter()
            .fold(Request::post(path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.send(request, body.into()).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_json(
        &mut self,
        path: &str,
        key: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        self.post(
            path,
            &[
                (CONTENT_TYPE.as_str(), "application/json"),
                ("idempotency-key", key),
            ],
            body,
        )
        .await
    }

    async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request = request.header(HOST, &self.authority).body(Full::new(body))?;
        let sent = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let answer = sent.unwrap_or(Err(ClientError::Timeout));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let mut connection = match self
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let answer = read(response).await?;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        // Where nobody listens, TCP can connect a local port to itself; it would then keep the shop from listening.
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        }
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What ends a connection is told to the request that waits on it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, ClientError> {
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(ClientError::Body)?;
    Ok(Answer {
        status,
        location,
        body: body.to_bytes(),
    })
}
