//! One request after another over HTTP/1.1: [`Client`].

use crate::error::ManageError;
use crate::file::Invitation;
use crate::token::Token;
use crate::wire::VERSION;
use crate::wire::error::WireError;
use crate::wire::json::{Line, encode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection to this machine may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer, or the next part of a long one, may take. The service gives up before.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest answer: a message can have up to 1 GiB.
const ANSWER_BYTES: usize = (1 << 30) + (1 << 20);
/// The longest line of a long answer.
const LINE_BYTES: usize = 1 << 20;

/// Asks a running service at its management address. Cloning is cheap. Each request has a connection of its own, so
/// nothing is kept open between them.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    token: Token,
}

/// The type of what is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent(pub(super) &'static str);

impl Sent {
    const JSON: Self = Self("application/json");
}

impl Client {
    pub(crate) fn new(invitation: &Invitation) -> Self {
        Self {
            address: invitation.address,
            token: invitation.token.clone(),
        }
    }

    /// The management address of the service.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for something small: JSON there and back. Without a body it is a GET.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        request: Option<&Q>,
    ) -> Result<A, ManageError> {
        let body = match request {
            Some(request) => Some(encode(request)?),
            None => None,
        };
        let answer = self.exchange(path, Sent::JSON, body).await?;
        self.parse(&answer)
    }

    /// Sends bytes, gets bytes.
    pub(super) async fn exchange(
        &self,
        path: &str,
        kind: Sent,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ManageError> {
        let whole = async {
            let response = self.send(path, kind, body).await?;
            self.whole(response).await
        };
        match tokio::time::timeout(ANSWER, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("there is no answer within {ANSWER:?}"))),
        }
    }

    /// Asks for something that takes long, and is told how far it is.
    pub(super) async fn long<Q: Serialize, P: DeserializeOwned, D: DeserializeOwned>(
        &self,
        path: &str,
        request: &Q,
        mut progress: impl FnMut(P),
    ) -> Result<D, ManageError> {
        let mut response = self.send(path, Sent::JSON, Some(encode(request)?)).await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let mut lines = BytesMut::new();
        loop {
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                let line = lines.split_to(end + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                match self.parse(&line)? {
                    Line::Progress(made) => progress(made),
                    Line::Done(done) => return Ok(done),
                    Line::Failed(error) => return Err(error.into_error(&self.address.to_string())),
                }
            }
            if lines.len() > LINE_BYTES {
                return Err(self.protocol("a line of the answer does not end"));
            }
            let frame = tokio::time::timeout(ANSWER, response.body_mut().frame()).await;
            let frame = frame.map_err(|_| self.unreachable(format!("it has been silent for {ANSWER:?}")))?;
            let Some(frame) = frame else {
                return Err(self.unreachable("it ended before the work did; what was done is recorded"));
            };
            let frame = frame.map_err(|error| self.unreachable(error))?;
            if let Some(data) = frame.data_ref() {
                lines.extend_from_slice(data);
            }
        }
    }

    /// The answer as JSON.
    pub(super) fn parse<A: DeserializeOwned>(&self, answer: &[u8]) -> Result<A, ManageError> {
        serde_json::from_slice(answer).map_err(|error| self.protocol(error))
    }

    async fn send(
        &self,
        path: &str,
        kind: Sent,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, ManageError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder()
            .method(method)
            .uri(format!("/{VERSION}/{path}"))
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(CONTENT_TYPE, kind.0)
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| self.protocol(error))?;
        let connected = tokio::time::timeout(CONNECT, self.connect()).await;
        let mut connection =
            connected.map_err(|_| self.unreachable("it does not accept the connection"))??;
        let sent = tokio::time::timeout(ANSWER, connection.send_request(request)).await;
        let sent = sent.map_err(|_| self.unreachable(format!("there is no answer within {ANSWER:?}")))?;
        sent.map_err(|error| self.unreachable(error))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ManageError> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| self.unreachable(error))?;
        // Where nobody listens, TCP can connect a local port to itself.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return Err(self.unreachable("nobody listens there"));
        }
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(error))?;
        tokio::spawn(async move {
            // What ends a connection is told to the request that waits on it.
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ManageError> {
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        self.body(response).await
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, ManageError> {
        let collected = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        let collected = collected.map_err(|error| self.unreachable(error))?;
        Ok(collected.to_bytes())
    }

    async fn refused(&self, response: Response<Incoming>) -> ManageError {
        let status = response.status();
        match self.body(response).await {
            Ok(body) => match serde_json::from_slice::<WireError>(&body) {
                Ok(error) => error.into_error(&self.address.to_string()),
                Err(_) => self.protocol(format!("status {status}")),
            },
            Err(error) => error,
        }
    }

    pub(super) fn unreachable(&self, reason: impl Display) -> ManageError {
        ManageError::Unreachable {
            address: self.address.to_string(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn protocol(&self, reason: impl Display) -> ManageError {
        ManageError::Protocol {
            address: self.address.to_string(),
            reason: reason.to_string(),
        }
    }
}
